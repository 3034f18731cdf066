//! How an interface spreads packets over its queues, as its driver tells ethtool.
//!
//! Asks once and keeps nothing: key, table and fields belong to the kernel, where they may be changed at
//! any time.

use std::fmt;
use std::io;

use super::sys::{self, ReceiveHash};
use crate::tables::rss::{Families, Rss, RssError};

/// Why it is not known to which queue a segment comes.
#[derive(Debug)]
pub enum Unknown {
    /// The driver does not tell.
    Silent(io::Error),
    /// The hash is another than Toeplitz: this bit of `ETH_RSS_HASH_*`, or zero for one not named.
    Function(u8),
    /// Addresses and ports are mixed before they are hashed, in this way of `RXH_XFRM_*`.
    Transform(u8),
    /// Of TCP other things are hashed than both addresses and both ports.
    Fields,
    /// The table names this queue, which the interface does not have.
    Queue(u32),
    /// Key or table tell nothing.
    Rss(RssError),
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(err) => write!(f, "the driver does not tell ({err})"),
            Self::Function(function) => write!(f, "the hash is not Toeplitz (function {function})"),
            Self::Transform(way) => write!(f, "the hash is symmetric (transform {way})"),
            Self::Fields => f.write_str("of TCP not both addresses and both ports are hashed"),
            Self::Queue(queue) => write!(f, "the indirection table names queue {queue}"),
            Self::Rss(err) => err.fmt(f),
        }
    }
}

impl std::error::Error for Unknown {}

/// How an interface with so many queues spreads segments of TCP over them.
///
/// # Errors
/// [`Unknown`], where that does not follow from what the driver tells.
pub fn read(interface: &str, queues: u16) -> Result<Rss, Unknown> {
    let told = sys::receive_hash(interface).map_err(Unknown::Silent)?;
    // A driver that tells of no fields is as good as one that hashes others.
    let fields = [TCP_V4_FLOW, TCP_V6_FLOW].map(|flow| sys::hashed_fields(interface, flow).ok());
    understand(&told, fields, queues)
}

fn understand(told: &ReceiveHash, [v4, v6]: [Option<u64>; 2], queues: u16) -> Result<Rss, Unknown> {
    if told.function != TOEPLITZ {
        return Err(Unknown::Function(told.function));
    }
    if told.transform != 0 {
        return Err(Unknown::Transform(told.transform));
    }
    let families = Families { v4: v4 == Some(WHOLE_NAME), v6: v6 == Some(WHOLE_NAME) };
    if !families.v4 && !families.v6 {
        return Err(Unknown::Fields);
    }
    let queue_of = |entry: &u32| {
        let queue = u16::try_from(*entry).ok().filter(|queue| *queue < queues);
        queue.ok_or(Unknown::Queue(*entry))
    };
    let table = told.table.iter().map(queue_of).collect::<Result<Vec<_>, _>>()?;
    Rss::new(&told.key, &table, families).map_err(Unknown::Rss)
}

/// `ETH_RSS_HASH_TOP` of the kernel's netdevice.h.
const TOEPLITZ: u8 = 1;
/// `RXH_IP_SRC`, `RXH_IP_DST`, `RXH_L4_B_0_1` and `RXH_L4_B_2_3` of linux/ethtool.h.
const WHOLE_NAME: u64 = 0xf << 4;
/// Kinds of packets, of linux/ethtool.h.
const TCP_V4_FLOW: u32 = 1;
const TCP_V6_FLOW: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Addr, FourTuple};
    use core::net::Ipv4Addr;

    fn told() -> ReceiveHash {
        ReceiveHash {
            function: TOEPLITZ,
            transform: 0,
            table: (0..64).map(|entry| entry % 4).collect(),
            key: (1..=52).collect(),
        }
    }

    const ALL: [Option<u64>; 2] = [Some(WHOLE_NAME); 2];

    fn refused(told: &ReceiveHash, fields: [Option<u64>; 2]) -> String {
        understand(told, fields, 4).expect_err("it tells nothing").to_string()
    }

    #[test]
    fn toeplitz_over_the_whole_name_is_understood() {
        let rss = understand(&told(), ALL, 4).unwrap();
        let host = |n| Addr::from(Ipv4Addr::new(10, 0, 0, n));
        let name =
            FourTuple { local: host(1), remote: host(2), local_port: 40_000, remote_port: 80 };
        let queue_of = rss.queue_by_port(&name).unwrap();
        let mut counts = [0; 4];
        (40_000..41_000).for_each(|port| counts[usize::from(queue_of(port))] += 1);
        assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
        assert_eq!(u32::from(queue_of(40_000)), rss.hash(&name) % 64 % 4);
    }

    #[test]
    fn family_with_other_fields_is_left_out() {
        let v4 = FourTuple {
            local: Addr::from(Ipv4Addr::LOCALHOST),
            remote: Addr::from(Ipv4Addr::LOCALHOST),
            local_port: 1,
            remote_port: 2,
        };
        let addresses_alone = Some(0x30);
        let rss = understand(&told(), [addresses_alone, ALL[1]], 4).unwrap();
        assert!(rss.queue_by_port(&v4).is_none());
        let rss = understand(&told(), [ALL[0], None], 4).unwrap();
        assert!(rss.queue_by_port(&v4).is_some());
    }

    #[test]
    fn what_tells_nothing_is_refused_by_its_reason() {
        assert!(refused(&ReceiveHash { function: 2, ..told() }, ALL).contains("not Toeplitz"));
        assert!(refused(&ReceiveHash { function: 0, ..told() }, ALL).contains("not Toeplitz"));
        assert!(refused(&ReceiveHash { transform: 1, ..told() }, ALL).contains("symmetric"));
        assert!(refused(&told(), [None, Some(WHOLE_NAME | 1 << 2)]).contains("ports"));
        assert!(refused(&ReceiveHash { key: vec![1; 20], ..told() }, ALL).contains("20 bytes"));
        assert!(refused(&ReceiveHash { table: Vec::new(), ..told() }, ALL).contains("0 entries"));
        let odd = ReceiveHash { table: vec![0, 1, 4, 1], ..told() };
        assert!(refused(&odd, ALL).contains("queue 4"));
    }

    #[test]
    fn interface_without_a_hash_or_without_being_there_says_so() {
        assert!(matches!(read("lo", 1), Err(Unknown::Silent(_))));
        assert!(matches!(read("a name that no interface can have", 1), Err(Unknown::Silent(_))));
    }
}
