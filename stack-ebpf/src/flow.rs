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
    /// The name in words.
    #[inline(always)]
    pub const fn words(&self) -> Words {
        let ports = (self.local_port as u32) << 16 | self.remote_port as u32;
        Words { local: halves(self.local), remote: halves(self.remote), ports }
    }

    /// As [`Words::fingerprint`].
    #[inline(always)]
    pub const fn fingerprint(&self, key: &Key) -> u64 {
        self.words().fingerprint(key)
    }
}

/// A connection's name in words: addresses with their first octets the lowest, and the local port above
/// the remote one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    /// Our address.
    pub local: [u64; 2],
    /// The peer's.
    pub remote: [u64; 2],
    /// Both ports.
    pub ports: u32,
}

impl Words {
    /// A mapped IPv4 address whose four octets, the first the lowest, are these.
    #[inline(always)]
    pub const fn mapped(octets: u32) -> [u64; 2] {
        [0, (octets as u64) << 32 | V4 as u64]
    }

    /// The keyed hash of the name, under which a flow is found in a table and in the program's array of
    /// flows; of IPv4 only the four octets of each address, which takes three rounds less. The length
    /// tells the two forms apart.
    #[inline(always)]
    pub const fn fingerprint(&self, key: &Key) -> u64 {
        let Self { local: [a, b], remote: [c, d], ports } = *self;
        let ports = ports.swap_bytes();
        match self.is_v4() {
            true => key.hash_for_table(&[(b >> 32) | (d >> 32 << 32)], ports),
            false => key.hash_for_table(&[a, b, c, d], ports),
        }
    }

    #[inline(always)]
    const fn is_v4(&self) -> bool {
        let ([a, b], [c, d]) = (self.local, self.remote);
        a == 0 && c == 0 && b as u32 == V4 && d as u32 == V4
    }
}

/// What is added to the clocks for one name: two halves of one keyed hash, which tell nothing of each
/// other.
///
/// The name is hashed once, into its fingerprint, and that is what everything else is made of that an
/// outsider sees: by SipHash-2-4 under other keys. Nobody outside sees a fingerprint, so that it need not
/// do more than tell names apart, which is what a hash table trusts it for as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    pub(crate) fingerprint: u64,
    hash: u64,
}

impl Offsets {
    /// Those of the name with this fingerprint ([`Words::fingerprint`]). `key` is of nothing else.
    #[inline(always)]
    pub const fn new(fingerprint: u64, key: &Key) -> Self {
        // Seven octets: an eighth would cost two rounds, and two names in 2^56 may well have the same.
        Self { fingerprint, hash: key.hash_with_tail(&[], (fingerprint >> 8, 7)) }
    }

    /// F of RFC 9293, 3.4.1: what is added to the clock of sequence numbers.
    #[inline(always)]
    pub const fn sequence(&self) -> u32 {
        self.hash as u32
    }

    /// What is added to the clock of timestamps: the same whenever the name is used, so that PAWS
    /// holds across the lives of a name (RFC 7323, 5.4).
    #[inline(always)]
    pub const fn stamp(&self) -> u32 {
        (self.hash >> 32) as u32
    }
}

/// The clock of sequence numbers: 3.8 µs, of which 2^24 are 64 s (RFC 9293, 3.4.1: MUST-8, roughly
/// every 4 µs).
#[inline(always)]
pub const fn sequence_clock(nanos: u64) -> u64 {
    ((nanos / PERIOD) << PERIOD_BITS) | (((nanos % PERIOD) << PERIOD_BITS) / PERIOD)
}

/// The clock of timestamps: milliseconds (RFC 7323, 5.4: between 1 ms and 1 s).
#[inline(always)]
pub const fn stamp_clock(nanos: u64) -> u32 {
    (nanos / 1_000_000) as u32
}

/// Nanoseconds in which the lower bits of the clock of sequence numbers go round.
pub(crate) const PERIOD: u64 = 64_000_000_000;
/// How many bits these are.
pub(crate) const PERIOD_BITS: u32 = 24;
/// What every mapped IPv4 address has in the lower half of its second word.
const V4: u32 = u32::from_le_bytes([0, 0, 0xff, 0xff]);

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
        let hash = NAME.fingerprint(&key);
        let others = [
            FlowName { local: mapped([10, 0, 0, 3]), ..NAME },
            FlowName { remote: mapped([10, 0, 0, 3]), ..NAME },
            FlowName { local_port: 81, ..NAME },
            FlowName { remote_port: 40_001, ..NAME },
            FlowName { local: NAME.remote, remote: NAME.local, ..NAME },
            FlowName { local_port: NAME.remote_port, remote_port: NAME.local_port, ..NAME },
        ];
        assert!(others.iter().all(|other| other.fingerprint(&key) != hash));
        assert_ne!(NAME.fingerprint(&Key::new([2; 16])), hash);
        assert_eq!(NAME.fingerprint(&key), hash);
        let [v6, other] = [7, 8].map(|octet| FlowName { local: [octet; 16], ..NAME });
        assert_ne!(v6.fingerprint(&key), other.fingerprint(&key));
    }

    #[test]
    fn offsets_are_of_the_fingerprint_and_of_their_key() {
        let key = Key::new(core::array::from_fn(|n| n as u8));
        let all = |offsets: Offsets| [offsets.sequence(), offsets.stamp()];
        // The vector of SipHash's authors for 00 01 .. 06.
        let offsets = Offsets::new(0x0605_0403_0201_0000, &key);
        assert_eq!(all(offsets), [0x8b01_d137, 0xab02_00f5]);
        let others = [Offsets::new(1 << 63, &key), Offsets::new(1 << 8, &key)];
        assert!(others.iter().all(|other| all(*other) != all(Offsets::new(0, &key))));
        assert_ne!(all(offsets), all(Offsets::new(0x0605_0403_0201_0000, &Key::new([1; 16]))));
    }

    #[test]
    fn clocks_tick_as_the_standards_ask() {
        assert_eq!(sequence_clock(1_000_000_000), 1 << 18);
        assert_eq!(sequence_clock(PERIOD - 1), (1 << PERIOD_BITS) - 1);
        assert_eq!(sequence_clock(3 * PERIOD), 3 << PERIOD_BITS);
        // A hundred years.
        assert_eq!(sequence_clock(PERIOD * 49_275_000) >> PERIOD_BITS, 49_275_000);
        assert_eq!(stamp_clock(1_999_999), 1);
        // 49.7 days: the clock of timestamps begins anew.
        assert_eq!(stamp_clock((1 << 32) * 1_000_000), 0);
    }
}
