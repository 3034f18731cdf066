//! Local ports for active opens (RFC 6056, algorithm 3: a keyed hash of the destination and one
//! counter).

use core::ops::RangeInclusive;

/// A shard's part of the local ports.
#[derive(Debug)]
pub struct Ports {
    range: RangeInclusive<u16>,
    counter: u16,
}

impl Ports {
    /// Ports of `range`.
    pub fn new(range: RangeInclusive<u16>) -> Self {
        Self { range, counter: 0 }
    }

    /// A port that `is_free`; the search begins at `hash`, a keyed hash of the destination, plus a
    /// counter. `None` when all are taken.
    pub fn choose(&mut self, hash: u64, mut is_free: impl FnMut(u16) -> bool) -> Option<u16> {
        let (first, last) = (*self.range.start(), *self.range.end());
        let count = u32::from(last.checked_sub(first)?) + 1;
        let start = (hash % u64::from(count)) as u32;
        for _ in 0..count {
            let offset = (start + u32::from(self.counter)) % count;
            self.counter = self.counter.wrapping_add(1);
            let port = first + offset as u16;
            if is_free(port) {
                return Some(port);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // CM-2.a.
    #[test]
    fn every_port_is_found_and_none_twice_until_all_are_taken() {
        let mut ports = Ports::new(1000..=1009);
        let mut taken = Vec::new();
        while let Some(port) = ports.choose(12_345, |port| !taken.contains(&port)) {
            taken.push(port);
        }
        taken.sort_unstable();
        assert_eq!(taken, (1000..=1009).collect::<Vec<_>>());
    }
}
