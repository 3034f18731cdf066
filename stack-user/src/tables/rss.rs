//! Receive-side scaling: to which queue of the interface a peer's segments come, by the Toeplitz hash
//! of their addresses and ports and by the indirection table.
//!
//! Owns the computation. What key and table are, and for which packets they hold, the control plane
//! finds out; that they may change meanwhile, whoever asks has to live with.

use core::fmt;

use crate::wire::FourTuple;

/// How an interface spreads segments of TCP over its queues.
#[derive(Clone, PartialEq, Eq)]
pub struct Rss {
    key: Box<[u8]>,
    /// The queue of each hash by its low bits: a power of two of entries.
    table: Box<[u16]>,
    families: Families,
}

/// Of which families addresses and ports are hashed, all four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Families {
    /// Of IPv4.
    pub v4: bool,
    /// Of IPv6.
    pub v6: bool,
}

/// Why a key and a table tell nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RssError {
    /// The key has so many bytes: too few for addresses of IPv6.
    Key(usize),
    /// The table has so many entries: no power of two, which entry a hash names is not known.
    Table(usize),
}

impl fmt::Display for RssError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(len) => write!(f, "the hash key has {len} bytes, below {KEY}"),
            Self::Table(len) => {
                write!(f, "the indirection table has {len} entries, which is no power of two")
            }
        }
    }
}

impl core::error::Error for RssError {}

impl fmt::Debug for Rss {
    /// Without the key: who knows it can send everything to one queue.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rss")
            .field("entries", &self.table.len())
            .field("families", &self.families)
            .finish_non_exhaustive()
    }
}

impl Rss {
    /// An interface with this key, this table of queues, and these families' names hashed.
    ///
    /// # Errors
    /// [`RssError`], where the queue of a segment does not follow from them.
    pub fn new(key: &[u8], table: &[u16], families: Families) -> Result<Self, RssError> {
        if key.len() < KEY {
            return Err(RssError::Key(key.len()));
        }
        if !table.len().is_power_of_two() {
            return Err(RssError::Table(table.len()));
        }
        Ok(Self { key: key.into(), table: table.into(), families })
    }

    /// How many queues it uses: those up to the last in its table.
    pub fn queues(&self) -> u16 {
        self.table.iter().max().map_or(0, |last| last.saturating_add(1))
    }

    /// To which queue the peer's segments of a connection come, by our port in its place of the name;
    /// `None` where more than the name, or less, decides.
    pub fn queue_by_port(&self, name: &FourTuple) -> Option<impl Fn(u16) -> u16> {
        let is_v4 = name.local.is_v4();
        let is_hashed = if is_v4 { self.families.v4 } else { self.families.v6 };
        // All but our port, which stands last: each bit adds its own part.
        let (rest, at) = self.sum(0, &FourTuple { local_port: 0, ..*name });
        is_hashed.then_some(move |port: u16| {
            let [high, low] = port.to_be_bytes();
            let hash = rest ^ self.part(at - 2, high) ^ self.part(at - 1, low);
            self.table[hash as usize & (self.table.len() - 1)]
        })
    }

    /// The Toeplitz hash of a segment that the peer sends.
    pub fn hash(&self, name: &FourTuple) -> u32 {
        self.sum(0, name).0
    }

    /// The hash, begun with `hash`, and how many bytes went into it: source address, destination
    /// address, source port, destination port.
    fn sum(&self, mut hash: u32, name: &FourTuple) -> (u32, usize) {
        let skipped = if name.local.is_v4() { 12 } else { 0 };
        let (from, to) = (&name.remote.0[skipped..], &name.local.0[skipped..]);
        let (source, destination) = (name.remote_port.to_be_bytes(), name.local_port.to_be_bytes());
        let mut at = 0;
        for byte in from.iter().chain(to).chain(&source).chain(&destination) {
            hash ^= self.part(at, *byte);
            at += 1;
        }
        (hash, at)
    }

    /// What the byte at `at` of the input adds: for each bit that is set the 32 bits of the key that
    /// begin at its place.
    fn part(&self, at: usize, byte: u8) -> u32 {
        let window = self.key[at..at + 5].iter().fold(0, |bits, byte| bits << 8 | u64::from(*byte));
        let set = (0..8).filter(|bit| byte & (0x80 >> bit) != 0);
        set.fold(0, |hash, bit| hash ^ (window >> (8 - bit)) as u32)
    }
}

