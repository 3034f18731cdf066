//! Local ports for active opens (RFC 6056, algorithm 3: a keyed hash of the destination and one
//! counter).

use core::ops::RangeInclusive;

/// A shard's part of the local ports.
#[derive(Debug)]
pub struct Ports {
    range: RangeInclusive<u16>,
    /// Ports looked at so far, modulo their number.
    counter: u32,
}

impl Default for Ports {
    /// No port at all.
    #[expect(clippy::reversed_empty_ranges, reason = "an empty range of ports")]
    fn default() -> Self {
        Self::new(1..=0)
    }
}

/// What a port is to an open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Nothing uses it towards that destination.
    Free,
    /// What uses it may be made to give way.
    Spare,
    /// It cannot be had.
    Taken,
}

impl Ports {
    /// Ports of `range`.
    pub fn new(range: RangeInclusive<u16>) -> Self {
        Self { range, counter: 0 }
    }

    /// A free port, or a spare one where a free one is not near; the search begins at `hash`, a keyed
    /// hash of the destination, plus a counter. `None` when all are taken.
    pub fn choose(&mut self, hash: u64, judge: impl FnMut(u16) -> Fit) -> Option<u16> {
        self.search(hash, (u32::MAX, NEAR), judge)
    }

    /// As [`Ports::choose`], among those ports of the next ones of which `is_home` holds, as about one
    /// of `share` does. `None` when all of these are taken: [`Ports::choose`] may have another one.
    pub fn choose_home(
        &mut self,
        hash: u64,
        (share, is_home): (u16, impl Fn(u16) -> bool),
        mut judge: impl FnMut(u16) -> Fit,
    ) -> Option<u16> {
        let looks = (NEAR * u32::from(share)).min(FAR);
        self.search(hash, (looks, looks), |port| match is_home(port) {
            true => judge(port),
            false => Fit::Taken,
        })
    }

    /// Looks at `looks` ports at most, and at more than `near` only while there is no spare one.
    fn search(
        &mut self,
        hash: u64,
        (looks, near): (u32, u32),
        mut judge: impl FnMut(u16) -> Fit,
    ) -> Option<u16> {
        let (first, last) = (*self.range.start(), *self.range.end());
        let count = u32::from(last.checked_sub(first)?) + 1;
        let start = (hash % u64::from(count)) as u32;
        let mut spare = None;
        for look in 0..count.min(looks) {
            let port = first + ((start + self.counter) % count) as u16;
            self.counter = (self.counter + 1) % count;
            match judge(port) {
                Fit::Free => return Some(port),
                Fit::Spare => spare = spare.or(Some(port)),
                Fit::Taken => {}
            }
            if look >= near && spare.is_some() {
                break;
            }
        }
        spare
    }
}

/// Ports that are looked at for a free one when there is a spare one.
const NEAR: u32 = 128;
/// The most ports that are looked at for one of which something holds: some ten microseconds.
const FAR: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    // CM-2.a.
    #[test]
    fn every_port_is_found_and_none_twice_until_all_are_taken() {
        let mut ports = Ports::new(1000..=1009);
        let mut taken = Vec::new();
        // The counter passes 2^16 on the way, which ten does not divide.
        for round in 0..8_000 {
            taken.clear();
            let judge = |port, taken: &[u16]| match taken.contains(&port) {
                true => Fit::Taken,
                false => Fit::Free,
            };
            while let Some(port) = ports.choose(round, |port| judge(port, &taken)) {
                taken.push(port);
            }
            taken.sort_unstable();
            assert_eq!(taken, (1000..=1009).collect::<Vec<_>>());
        }
    }

    // RFC 6056 3.3.3: where the search begins is the destination's own.
    #[test]
    fn destinations_begin_at_their_own_port_and_go_on_by_one_counter() {
        let mut ports = Ports::new(40_000..=49_999);
        let mut choose = |hash| ports.choose(hash, |_| Fit::Free);
        assert_eq!(choose(5), Some(40_005));
        assert_eq!(choose(5), Some(40_006));
        assert_eq!(choose(20_077), Some(40_079));
    }

    #[test]
    fn spare_port_is_taken_only_where_no_free_one_is_near() {
        let choose = |free: u16| {
            let mut ports = Ports::new(1_000..=1_999);
            ports.choose(0, |port| match port {
                1_003 => Fit::Spare,
                port if port == free => Fit::Free,
                _ => Fit::Taken,
            })
        };
        assert_eq!(choose(1_001), Some(1_001));
        assert_eq!(choose(1_100), Some(1_100));
        assert_eq!(choose(1_900), Some(1_003));
    }

    // CM-2.b.
    #[test]
    fn home_port_is_found_while_one_is_free_and_no_other() {
        let mut ports = Ports::new(1_000..=1_999);
        let is_home = |port: u16| port.is_multiple_of(4);
        let mut taken = Vec::new();
        let judge = |port, taken: &[u16]| match taken.contains(&port) {
            true => Fit::Taken,
            false => Fit::Free,
        };
        while let Some(port) = ports.choose_home(77, (4, is_home), |port| judge(port, &taken)) {
            taken.push(port);
        }
        let other = ports.choose(77, |port| judge(port, &taken)).unwrap();
        assert!(!is_home(other));
        taken.sort_unstable();
        assert_eq!(taken, (1_000..=1_999).step_by(4).collect::<Vec<_>>());
    }

    #[test]
    fn home_port_that_is_spare_is_taken_where_no_free_one_is_home() {
        let mut ports = Ports::new(1_000..=1_999);
        let is_home = |port: u16| port.is_multiple_of(2);
        let judge = |port| match port {
            1_008 => Fit::Spare,
            port if is_home(port) => Fit::Taken,
            _ => Fit::Free,
        };
        assert_eq!(ports.choose_home(0, (2, is_home), judge), Some(1_008));
        assert_eq!(ports.choose_home(0, (2, |_| false), judge), None);
        assert_eq!(Ports::default().choose_home(0, (2, |_| true), judge), None);
    }

    #[test]
    fn empty_range_has_no_port() {
        let mut ports = Ports::default();
        assert_eq!(ports.choose(7, |_| Fit::Free), None);
    }
}
