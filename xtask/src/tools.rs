//! The programs that the demo and the privileged tests start, and the Debian packages that hold
//! them.
//!
//! Owns this list alone; what building needs is in [`crate::setup`].

use anyhow::Result;

use crate::cmd::{self, BadInput};

/// Program and Debian package, for making namespaces and for trying the demo.
const TOOLS: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("curl", "curl"),
    ("nc", "netcat-openbsd"),
    ("ping", "iputils-ping"),
];

/// Installs the packages of programs that are missing; where that cannot be done the error names
/// the command to type.
pub(crate) fn install_missing() -> Result<()> {
    let missing: Vec<_> =
        TOOLS.iter().filter(|(program, _)| cmd::find(program).is_none()).map(|t| t.1).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    if !cmd::is_root() || cmd::find("apt-get").is_none() {
        let line = format!("programs are missing; type: apt-get install {packages}");
        return Err(BadInput(line).into());
    }
    eprintln!("installing for namespaces and tests: {packages}");
    let apt = |verb: &[&str]| {
        let mut command = std::process::Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(["-qq", "-y"]).args(verb);
        cmd::check(&mut command)
    };
    apt(&["update"])?;
    apt(&[&["install", "--no-install-recommends"], missing.as_slice()].concat())
}
