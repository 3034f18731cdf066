//! What every program that takes verdicts needs: access to the packet, keys for maps, the counters.

use core::mem::{align_of, size_of};
use core::ptr;

use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use stack_ebpf::Verdict;
use stack_ebpf::frame::Frame;
use zerocopy::FromBytes;

// The name is that of `stack_ebpf::contract`.
#[map(name = "SLUICE_COUNTS")]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Verdict::ALL.len() as u32, 0);

/// Counts the verdict; gives back the action.
#[inline(always)]
pub(super) fn finish(verdict: Verdict, action: u32) -> u32 {
    if let Some(count) = COUNTERS.get_ptr_mut(verdict as u32) {
        // SAFETY: the kernel gave the pointer to this CPU's element, which no other CPU writes, and
        // XDP programs on one CPU do not interrupt each other.
        unsafe { *count += 1 };
    }
    action
}

/// The frame between the context's two pointers.
pub(super) struct Packet {
    pub start: usize,
    pub end: usize,
}

impl Frame for Packet {
    #[inline(always)]
    fn read<T: FromBytes>(&self, offset: usize) -> Option<T> {
        const { assert!(align_of::<T>() <= 2) };
        let at = self.start + offset;
        if at + size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: `at` and the T behind it lie between the packet's two ends, as just compared, and the
        // verifier checks again; T is of halfwords at most and `at` is even, as `stack_ebpf::frame` says;
        // `T: FromBytes` is valid for any bytes.
        Some(unsafe { ptr::read(at as *const T) })
    }

    #[inline(always)]
    fn length(&self) -> usize {
        self.end - self.start
    }
}

/// A key on the stack, written by words: its own alignment is one.
#[repr(align(8))]
pub(super) struct Key<K>(pub K);
