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
    let way = match port.draw(is_impaired(&ctx)) {
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

/// Whether a frame may be impaired: three lost questions for a neighbour would make a host unreachable,
/// rightly. So ARP and ICMPv6 go as they are.
#[inline(always)]
fn is_impaired(ctx: &XdpContext) -> bool {
    let at = ctx.data() + ETHERTYPE_AT;
    if at + LOOKED_AT > ctx.data_end() {
        return false;
    }
    // SAFETY: all of it lies before the packet's end, as just compared, and the verifier checks
    // again.
    let [a, b, _, _, _, _, _, _, next_header] =
        unsafe { ptr::read_unaligned(at as *const [u8; LOOKED_AT]) };
    match [a, b] {
        [0x08, 0x00] => true,
        [0x86, 0xdd] => next_header != ICMPV6,
        _ => false,
    }
}

/// What a redirection to nowhere becomes.
const DROP: u64 = xdp_action::XDP_DROP as u64;
/// BPF_F_BROADCAST: to every entry of the map.
const BROADCAST: u64 = 1 << 3;
/// Where the ethertype lies in an untagged frame.
const ETHERTYPE_AT: usize = 12;
/// The ethertype, and what of an IPv6 header lies before and in its next header.
const LOOKED_AT: usize = 9;
const ICMPV6: u8 = 58;

/// What the kernel may load this as; no helper that is called asks for the GPL.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 18] = *b"MIT OR Apache-2.0\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
