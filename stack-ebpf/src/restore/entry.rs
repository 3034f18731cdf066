//! Entry points that restore the frame: the whole program, and a verdict without a look.

use core::mem::size_of;
use core::ptr;
use core::sync::atomic::{Ordering, compiler_fence};

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::generated::bpf_xdp_adjust_meta;
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::XdpContext;
use stack_ebpf::contract::Restored;

use crate::program::steer;

// The name is that of `stack_ebpf::contract`.
#[map(name = "BENCH_FRAME")]
static FRAME: Array<Restored> = Array::with_max_entries(1, 0);

/// Restores the frame, then steers.
#[xdp]
pub(crate) fn bench_steer(ctx: XdpContext) -> u32 {
    match restore(&ctx) {
        true => steer::<true>(&ctx),
        false => xdp_action::XDP_ABORTED,
    }
}

/// Restores the frame, then passes it.
#[xdp]
pub(crate) fn bench_pass(ctx: XdpContext) -> u32 {
    match restore(&ctx) {
        true => xdp_action::XDP_PASS,
        false => xdp_action::XDP_ABORTED,
    }
}

#[inline(always)]
fn restore(ctx: &XdpContext) -> bool {
    let ahead = ctx.data() - ctx.metadata();
    if ahead != 0 {
        // The record that the last round has put there.
        // SAFETY: the context is the program's own, and no pointer into the packet lives.
        unsafe { bpf_xdp_adjust_meta(ctx.ctx, ahead as i32) };
    }
    let (start, Some(frame)) = (ctx.data(), FRAME.get(0)) else { return false };
    if start + size_of::<Restored>() > ctx.data_end() {
        return false;
    }
    for (at, word) in frame.iter().enumerate() {
        // SAFETY: so many bytes lie between the packet's two ends, as just compared, and the verifier
        // checks again; a test run lays the frame at a multiple of eight; user space writes the map before
        // the program runs. By words: else the compiler makes a loop of bytes, which took longer than
        // what is measured.
        unsafe { ptr::write((start as *mut u64).add(at), *word) };
    }
    // What follows reads the packet, not what the compiler knows was written to it.
    compiler_fence(Ordering::SeqCst);
    true
}
