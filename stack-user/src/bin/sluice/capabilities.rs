//! Whether the process may do what it is about to do.

use std::fs;

use sluice::control::Refusal;

/// Refuses when a capability is missing, naming it.
pub(crate) fn check() -> Result<(), Refusal> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    // Where /proc does not tell, the kernel will.
    let Some(held) = effective(&status) else { return Ok(()) };
    let missing = missing(held);
    if missing.is_empty() {
        return Ok(());
    }
    let verb = if missing.len() == 1 { "is" } else { "are" };
    let remedy = "run as root, or with CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and CAP_PERFMON";
    Err(Refusal::new(format_args!("{} {verb} missing", missing.join(", ")), remedy))
}

/// The effective capabilities in the text of /proc/PID/status.
fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn missing(held: u64) -> Vec<&'static str> {
    let has = |bit: u32| held & (1 << bit) != 0;
    // CAP_SYS_ADMIN holds what was split off it (capabilities(7)).
    NEEDED
        .iter()
        .filter(|(_, bit, in_admin)| !(has(*bit) || *in_admin && has(SYS_ADMIN)))
        .map(|(name, ..)| *name)
        .collect()
}

/// Name, number (linux/capability.h), and whether CAP_SYS_ADMIN holds it too.
const NEEDED: [(&str, u32, bool); 4] = [
    ("CAP_NET_ADMIN", 12, false),
    ("CAP_NET_RAW", 13, false),
    ("CAP_BPF", 39, true),
    ("CAP_PERFMON", 38, true),
];
const SYS_ADMIN: u32 = 21;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_names_what_is_not_held() {
        assert_eq!(effective("Name:\tx\nCapEff:\t0000000000003000\n"), Some(0x3000));
        assert_eq!(missing(0x3000), ["CAP_BPF", "CAP_PERFMON"]);
        assert_eq!(missing(0x3000 | 1 << SYS_ADMIN), [""; 0]);
        assert_eq!(missing(1 << SYS_ADMIN), ["CAP_NET_ADMIN", "CAP_NET_RAW"]);
    }
}
