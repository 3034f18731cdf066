//! Several processes of the client that share the connections, the sources and the CPUs.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::{Options, Report};

/// Runs the processes at the same time; gives their sum.
pub(super) fn run(options: &Options) -> Result<Report> {
    ensure!(options.connections >= options.processes as usize, "more processes than connections");
    let exe = std::env::current_exe().context("the path of this program")?;
    let mut children = Children(Vec::new());
    for index in 0..options.processes {
        let mut command = Command::new(&exe);
        command.arg("load").args(part(options, index).arguments());
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        children.0.push(child);
    }
    children.reports().map(Report::sum)
}

/// What the `index`-th process does.
fn part(options: &Options, index: u32) -> Options {
    let (of, at) = (options.processes as usize, index as usize);
    let more = usize::from(at < options.connections % of);
    let cpu = options.cpus.get(at % options.cpus.len().max(1));
    Options {
        connections: options.connections / of + more,
        sources: options.sources.map(|sources| sources.part(index, options.processes)),
        processes: 1,
        cpus: cpu.copied().into_iter().collect(),
        ..options.clone()
    }
}

/// Processes that end with this one.
struct Children(Vec<Child>);

impl Children {
    /// What each found.
    fn reports(mut self) -> Result<Vec<Report>> {
        let mut reports = Vec::new();
        while let Some(child) = self.0.pop() {
            let output = child.wait_with_output()?;
            ensure!(output.status.success(), "a process of the client failed ({})", output.status);
            reports.push(serde_json::from_slice(&output.stdout).context("its report")?);
        }
        Ok(reports)
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Work;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options(line: &str) -> Options {
        Line::try_parse_from(line.split_whitespace()).unwrap().options
    }

    #[test]
    fn parts_have_all_connections_and_a_cpu_each() {
        let whole =
            options("load connect --to 10.0.0.1:7 --connections 5 --processes 2 --cpus 3,4");
        let parts = [0, 1].map(|index| part(&whole, index));
        assert_eq!(parts.each_ref().map(|part| part.connections), [3, 2]);
        assert_eq!(parts.each_ref().map(|part| part.cpus[0]), [3, 4]);
    }

    #[test]
    fn arguments_are_read_back_as_the_same_options() {
        let line = "load request --to 10.0.0.1:7 --connections 9 --seconds 0.5 --sources 10.0.0.2+3 \
                    --size 65 --processes 3 --cpus 1,0";
        let before = options(line);
        let after = options(&format!("load {}", before.arguments().join(" ")));
        assert_eq!((after.work, after.connections, after.size), (Work::Request, 9, 65));
        assert_eq!(format!("{before:?}"), format!("{after:?}"));
    }
}
