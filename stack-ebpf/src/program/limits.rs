//! The block list and the sources' budgets of SYNs: maps and the looks into them.

use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;
use aya_ebpf::macros::map;
use aya_ebpf::maps::lpm_trie::{self, LpmTrie};
use aya_ebpf::maps::{Array, LruHashMap};
use stack_ebpf::contract::{self, AddressKey, BlockKey, MAX_BLOCKS};
use stack_ebpf::front::Budget;

use super::Key;

// The names are those of `stack_ebpf::contract`.
#[map(name = "SLUICE_LIMITS")]
static LIMITS: Array<contract::Limits> = Array::with_max_entries(1, 0);
#[map(name = "SLUICE_BLOCKS")]
static BLOCKS: LpmTrie<BlockKey, u32> = LpmTrie::with_max_entries(MAX_BLOCKS, 0);
/// User space makes it as large as it needs.
#[map(name = "SLUICE_SOURCES")]
static SOURCES: LruHashMap<[u64; 2], Budget> = LruHashMap::with_max_entries(1, 0);

/// Whether an address is on the block list. The trie is looked into only while it holds something.
#[inline(always)]
pub(super) fn is_blocked(limits: &contract::Limits, source: &AddressKey) -> bool {
    limits.has_blocks != 0 && is_listed(source)
}

/// A function of its own: the key shall not lie on the stack of every frame that is ours.
#[inline(never)]
fn is_listed(source: &AddressKey) -> bool {
    let bits = BlockKey::bits(u128::BITS);
    let key = Key(lpm_trie::Key::new(bits, BlockKey::new(*source)));
    BLOCKS.get(&key.0).is_some()
}

/// What user space set.
#[inline(always)]
pub(super) fn limits() -> Option<&'static contract::Limits> {
    LIMITS.get(0)
}

/// Takes a SYN out of its source's budget. What cannot be counted is not let through.
#[inline(never)]
pub(super) fn spend_syn(source: &AddressKey) -> bool {
    let Some(limits) = LIMITS.get(0) else { return false };
    // SAFETY: a helper that touches no memory.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    let source = contract::source(source);
    match SOURCES.get_ptr_mut(&source) {
        // SAFETY: the element is a word; another CPU may write it at the same time, or use it for another
        // source, and then one of two SYNs counts.
        Some(budget) => unsafe { (*budget).take_ahead(limits.syn_cost, limits.syn_burst, now) },
        None => {
            let mut budget = Budget::default();
            let is_let = budget.take_ahead(limits.syn_cost, limits.syn_burst, now);
            is_let && SOURCES.insert(&source, &budget, 0).is_ok()
        }
    }
}
