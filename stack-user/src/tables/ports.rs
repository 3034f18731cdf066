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
    pub fn choose(&mut self, hash: u64, mut judge: impl FnMut(u16) -> Fit) -> Option<u16> {
        let (first, last) = (*self.range.start(), *self.range.end());
        let count = u32::from(last.checked_sub(first)?) + 1;
        let start = (hash % u64::from(count)) as u32;
        let mut spare = None;
        for look in 0..count {
            let port = first + ((start + self.counter) % count) as u16;
            self.counter = (self.counter + 1) % count;
            match judge(port) {
                Fit::Free => return Some(port),
                Fit::Spare => spare = spare.or(Some(port)),
                Fit::Taken => {}
            }
            if look >= NEAR && spare.is_some() {
                break;
            }
        }
        spare
    }
}

/// Ports that are looked at for a free one when there is a spare one.
const NEAR: u32 = 128;

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

    #[test]
    fn empty_range_has_no_port() {
        let mut ports = Ports::default();
        assert_eq!(ports.choose(7, |_| Fit::Free), None);
    }
}
