//! What the kernel's slab caches hold, from /proc/slabinfo.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use nix::unistd::{SysconfVar, sysconf};

use crate::printer::figure;

/// Bytes of the pages of each cache.
pub(in crate::system) struct Slabs(BTreeMap<String, u64>);

impl Slabs {
    pub(in crate::system) fn read() -> Result<Self> {
        let text = std::fs::read_to_string("/proc/slabinfo").context("/proc/slabinfo")?;
        let page = sysconf(SysconfVar::PAGE_SIZE)?.context("pages have a size")?;
        Self::parse(&text, u64::try_from(page)?).context("/proc/slabinfo is not as expected")
    }

    /// Lines `name active objects size objects-per-slab pages-per-slab : ... : slabdata active slabs ...`.
    fn parse(text: &str, page: u64) -> Option<Self> {
        let cache = |line: &str| {
            let (head, slabs) = line.split_once(": slabdata")?;
            let head: Vec<&str> = head.split_whitespace().collect();
            let pages: u64 = head.get(5)?.parse().ok()?;
            let slabs: u64 = slabs.split_whitespace().nth(1)?.parse().ok()?;
            Some(((*head.first()?).to_string(), slabs * pages * page))
        };
        let lines =
            text.lines().filter(|line| line.contains(": slabdata") && !line.starts_with('#'));
        lines.map(cache).collect::<Option<BTreeMap<_, _>>>().map(Self)
    }

    pub(in crate::system) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// What grew most since `before`, for each of so many.
    pub(super) fn growth(&self, before: &Self, ends: u64) -> String {
        let grown = |(name, now): (&String, &u64)| {
            let then = before.0.get(name).copied().unwrap_or(0);
            (now.saturating_sub(then) as f64 / ends as f64, name.clone())
        };
        let mut grown: Vec<_> =
            self.0.iter().map(grown).filter(|(bytes, _)| *bytes >= 1.0).collect();
        grown.sort_by(|one, other| other.0.total_cmp(&one.0));
        let named: Vec<_> = grown
            .iter()
            .take(SHOWN)
            .map(|(bytes, name)| format!("{name} {} B", figure(*bytes)))
            .collect();
        named.join(", ")
    }
}

/// How many caches are named.
const SHOWN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "slabinfo - version: 2.1\n# name <active_objs> ... : slabdata <active_slabs>\n\
        TCP 10 26 2432 13 8 : tunables 0 0 0 : slabdata 2 3 0\n\
        filp 5 5 256 16 1 : tunables 0 0 0 : slabdata 1 1 0\n";

    #[test]
    fn pages_of_all_slabs_count() {
        let slabs = Slabs::parse(TEXT, 4_096).unwrap();
        assert_eq!(slabs.total(), 3 * 8 * 4_096 + 4_096);
        assert!(Slabs::parse("TCP 10 : slabdata 2\n", 4_096).is_none());
    }

    #[test]
    fn growth_names_the_greatest_first() {
        let before = Slabs::parse(TEXT, 4_096).unwrap();
        let after = TEXT.replace("slabdata 2 3 0", "slabdata 2 5 0").replace("1 1 0", "1 9 0");
        let after = Slabs::parse(&after, 4_096).unwrap();
        assert_eq!(after.growth(&before, 1_024), "TCP 64.0 B, filp 32.0 B");
    }

    #[test]
    fn this_kernel_tells() {
        // Only root may read it.
        if let Ok(slabs) = Slabs::read() {
            assert!(slabs.total() > 1 << 20);
        }
    }
}
