//! `cargo xtask setup --bench`: the programs that the bench measures beside Sluice.
//!
//! Building needs none of them. A test that needs one is left out where it is not there, and says so. One of
//! them, nginx, is a service in Debian: it is neither started nor left to start with the machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::{Package, apt_get, is_root, is_there, names, package, step};

/// Installs the peers that are missing.
///
/// # Errors
/// When one is missing that cannot be installed here; the message holds the commands to type.
pub(crate) fn peers() -> Result<()> {
    // By the program: nginx comes in several packages that do equally well.
    let missing: Vec<&Package> = PEERS.iter().filter(|peer| !has(peer.probe)).collect();
    if missing.is_empty() {
        eprintln!("setup: no peer of the bench is missing");
        return Ok(());
    }
    let names = names(&missing);
    eprintln!("setup: peers of the bench that are missing: {names}");
    let by_hand = format!("apt-get install --yes --no-install-recommends {names}");
    if !is_there("apt-get") {
        bail!("this system has no apt-get; install by its own means what Debian calls {names}");
    }
    if !is_root() {
        bail!("only root can install packages; type:\n    sudo {by_hand}");
    }
    if let Err(error) = step(apt_get().arg("update")) {
        eprintln!("setup: {error:#}; going on with the lists that are there");
    }
    let brings_service = missing.iter().any(|peer| peer.probe == SERVICE);
    let policy = brings_service.then(|| Policy::lay(Path::new(POLICY))).transpose()?.flatten();
    let mut install = apt_get();
    install.args(["install", "--yes", "--no-install-recommends"]).args(names.split(' '));
    let installed = step(&mut install);
    drop(policy);
    installed.with_context(|| format!("the peers were not installed; by hand:\n    {by_hand}"))?;
    if brings_service {
        disable();
    }
    Ok(())
}

/// Whether the program is there, also where the path of an ordinary user does not lead.
fn has(program: &str) -> bool {
    is_there(program) || is_there(&format!("/usr/sbin/{program}"))
}

/// Keeps the service that the package has just enabled from starting with the machine. Nobody had it
/// before, so that nobody misses it.
fn disable() {
    let mut command = Command::new("systemctl");
    let quiet = command.args(["disable", SERVICE]).stdin(Stdio::null()).stderr(Stdio::null());
    match quiet.stdout(Stdio::null()).status() {
        Ok(status) if status.success() => eprintln!(
            "setup: nginx is not started as a service, nor will it be with the machine; \
             `systemctl enable --now {SERVICE}` would"
        ),
        // A machine without systemd starts it by other means, or not at all.
        _ => eprintln!(
            "setup: nginx is not started; whether it starts with the machine is not changed"
        ),
    }
}

/// Debian's way of saying that packages start no services, while it lies there.
struct Policy<'a>(&'a Path);

impl<'a> Policy<'a> {
    /// `None` where somebody has a policy already: it is theirs to say.
    fn lay(path: &'a Path) -> Result<Option<Self>> {
        if path.exists() {
            eprintln!("setup: {} says whether services start", path.display());
            return Ok(None);
        }
        let what = || format!("cannot write {}", path.display());
        // Before anything may fail, so that nothing of it stays.
        let laid = Self(path);
        fs::write(path, REFUSAL).with_context(what)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).with_context(what)?;
        Ok(Some(laid))
    }
}

impl Drop for Policy<'_> {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(self.0) {
            eprintln!("warning: {} is still there: {error}", self.0.display());
        }
    }
}

/// What the rows of the bench that need a peer name.
const PEERS: [Package; 4] = [
    package("nginx-light", "nginx"),
    package("wrk", "wrk"),
    package("iperf3", "iperf3"),
    package("valgrind", "valgrind"),
];
/// The peer that is a service.
const SERVICE: &str = "nginx";
/// Where Debian's packages ask whether services start; 101 means that they must not.
const POLICY: &str = "/usr/sbin/policy-rc.d";
const REFUSAL: &str =
    "#!/bin/sh\n# Laid here by `cargo xtask setup --bench`, and gone after it.\nexit 101\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_refuses_while_it_lies_there_and_is_gone_after() {
        let path = std::env::temp_dir().join(format!("sluice-policy-{}", std::process::id()));
        let laid = Policy::lay(&path).unwrap();
        let status = Command::new("sh").arg(&path).args(["nginx", "start"]).status().unwrap();
        assert_eq!((status.code(), laid.is_some()), (Some(101), true));
        drop(laid);
        assert!(!path.exists());
    }

    #[test]
    fn policy_of_somebody_else_stays() {
        let path = std::env::temp_dir().join(format!("sluice-policy-other-{}", std::process::id()));
        fs::write(&path, "theirs").unwrap();
        let laid = Policy::lay(&path).unwrap();
        assert!(laid.is_none());
        drop(laid);
        let text = fs::read_to_string(&path);
        fs::remove_file(&path).unwrap();
        assert_eq!(text.unwrap(), "theirs");
    }
}
