//! A block list of some length, and a limit to SYNs that the frame which is measured never reaches.

use anyhow::Result;
use aya::Ebpf;
use aya::maps::Array;
use aya::maps::lpm_trie::{Key, LpmTrie};
use stack_ebpf::contract::{self, BlockKey, Limits, mapped};
use zerocopy::transmute;

use super::map;

/// Looks at the limits, or at none.
pub(super) fn set(ebpf: &mut Ebpf, are_on: bool) -> Result<()> {
    let mut limits = Limits { has_blocks: are_on.into(), ..Limits::default() };
    if are_on {
        limits.set_syns(MANY, MANY);
        let mut list: LpmTrie<_, [u8; size_of::<BlockKey>()], u32> = map(ebpf, contract::BLOCKS)?;
        for n in 0..ENTRIES {
            let [_, _, c, d] = n.to_be_bytes();
            let addr = BlockKey::new(mapped([BLOCKED, c, d, 0]));
            list.insert(&Key::new(BlockKey::bits(120), transmute!(addr)), 0, 0)?;
        }
    }
    let limits: [u8; size_of::<Limits>()] = transmute!(limits);
    let mut array: Array<_, [u8; size_of::<Limits>()]> = map(ebpf, contract::LIMITS)?;
    Ok(array.set(0, limits, 0)?)
}

/// The first octet of what is blocked.
pub(super) const BLOCKED: u8 = 172;
/// Networks on the list.
const ENTRIES: u32 = 1_000;
const MANY: u32 = 1_000_000_000;
