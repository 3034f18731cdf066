//! What every row says of the machine: processor, cores, kernel, and the commit that was measured.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use crate::row::Config;

/// The machine and the commit, as they were when this process asked first: a change to the sources
/// under way is no matter of what runs. What cannot be found out is said to be unknown.
pub fn config() -> Config {
    static FOUND: OnceLock<Config> = OnceLock::new();
    FOUND.get_or_init(found).clone()
}

fn found() -> Config {
    let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| model(&text));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
    let cores = std::thread::available_parallelism().map(|cores| cores.to_string()).ok();
    let pairs = [
        ("machine", cpu),
        ("cores", cores),
        ("kernel", kernel.map(|text| text.trim().to_string())),
        ("commit", commit()),
    ];
    pairs.map(|(key, value)| (key.into(), value.unwrap_or_else(|| "unknown".into()))).into()
}

/// What stands in the rows that use no interface.
pub fn in_memory() -> Config {
    [
        ("driver mode", "none: in memory"),
        ("offloads", "none: checksums verified and made in software"),
        ("congestion control", "none: nothing is sent through a network"),
    ]
    .map(|(key, value)| (key.into(), value.into()))
    .into()
}

/// The processor's name in the text of /proc/cpuinfo.
fn model(cpuinfo: &str) -> Option<String> {
    // x86 says `model name`; Arm has numbers alone.
    let values = |wanted: &'static str| {
        cpuinfo.lines().filter_map(|line| line.split_once(':')).find_map(move |(key, value)| {
            (key.trim() == wanted).then(|| value.split_whitespace().collect::<Vec<_>>().join(" "))
        })
    };
    values("model name").or_else(|| values("CPU part").map(|part| format!("CPU part {part}")))
}

/// The commit of the sources, marked where they were changed since.
fn commit() -> Option<String> {
    let id = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    let mark = if changed.is_empty() { "" } else { ", changed" };
    Some(format!("{id}{mark}"))
}

fn git(args: &[&str]) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("git").arg("-C").arg(root).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_is_found_among_the_lines() {
        let text = "processor\t: 0\nmodel\t\t: 207\nmodel name\t: Some  CPU @ 2\n";
        assert_eq!(model(text).as_deref(), Some("Some CPU @ 2"));
        assert_eq!(model("CPU part\t: 0xd0c\n").as_deref(), Some("CPU part 0xd0c"));
        assert_eq!(model("nothing"), None);
    }

    #[test]
    fn config_says_all_and_nothing_is_empty() {
        let config = config();
        for key in ["machine", "cores", "kernel", "commit"] {
            assert!(config.get(key).is_some_and(|value| !value.is_empty()), "{key}");
        }
    }
}
