//! What both worlds compute of a connection's name under a key: the offset of its sequence numbers
//! and the offset of its timestamps.
//!
//! The XDP program answers a SYN by a cookie, user space goes on with the connection: what the peer
//! saw from one has to fit what it sees from the other.

use crate::contract::AddressKey;
use crate::siphash::Key;

/// A connection's name as seen from our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowName {
    /// Our address.
    pub local: AddressKey,
    /// The peer's address.
    pub remote: AddressKey,
    /// Our port, in host byte order.
    pub local_port: u16,
    /// The peer's port, in host byte order.
    pub remote_port: u16,
}

impl FlowName {
    /// The keyed hash of the name.
    #[inline(always)]
    pub const fn hash(&self, key: &Key) -> u64 {
        let [local, remote] = [halves(self.local), halves(self.remote)];
        let ports = (self.local_port as u64) << 16 | self.remote_port as u64;
        key.hash(&[local[0], local[1], remote[0], remote[1], ports])
    }

    /// F of RFC 9293, 3.4.1: what is added to the clock of sequence numbers. `key` is of nothing else.
    #[inline(always)]
    pub const fn sequence_offset(&self, key: &Key) -> u32 {
        self.hash(key) as u32
    }

    /// What is added to the clock of timestamps: the same whenever the name is used, so that PAWS
    /// holds across the lives of a name (RFC 7323, 5.4). `key` is of nothing else.
    #[inline(always)]
    pub const fn stamp_offset(&self, key: &Key) -> u32 {
        self.hash(key) as u32
    }
}

/// The clock of sequence numbers: 4 µs (RFC 9293, 3.4.1: MUST-8).
#[inline(always)]
pub const fn sequence_clock(nanos: u64) -> u64 {
    nanos / SEQUENCE_TICK
}

/// The clock of timestamps: milliseconds (RFC 7323, 5.4: between 1 ms and 1 s).
#[inline(always)]
pub const fn stamp_clock(nanos: u64) -> u32 {
    (nanos / 1_000_000) as u32
}

/// A tick of the clock of sequence numbers in nanoseconds.
const SEQUENCE_TICK: u64 = 4_000;

const fn halves(addr: AddressKey) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = addr;
    [u64::from_le_bytes([a, b, c, d, e, f, g, h]), u64::from_le_bytes([i, j, k, l, m, n, o, p])]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::mapped;

    const NAME: FlowName = FlowName {
        local: mapped([10, 0, 0, 1]),
        remote: mapped([10, 0, 0, 2]),
        local_port: 80,
        remote_port: 40_000,
    };

    #[test]
    fn every_part_of_the_name_and_of_the_key_counts() {
        let key = Key::new([1; 16]);
        let hash = NAME.hash(&key);
        let others = [
            FlowName { local: mapped([10, 0, 0, 3]), ..NAME },
            FlowName { remote: mapped([10, 0, 0, 3]), ..NAME },
            FlowName { local_port: 81, ..NAME },
            FlowName { remote_port: 40_001, ..NAME },
            FlowName { local: NAME.remote, remote: NAME.local, ..NAME },
            FlowName { local_port: NAME.remote_port, remote_port: NAME.local_port, ..NAME },
        ];
        assert!(others.iter().all(|other| other.hash(&key) != hash));
        assert_ne!(NAME.hash(&Key::new([2; 16])), hash);
        assert_eq!(NAME.hash(&key), hash);
    }

    #[test]
    fn clocks_tick_as_the_standards_ask() {
        assert_eq!(sequence_clock(1_000_000_000), 250_000);
        assert_eq!(stamp_clock(1_999_999), 1);
        // 49.7 days: the clock of timestamps begins anew.
        assert_eq!(stamp_clock((1 << 32) * 1_000_000), 0);
    }
}
