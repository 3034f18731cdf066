//! Programs that are not ours: whether one is there, and what a row says where it is not.

/// Whether the program can be started.
pub(crate) fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where nginx lies, for users whose path lacks it.
    let more = ["/usr/sbin".into(), "/sbin".into()];
    std::env::split_paths(&path).chain(more).any(|folder| folder.join(program).is_file())
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
        assert!(is_there("sh") && !is_there("no-such-program-of-sluice"));
    }
}
