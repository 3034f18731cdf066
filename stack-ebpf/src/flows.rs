//! The program's array of flows: which flows a shard has, as far as the program has to know.
//!
//! Owns the layout. An array map of buckets, a region of equally many for each shard; the shard alone
//! writes its own, by atomic stores into mapped memory, and the program reads. What stands there only
//! ever makes a frame pass to its shard: a flow that is not found may still live (see
//! [`crate::front::Gate`] for whether all of them are there), and one that is found may be gone.
//!
//! A region has a summary: bits that say which of its buckets hold nothing. A forged SYN names a bucket
//! by chance, which costs a cache line and a page's translation that nobody has at hand; the summary is
//! small enough to stay at hand. A bit that is set for nothing costs that look. One is set before the
//! entry stands there, and taken back after the last one is gone.

/// Eight entries on a cache line; the value of [`crate::contract::FLOWS`].
pub type Bucket = [u64; WAYS];

/// What a flow is to its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Kind {
    /// A half-open entry.
    HalfOpen = 1,
    /// A connection.
    Established = 2,
    /// A TIME-WAIT record.
    TimeWait = 3,
}

/// A flow's entry: kind and shard in the lower bits, the upper ones are those of the flow's hash. Those
/// that are missing say which bucket it lies in. Never zero, which marks an empty place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry(pub u64);

impl Entry {
    /// The entry of a flow with this hash ([`crate::flow::FlowName::fingerprint`]).
    #[inline(always)]
    pub const fn new(hash: u64, kind: Kind, shard: u8) -> Self {
        Self((hash & PRINT) | ((shard as u64) << 2) | kind as u64)
    }

    /// Whether it is of a flow with this hash, which has the same home.
    #[inline(always)]
    pub const fn is_of(self, hash: u64) -> bool {
        self.0 != 0 && (self.0 ^ hash) & PRINT == 0
    }

    /// The shard that has the flow.
    #[inline(always)]
    pub const fn shard(self) -> u8 {
        (self.0 >> 2) as u8
    }

    /// What the flow is to it.
    #[inline(always)]
    pub const fn kind(self) -> Kind {
        match self.0 & 3 {
            1 => Kind::HalfOpen,
            2 => Kind::Established,
            _ => Kind::TimeWait,
        }
    }

    /// The flow's hash, where the entry lies in bucket `home` of its region.
    #[inline(always)]
    pub const fn hash(self, home: u32) -> u64 {
        (self.0 & PRINT) | (home as u64 & !PRINT)
    }
}

/// The flow's bucket within a region of `buckets`, a power of two, at least [`FEWEST_BUCKETS`].
#[inline(always)]
pub const fn home(hash: u64, buckets: u32) -> u32 {
    hash as u32 & buckets.wrapping_sub(1)
}

/// Where the summary of a region says whether something lies in a bucket: the word, and its bit there.
/// Large regions have several buckets to a bit.
#[inline(always)]
pub const fn mark(home: u32) -> (u32, u64) {
    let place = home & (SUMMARY_BITS - 1);
    (place >> 6, 1 << (place & 63))
}

/// The buckets of a region of so many that have the same bit as this one, itself among them.
pub fn alike(home: u32, buckets: u32) -> impl Iterator<Item = u32> {
    (home & (SUMMARY_BITS - 1)..buckets).step_by(SUMMARY_BITS as usize)
}

/// The buckets of a region that takes `flows`: at least as many places, and half as many again, so that
/// few buckets are full when all flows are there.
pub const fn buckets_for(flows: usize) -> u32 {
    let buckets = (flows + flows / 2).div_ceil(WAYS).next_power_of_two();
    if buckets < FEWEST_BUCKETS as usize { FEWEST_BUCKETS } else { buckets as u32 }
}

/// The entry of a flow in its bucket, zero without. Without branches, of which the verifier would follow
/// each.
#[inline(always)]
pub fn find(bucket: &Bucket, hash: u64) -> u64 {
    let mut found = 0;
    for word in bucket {
        let differs = (word ^ hash) & PRINT;
        // All ones where nothing differs.
        let is_it = ((differs | differs.wrapping_neg()) >> 63).wrapping_sub(1);
        found |= word & is_it;
    }
    found
}

/// Entries of a bucket.
pub const WAYS: usize = 8;
/// The least buckets of a region: they tell as many bits of a hash as an entry leaves out.
pub const FEWEST_BUCKETS: u32 = 1 << PRINT_FROM;
/// The bits of a summary: 16 KiB, which a processor's first cache holds beside other things.
pub const SUMMARY_BITS: u32 = 1 << 17;
/// The words of a summary.
pub const SUMMARY_WORDS: u32 = SUMMARY_BITS / 64;
/// The bits of a hash that an entry holds begin here.
const PRINT_FROM: u32 = 10;
const PRINT: u64 = !((1 << PRINT_FROM) - 1);

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: u64 = 0x1234_5678_9abc_def0;

    #[test]
    fn entry_tells_hash_kind_and_shard() {
        for kind in [Kind::HalfOpen, Kind::Established, Kind::TimeWait] {
            for shard in [0, 1, 255] {
                let entry = Entry::new(HASH, kind, shard);
                assert_eq!((entry.kind(), entry.shard()), (kind, shard));
                for buckets in [FEWEST_BUCKETS, 1 << 17] {
                    assert_eq!(entry.hash(home(HASH, buckets)), HASH);
                }
                assert!(entry.is_of(HASH) && !entry.is_of(HASH ^ 1 << 10));
                assert!(!entry.is_of(HASH ^ 1 << 63));
            }
        }
        assert!(!Entry(0).is_of(0), "an empty place is no flow's");
    }

    #[test]
    fn flow_is_found_wherever_it_lies_in_its_bucket() {
        for place in 0..WAYS {
            let mut bucket =
                core::array::from_fn(|n| Entry::new((n as u64 * 7) << 40, Kind::TimeWait, 0).0);
            bucket[place] = Entry::new(HASH, Kind::HalfOpen, 3).0;
            assert_eq!(find(&bucket, HASH), Entry::new(HASH, Kind::HalfOpen, 3).0);
            bucket[place] = 0;
            assert_eq!(find(&bucket, HASH), 0);
        }
        assert_eq!(find(&[0; WAYS], 0), 0);
    }

    #[test]
    fn buckets_of_a_bit_are_those_alike() {
        for buckets in [FEWEST_BUCKETS, SUMMARY_BITS, 4 * SUMMARY_BITS] {
            for home in [0, 1, 63, 64, 1_023, buckets - 1] {
                let (word, bit) = mark(home);
                assert!(word < SUMMARY_WORDS && bit.is_power_of_two());
                let of_it = (0..buckets).filter(|other| mark(*other) == (word, bit));
                assert!(alike(home, buckets).eq(of_it));
                assert!(alike(home, buckets).any(|other| other == home));
            }
        }
    }

    #[test]
    fn region_has_room_for_its_flows() {
        assert_eq!([0, 1, 5_461, 5_462].map(buckets_for), [1024, 1024, 1024, 2048]);
        for flows in [10_000, 540_672, 1 << 24] {
            let buckets = buckets_for(flows);
            assert!(buckets.is_power_of_two() && buckets as usize * WAYS >= flows + flows / 2);
        }
    }
}