/// The fewest bytes of a key: those of two addresses of IPv6, two ports, and a word.
const KEY: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Addr;
    use core::net::IpAddr;

    /// Of Microsoft's verification suite for RSS, as its results are.
    const SUITE: [u8; 40] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f,
        0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
        0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];
    const BOTH: Families = Families { v4: true, v6: true };

    fn addr(text: &str) -> Addr {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn name(remote: (&str, u16), local: (&str, u16)) -> FourTuple {
        FourTuple {
            local: addr(local.0),
            remote: addr(remote.0),
            local_port: local.1,
            remote_port: remote.1,
        }
    }

    #[test]
    fn hash_is_that_of_the_verification_suite() {
        let rss = Rss::new(&SUITE, &[0], BOTH).unwrap();
        let cases = [
            (("66.9.149.187", 2794), ("161.142.100.80", 1766), 0x51cc_c178),
            (("199.92.111.2", 14230), ("65.69.140.83", 4739), 0xc626_b0ea),
            (("24.19.198.95", 12898), ("12.22.207.184", 38024), 0x5c2b_394a),
            (("38.27.205.30", 48228), ("209.142.163.6", 2217), 0xafc7_327f),
            (("153.39.163.191", 44251), ("202.188.127.2", 1303), 0x10e8_28a2),
            (("3ffe:2501:200:1fff::7", 2794), ("3ffe:2501:200:3::1", 1766), 0x4020_7d3d),
            (("3ffe:501:8::260:97ff:fe40:efab", 14230), ("ff02::1", 4739), 0xdde5_1bbf),
            (
                ("3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251),
                ("fe80::200:f8ff:fe21:67cf", 38024),
                0x02d1_feef,
            ),
        ];
        for (remote, local, hash) in cases {
            assert_eq!(rss.hash(&name(remote, local)), hash, "{remote:?} to {local:?}");
        }
    }

    #[test]
    fn queue_is_the_entry_that_the_low_bits_name() {
        let table: Vec<u16> = (0..128).map(|entry| entry * 7 % 5).collect();
        let rss = Rss::new(&SUITE, &table, BOTH).unwrap();
        assert_eq!(rss.queues(), 5);
        for remote in [("10.0.0.2", 80), ("2001:db8::2", 443)] {
            let local = if remote.1 == 80 { "10.0.0.1" } else { "2001:db8::1" };
            // The port in the name asked for does not count.
            let asked = name(remote, (local, 9));
            let by_port = rss.queue_by_port(&asked).unwrap();
            for port in (0..=u16::MAX).step_by(97) {
                let hash = rss.hash(&name(remote, (local, port)));
                assert_eq!(by_port(port), table[(hash & 127) as usize]);
            }
        }
    }

    #[test]
    fn family_of_which_other_things_are_hashed_tells_nothing() {
        let only = |v4, v6| Rss::new(&SUITE, &[0, 1], Families { v4, v6 }).unwrap();
        let (v4, v6) = (name(("10.0.0.2", 1), ("10.0.0.1", 2)), name(("2::", 1), ("1::", 2)));
        let tells = |rss: &Rss| [&v4, &v6].map(|name| rss.queue_by_port(name).is_some());
        assert_eq!(tells(&only(true, false)), [true, false]);
        assert_eq!(tells(&only(false, true)), [false, true]);
    }

    #[test]
    fn short_key_and_table_of_no_power_of_two_are_refused() {
        assert_eq!(Rss::new(&SUITE[..39], &[0], BOTH), Err(RssError::Key(39)));
        assert_eq!(Rss::new(&SUITE, &[0; 96], BOTH), Err(RssError::Table(96)));
        assert_eq!(Rss::new(&SUITE, &[], BOTH), Err(RssError::Table(0)));
        assert!(Rss::new(&[&SUITE[..], &[0; 12]].concat(), &[0; 64], BOTH).is_ok());
    }

    #[test]
    fn debug_does_not_show_the_key() {
        let rss = Rss::new(&SUITE, &[0], BOTH).unwrap();
        assert!(!format!("{rss:?}").contains("109"), "{rss:?}");
    }
}
