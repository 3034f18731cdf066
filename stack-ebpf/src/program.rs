//! Maps, packet access and entry points: the part of the XDP program that is `unsafe`.

#[path = "program/front.rs"]
mod front;
#[path = "program/limits.rs"]
mod limits;
#[path = "program/packet.rs"]
mod packet;

use core::cell::Cell;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{Array, HashMap, XskMap};
use aya_ebpf::programs::XdpContext;
use stack_ebpf::contract::{AddressKey, Limits, MAX_ADDRESSES, MAX_LISTENERS, MAX_QUEUES};
use stack_ebpf::front::Sieve;
use stack_ebpf::hints::{Hints, Listened, Told};
use stack_ebpf::steer::{Tables, classify};
use stack_ebpf::{Action, Address, Config, ListenerKey, Verdict};

use packet::{Key, Packet, finish};

// The names are those of `stack_ebpf::contract`; a test of user space looks every one of them up.
#[map(name = "SLUICE_CONFIG")]
static CONFIG: Array<Config> = Array::with_max_entries(1, 0);
#[map(name = "SLUICE_ADDRS")]
static ADDRESSES: HashMap<AddressKey, u32> = HashMap::with_max_entries(MAX_ADDRESSES, 0);
#[map(name = "SLUICE_LISTEN")]
static LISTENERS: HashMap<ListenerKey, u32> = HashMap::with_max_entries(MAX_LISTENERS, 0);
#[map(name = "SLUICE_HINTS")]
static HINTS: Array<Hints> = Array::with_max_entries(1, 0);
#[map(name = "SLUICE_XSKS")]
static SOCKETS: XskMap = XskMap::with_max_entries(MAX_QUEUES, 0);

/// Steers: what is Sluice's goes to the socket of its queue.
#[xdp]
pub(crate) fn sluice_xdp(ctx: XdpContext) -> u32 {
    steer::<true>(&ctx)
}

/// Steers what the front line was handed over and did not take.
#[xdp]
pub(crate) fn sluice_steer(ctx: XdpContext) -> u32 {
    steer::<false>(&ctx)
}

/// Takes the decision for a frame and does what it says. The `FIRST` to see it hands it over.
#[inline(always)]
pub(crate) fn steer<const FIRST: bool>(ctx: &XdpContext) -> u32 {
    let packet = Packet { start: ctx.data(), end: ctx.data_end() };
    let maps = Maps::<FIRST> { ctx, hints: Cell::new(None), limits: Cell::new(None) };
    let verdict = classify(&packet, &maps);
    #[cfg(feature = "log")]
    aya_log_ebpf::debug!(ctx, "{}", verdict.name());
    match verdict.action() {
        Action::Pass => finish(verdict, xdp_action::XDP_PASS),
        Action::Drop => finish(verdict, xdp_action::XDP_DROP),
        Action::Transmit => finish(verdict, xdp_action::XDP_ABORTED),
        Action::Redirect => {
            let is_asked = matches!(verdict, Verdict::RedirectListener | Verdict::RedirectOwn);
            if is_asked && front::is_closed(ctx) {
                front::enter(ctx, verdict);
            }
            redirect(ctx, verdict)
        }
    }
}

/// Passes every frame: the peer end of a veth pair needs a program to receive what XDP sends.
#[xdp]
pub(crate) fn sluice_pass(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// With PASS as the fallback the kernel would reset flows of ours that it does not know.
#[inline(always)]
fn redirect(ctx: &XdpContext, verdict: Verdict) -> u32 {
    let queue = ctx.rx_queue_index();
    match SOCKETS.redirect(queue, xdp_action::XDP_DROP as u64) {
        Ok(action) => finish(verdict, action),
        Err(action) => finish(Verdict::DropNoSocket, action),
    }
}

/// The maps above, as the library asks for them.
struct Maps<'a, const FIRST: bool> {
    ctx: &'a XdpContext,
    /// Looked up once: an address is asked for before its ports.
    hints: Cell<Option<&'static Hints>>,
    /// Likewise: whether a source is blocked is asked before what it may send.
    limits: Cell<Option<&'static Limits>>,
}

impl<const FIRST: bool> Tables for Maps<'_, FIRST> {
    #[inline(always)]
    fn config(&self) -> Option<&Config> {
        CONFIG.get(0)
    }

    #[inline(always)]
    fn address(&self, addr: &AddressKey) -> Option<Address> {
        if self.hints.get().is_none() {
            self.hints.set(HINTS.get(0));
        }
        if let Told::Exactly(kind) = self.hints.get()?.address(addr) {
            return kind;
        }
        let key = Key(*addr);
        // SAFETY: the value is copied at once; user space replaces elements, never writes within.
        unsafe { ADDRESSES.get(&key.0) }.copied().and_then(Address::from_value)
    }

    #[inline(always)]
    fn is_listener(&self, local: &AddressKey, port: u16) -> bool {
        match self.hints.get().map_or(Listened::No, |hints| hints.listened(local, port)) {
            Listened::No => false,
            Listened::Yes => true,
            Listened::Ask => self.listens(local, port),
        }
    }

    #[inline(always)]
    fn listens(&self, local: &AddressKey, port: u16) -> bool {
        let exact = Key(ListenerKey::new(*local, port));
        // SAFETY: only the presence of the element is looked at.
        if unsafe { LISTENERS.get(&exact.0) }.is_some() {
            return true;
        }
        let wildcard = Key(ListenerKey::wildcard(port));
        // SAFETY: as above.
        unsafe { LISTENERS.get(&wildcard.0) }.is_some()
    }

    #[inline(always)]
    fn hand_over(&self) {
        if FIRST && front::is_closed(self.ctx) {
            front::go_on::<{ front::IPV4 }>(self.ctx);
        }
    }

    #[inline(always)]
    fn is_blocked(&self, source: &AddressKey) -> bool {
        self.limits.set(limits::limits());
        self.limits.get().is_none_or(|limits| limits::is_blocked(limits, source))
    }

    #[inline(always)]
    fn admits(&self, local: &AddressKey, port: u16, source: &AddressKey) -> bool {
        self.limits.get().is_some_and(|limits| limits.syn_cost == 0)
            || front::knows_better(self.ctx, local, port)
            || limits::spend_syn(source)
    }
}

/// What the front line knows of frames that it is handed over.
#[inline(always)]
fn sieve(hints: &Hints) -> Option<Sieve<'_>> {
    Some(Sieve { hints, limits: limits::limits()? })
}

/// Nothing comes behind the front line's sieve that [`classify`] would refuse.
const IS_CLASSIFIED: bool = true;

/// What the kernel may load this as; no helper that is called asks for the GPL.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 18] = *b"MIT OR Apache-2.0\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
