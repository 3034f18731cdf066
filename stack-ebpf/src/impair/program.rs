//! Maps and entry points: the part of the program that is `unsafe`.

use core::ptr;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{DevMap, HashMap};
use aya_ebpf::programs::XdpContext;
use stack_ebpf::impair::{Fate, MAX_PORTS, Port};

// The names are those of `stack_ebpf::impair`.
#[map(name = "IMPAIR_PORTS")]
static PORTS: HashMap<u32, Port> = HashMap::with_max_entries(MAX_PORTS, 0);
#[map(name = "IMPAIR_DEVICES")]
static DEVICES: DevMap = DevMap::with_max_entries(MAX_PORTS, 0);
#[map(name = "IMPAIR_PAIR_0")]
static PAIR_0: DevMap = DevMap::with_max_entries(2, 0);
#[map(name = "IMPAIR_PAIR_1")]
static PAIR_1: DevMap = DevMap::with_max_entries(2, 0);

/// Passes a frame on, or does to it what was drawn. One queue each way: the state of a port has one
/// writer at a time.
#[xdp]
pub(crate) fn sluice_impair(ctx: XdpContext) -> u32 {
    let Some(port) = PORTS.get_ptr_mut(ctx.ingress_ifindex() as u32) else {
        return xdp_action::XDP_DROP;
    };
    // SAFETY: the kernel gave the pointer to an element of the map, which lives as long as the
    // program runs; an interface has one queue, so no other run writes this element.
    let port = unsafe { &mut *port };
    let way = match port.draw(is_ipv4(&ctx)) {
        Fate::Lose => return xdp_action::XDP_DROP,
        Fate::Forward => DEVICES.redirect(port.out, DROP),
        Fate::Detour => DEVICES.redirect(port.detour, DROP),
        Fate::Duplicate if port.pair == 0 => PAIR_0.redirect(0, BROADCAST | DROP),
        Fate::Duplicate => PAIR_1.redirect(0, BROADCAST | DROP),
    };
    way.unwrap_or(xdp_action::XDP_DROP)
}

/// Passes every frame to the kernel: an interface that XDP sends to needs a program at its peer.
#[xdp]
pub(crate) fn sluice_take(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

#[inline(always)]
fn is_ipv4(ctx: &XdpContext) -> bool {
    let at = ctx.data() + ETHERTYPE_AT;
    if at + 2 > ctx.data_end() {
        return false;
    }
    // SAFETY: both bytes lie before the packet's end, as just compared, and the verifier checks
    // again.
    unsafe { ptr::read_unaligned(at as *const [u8; 2]) == [0x08, 0x00] }
}

/// What a redirection to nowhere becomes.
const DROP: u64 = xdp_action::XDP_DROP as u64;
/// BPF_F_BROADCAST: to every entry of the map.
const BROADCAST: u64 = 1 << 3;
/// Where the ethertype lies in an untagged frame.
const ETHERTYPE_AT: usize = 12;

/// What the kernel may load this as; no helper that is called asks for the GPL.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 18] = *b"MIT OR Apache-2.0\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
