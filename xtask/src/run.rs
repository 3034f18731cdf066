//! `cargo xtask run`: builds the XDP program and `sluice` in release, then serves.
//!
//! Owns the build and the choice between a real interface and the demo of [`crate::demo`]. What the
//! options mean is `sluice run`'s business: all of them are handed on as they are.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::{cmd, demo, ebpf, setup};

/// The options of `sluice run`, handed on as they are.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Options of `sluice run`, among them `--iface IFACE`; `target/release/sluice run --help` lists
    /// them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    args: Vec<String>,
}

impl Options {
    /// The value of option `name`, given as `--name value` or `--name=value`.
    fn value(&self, name: &str) -> Option<&str> {
        self.args.iter().enumerate().find_map(|(at, arg)| match arg.strip_prefix(name)? {
            "" => self.args.get(at + 1).map(String::as_str),
            rest => rest.strip_prefix('='),
        })
    }
}

/// Builds, then serves until SIGINT, SIGTERM or the end of `--for`. The exit code is `sluice`'s own.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let wants_demo = options.value("--iface") == Some(demo::IFACE)
        && cmd::quiet(&format!("ip link show dev {}", demo::IFACE)).is_err();
    if wants_demo {
        demo::refuse_early()?;
    }
    let (sluice, program) = build()?;
    let mut args = vec!["run".to_string()];
    args.extend(options.args.iter().cloned());
    if options.value("--program").is_none() {
        args.extend(["--program".into(), program.to_string_lossy().into_owned()]);
    }
    if wants_demo {
        return demo::demo(&sluice, &args);
    }
    // From here on this process is sluice: signals and the exit code need no forwarding.
    let error = Command::new(&sluice).args(&args).exec();
    Err(error).with_context(|| format!("cannot start {}", sluice.display()))
}

/// Builds both sides in release; gives the paths of `sluice` and of the XDP program.
pub(crate) fn build() -> Result<(PathBuf, PathBuf)> {
    setup::setup(false)?;
    let program = ebpf::build_ebpf()?;
    cmd::check(cmd::cargo().args(["build", "--release", "--package", "stack-user"]))?;
    Ok((ebpf::target_dir().join("release/sluice"), program))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Options {
        Options { args: line.split_whitespace().map(str::to_string).collect() }
    }

    #[test]
    fn value_is_found_in_both_spellings() {
        assert_eq!(options("--for 3 --iface veth0").value("--iface"), Some("veth0"));
        assert_eq!(options("--iface=veth1 --copy").value("--iface"), Some("veth1"));
        assert_eq!(options("--copy").value("--iface"), None);
    }

    #[test]
    fn value_of_a_longer_option_is_not_taken() {
        assert_eq!(options("--iface-name x").value("--iface"), None);
    }
}
