//! Programs that are not ours: whether one is there, and what a row says where it is not.

use std::ffi::OsString;

/// Whether the program can be started.
pub(crate) fn is_there(program: &str) -> bool {
    std::env::split_paths(&path()).any(|folder| folder.join(program).is_file())
}

/// Where programs are looked for, those that we start included: where nginx and ethtool lie too, for
/// users whose path lacks it.
pub(crate) fn path() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin".into(), "/sbin".into()];
    // No folder of a path has the separator in its name.
    std::env::join_paths(std::env::split_paths(&path).chain(more)).unwrap_or(path)
}

/// That a program is missing, with the package it comes from and the command that installs it.
pub(crate) fn missing(program: &str, package: &str) -> String {
    let by =
        if PEERS.contains(&program) { "; `cargo xtask setup --bench` installs it" } else { "" };
    format!("{program} is missing (package {package}{by})")
}

/// What `cargo xtask setup --bench` installs.
const PEERS: [&str; 4] = ["nginx", "wrk", "iperf3", "valgrind"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_names_package_and_command() {
        let want = "wrk is missing (package wrk; `cargo xtask setup --bench` installs it)";
        assert_eq!(missing("wrk", "wrk"), want);
        assert_eq!(missing("chrt", "util-linux"), "chrt is missing (package util-linux)");
    }

    #[test]
    fn program_is_found_by_its_name_alone() {
        assert!(path().to_string_lossy().ends_with(":/usr/sbin:/sbin"));
        assert!(is_there("sh") && !is_there("no-such-program-of-sluice"));
    }
}
