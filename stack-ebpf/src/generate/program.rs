//! Maps and entry points: the part of the program that is `unsafe`.

use core::arch::asm;
use core::mem::size_of;
use core::ptr;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_xdp_store_bytes};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{Array, PerCpuArray};
use aya_ebpf::programs::XdpContext;
use stack_ebpf::frame::Frame;
use stack_ebpf::generate::{ANSWERS_LEN, MAX_TEMPLATES, Order, ROOM, Room, Sink, State, Template};
use zerocopy::FromBytes;

// The names are those of `stack_ebpf::generate`.
#[map(name = "GENERATE_ORDER")]
static ORDER: Array<Order> = Array::with_max_entries(1, 0);
#[map(name = "GENERATE_FRAMES")]
static TEMPLATES: Array<Template> = Array::with_max_entries(MAX_TEMPLATES, 0);
#[map(name = "GENERATE_STATE")]
static STATE: Array<State> = Array::with_max_entries(1, 0);
#[map(name = "GENERATE_SINK")]
static SINK: Array<Sink> = Array::with_max_entries(1, 0);
#[map(name = "GENERATE_ANSWERS")]
static ANSWERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(ANSWERS_LEN, 0);

/// Writes the frame and sends it out of the interface it is said to have come from; while nothing is
/// due it is dropped, hence recycled.
#[xdp]
pub(crate) fn sluice_generate(ctx: XdpContext) -> u32 {
    match generate(&ctx) {
        Some(()) => xdp_action::XDP_TX,
        None => xdp_action::XDP_DROP,
    }
}

#[inline(always)]
fn generate(ctx: &XdpContext) -> Option<()> {
    let order = ORDER.get(0)?;
    // SAFETY: the kernel gave the pointer to an element of the map, which lives as long as the program
    // runs; one thread runs it, and user space reads only.
    let state = unsafe { &mut *STATE.get_ptr_mut(0)? };
    // SAFETY: the helper has no preconditions.
    let draw = state.turn(order, || unsafe { bpf_ktime_get_ns() })?;
    let template = TEMPLATES.get(draw.template)?;
    let mut length = order.length as u64;
    // SAFETY: changes nothing. The compiler would else prove the range below in a way that the verifier
    // does not follow.
    unsafe { asm!("{0} = {0}", inout(reg) length) };
    if length == 0 || length > ROOM as u64 {
        return None;
    }
    // SAFETY: so many bytes lie in the template; the verifier and the helper check both ends.
    let stored = unsafe {
        bpf_xdp_store_bytes(ctx.ctx, 0, template.bytes.as_ptr() as *mut _, length as u32)
    };
    if stored != 0 {
        return None;
    }
    // The helper may have moved the packet.
    template.finish(&draw, &mut Packet { start: ctx.data(), end: ctx.data_end() })
}

/// Counts and drops what answers a spoofed source, and passes the rest.
#[xdp]
pub(crate) fn sluice_sink(ctx: XdpContext) -> u32 {
    let packet = Packet { start: ctx.data(), end: ctx.data_end() };
    let Some(answer) = SINK.get(0).and_then(|sink| sink.answer(&packet)) else {
        return xdp_action::XDP_PASS;
    };
    if let Some(count) = ANSWERS.get_ptr_mut(answer as u32) {
        // SAFETY: the kernel gave the pointer to this CPU's element, which no other CPU writes, and
        // XDP programs on one CPU do not interrupt each other.
        unsafe { *count += 1 };
    }
    xdp_action::XDP_DROP
}

/// The frame between the context's two pointers.
struct Packet {
    start: usize,
    end: usize,
}

impl Packet {
    #[inline(always)]
    fn at(&self, offset: usize, length: usize) -> Option<usize> {
        let at = self.start + offset;
        if at + length > self.end { None } else { Some(at) }
    }
}

impl Frame for Packet {
    #[inline(always)]
    fn read<T: FromBytes>(&self, offset: usize) -> Option<T> {
        let at = self.at(offset, size_of::<T>())?;
        // SAFETY: the T lies between the packet's two ends, as `at` compared, and the verifier checks
        // again; `T: FromBytes` is valid for any bytes.
        Some(unsafe { ptr::read_unaligned(at as *const T) })
    }

    #[inline(always)]
    fn length(&self) -> usize {
        self.end - self.start
    }
}

impl Room for Packet {
    #[inline(always)]
    fn put<const N: usize>(&mut self, at: usize, bytes: [u8; N]) -> Option<()> {
        let at = self.at(at, N)?;
        // SAFETY: as above; nobody else writes the packet meanwhile.
        unsafe { ptr::write_unaligned(at as *mut [u8; N], bytes) };
        Some(())
    }
}

/// What the kernel may load this as; no helper that is called asks for the GPL.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 18] = *b"MIT OR Apache-2.0\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
