//! What every program that takes verdicts needs: access to the packet, keys for maps, the counters.

use core::arch::asm;
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
    fn words<const N: usize>(&self, offset: usize) -> Option<[u32; N]> {
        let at = self.start + offset;
        if at + 4 * N > self.end {
            return None;
        }
        let mut words = [0; N];
        let mut n = 0;
        while n < N {
            words[n] = word(at, n);
            n += 1;
        }
        Some(words)
    }

    #[inline(always)]
    fn length(&self) -> usize {
        self.end - self.start
    }
}

impl Packet {
    /// Writes words, as they lie in memory; `false` where the frame ends before.
    #[inline(always)]
    pub(super) fn write<const N: usize>(&mut self, offset: usize, words: [u32; N]) -> bool {
        let at = self.start + offset;
        if at + 4 * N > self.end {
            return false;
        }
        let mut n = 0;
        while n < N {
            put_word(at, n, words[n]);
            n += 1;
        }
        true
    }
}

/// A word at so many words behind an address, which the caller has compared with the packet's end. The
/// compiler would put it together from halfwords, since the address is no more than even; the machines
/// that this runs on read it at once.
#[inline(always)]
fn word(at: usize, words: usize) -> u32 {
    macro_rules! read {
        ($($words:literal)*) => {
            match words {
                // SAFETY: reads alone, and the verifier checks that it lies within the packet.
                $($words => unsafe {
                    let word: u64;
                    asm!(
                        "{0} = *(u32 *)({1} + {2})",
                        lateout(reg) word,
                        in(reg) at,
                        const 4 * $words,
                        options(pure, readonly, nostack, preserves_flags),
                    );
                    word as u32
                },)*
                _ => 0,
            }
        };
    }
    read!(0 1 2 3 4 5 6 7 8 9)
}

/// Writes such a word.
#[inline(always)]
fn put_word(at: usize, words: usize, word: u32) {
    macro_rules! write {
        ($($words:literal)*) => {
            match words {
                // SAFETY: the caller has compared the address with the packet's end, and the verifier checks
                // again; packets are no variables of the program's.
                $($words => unsafe {
                    asm!(
                        "*(u32 *)({0} + {1}) = {2}",
                        in(reg) at,
                        const 4 * $words,
                        in(reg) word as u64,
                        options(nostack, preserves_flags),
                    );
                },)*
                _ => {}
            }
        };
    }
    write!(0 1 2 3 4 5)
}

/// A key on the stack, written by words: its own alignment is one.
#[repr(align(8))]
pub(super) struct Key<K>(pub K);
