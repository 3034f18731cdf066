//! Maps, entry points and calls into the kernel: the part of the guard that is `unsafe`.
//!
//! [`sluice_guard`] looks whether a segment belongs to a socket that the kernel has; only what comes to
//! a listener goes on to the front line. That answers SYNs, drops what is nobody's, and passes an
//! acknowledgment of a cookie with a record ahead of it, by which [`sluice_grant`] knows it.

#[allow(dead_code, reason = "the doors of a guard are always closed")]
#[path = "../program/front.rs"]
mod front;
#[path = "../program/packet.rs"]
mod packet;

use core::ffi::c_void;
use core::mem::{self, size_of};

use aya_ebpf::bindings::{__sk_buff, bpf_sock, xdp_action};
use aya_ebpf::helpers::generated::{
    bpf_redirect, bpf_sk_release, bpf_skb_load_bytes, bpf_skc_lookup_tcp, bpf_skc_to_tcp_sock,
};
use aya_ebpf::macros::{classifier, map, xdp};
use aya_ebpf::maps::{Array, HashMap, PerCpuArray};
use aya_ebpf::programs::{TcContext, XdpContext};
use stack_ebpf::contract::{ASSIGN_NUMBER, MAX_LISTENERS};
use stack_ebpf::frame::Frame;
use stack_ebpf::front::{Caller, Chunk, Record, Said, Sieve, Terms, Wire, caller, grant};
use stack_ebpf::hints::Hints;
use stack_ebpf::{Config, ListenerKey, Verdict};
use zerocopy::{FromBytes, transmute};

use packet::{Key, Packet, finish};

// The names are those of `stack_ebpf::contract`.
#[map(name = "SLUICE_CONFIG")]
static CONFIG: Array<Config> = Array::with_max_entries(1, 0);
#[map(name = "SLUICE_LISTEN")]
static LISTENERS: HashMap<ListenerKey, u32> = HashMap::with_max_entries(MAX_LISTENERS, 0);
/// Nothing is told: every listener is asked for.
#[map(name = "SLUICE_HINTS")]
static HINTS: Array<Hints> = Array::with_max_entries(1, 0);
/// Connections that the kernel took, and those that it did not.
#[map(name = "SLUICE_GRANTS")]
static GRANTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(2, 0);
/// Flows that were handed over on this CPU, each at the place that its hash names.
#[map(name = "SLUICE_HANDED")]
static HANDED: PerCpuArray<u64> = PerCpuArray::with_max_entries(HANDED_FLOWS, 0);

/// Leads segments for guarded listeners to the front line; all else is the kernel's.
#[xdp]
pub(crate) fn sluice_guard(ctx: XdpContext) -> u32 {
    if is_guarded(&ctx) == Some(true) {
        front::enter(&ctx, Verdict::RedirectListener);
    }
    xdp_action::XDP_PASS
}

/// Whether nobody but a guarded listener would take the frame.
#[inline(always)]
fn is_guarded(ctx: &XdpContext) -> Option<bool> {
    let packet = Packet { start: ctx.data(), end: ctx.data_end() };
    let caller = caller(&packet, CONFIG.get(0)?.mac)?;
    let key = Key(ListenerKey::new(caller.local(), caller.port()));
    // SAFETY: only the presence of the element is looked at.
    unsafe { LISTENERS.get(&key.0) }?;
    let socket = look_up(ctx.ctx.cast(), &caller)?;
    // SAFETY: as `look_up` says; the state is one that the kernel lets programs read.
    let is_listener = unsafe { (*socket).state } == LISTEN;
    // SAFETY: it is not used after this.
    unsafe { bpf_sk_release(socket.cast()) };
    Some(is_listener)
}

/// What a Sluice gives to a socket of its own is the kernel's here.
#[inline(always)]
fn redirect(_ctx: &XdpContext, verdict: Verdict) -> u32 {
    finish(verdict, xdp_action::XDP_PASS)
}

/// The socket that would take the caller's segment; to be released.
#[inline(always)]
fn look_up(ctx: *mut c_void, caller: &Caller) -> Option<*mut bpf_sock> {
    let mut tuple = caller.tuple();
    let tuple = tuple.as_mut_ptr().cast();
    // SAFETY: the context is the program's own; so many octets of the tuple are there.
    let socket = unsafe {
        match caller.is_ipv6 {
            true => bpf_skc_lookup_tcp(ctx, tuple, Caller::IPV6, THIS_NAMESPACE, 0),
            false => bpf_skc_lookup_tcp(ctx, tuple, Caller::IPV4, THIS_NAMESPACE, 0),
        }
    };
    if socket.is_null() { None } else { Some(socket) }
}

/// Hands a connection whose cookie was found valid to its listener.
#[classifier]
pub(crate) fn sluice_grant(ctx: TcContext) -> i32 {
    let skb = Skb { ctx: ctx.skb.skb, packet: Packet { start: ctx.data(), end: ctx.data_end() } };
    let outcome = match skb.hand_over() {
        None => return NEXT,
        // SAFETY: the context is the program's own.
        Some(Outcome::Later) => return unsafe { bpf_redirect((*skb.ctx).ifindex, INGRESS) } as i32,
        Some(outcome) => outcome,
    };
    if let Some(count) = GRANTS.get_ptr_mut(outcome as u32) {
        // SAFETY: this CPU's element, which no other CPU writes, and what receives on one CPU does not
        // interrupt itself.
        unsafe { *count += 1 };
    }
    NEXT
}

/// What became of a connection, at its place in [`GRANTS`].
#[derive(Clone, Copy)]
enum Outcome {
    /// The kernel took it.
    Taken = 0,
    /// The kernel did not take it.
    Declined = 1,
    /// It was handed over a moment ago, perhaps with a frame of this very batch, which the kernel has
    /// not looked at yet: the frame has to queue once more, for a second connection of the same name
    /// would cost its text.
    Later,
}

/// A frame that the kernel has made a buffer of.
struct Skb {
    ctx: *mut __sk_buff,
    packet: Packet,
}

impl Skb {
    /// What XDP put ahead of it, if it did.
    #[inline(always)]
    fn record(&self) -> Option<Record> {
        // SAFETY: the context is the program's own.
        let start = unsafe { (*self.ctx).data_meta } as usize;
        let ahead = Packet { start, end: self.packet.start };
        let halves: [u16; size_of::<Record>() / 2] = ahead.read(0)?;
        Some(transmute!(halves))
    }

    /// Hands over the connection; `None` where there is none to be handed over.
    #[inline(always)]
    fn hand_over(&self) -> Option<Outcome> {
        let record = self.record()?;
        let (front, door) = (front::FRONT.get(0)?, front::DOORS.get(0)?);
        let mut header = Chunk::ZERO;
        let said = Said { front, door, record: &record };
        let grant = grant(self, said, &mut header, |value| front::hide(value, front.zero))?;
        let socket = look_up(self.ctx.cast(), &grant.caller)?;
        // SAFETY: as `look_up` says.
        let outcome = match unsafe { (*socket).state } == LISTEN {
            true if is_second(record.fingerprint) => Some(Outcome::Later),
            true => Some(assign(self.ctx, socket, &grant.terms)),
            // The segment came again, and the connection is there.
            false => None,
        };
        // SAFETY: it is not used after this.
        unsafe { bpf_sk_release(socket.cast()) };
        outcome
    }
}

/// Whether the flow is marked as handed over, which changes with each question.
#[inline(always)]
fn is_second(fingerprint: u64) -> bool {
    let Some(mark) = HANDED.get_ptr_mut((fingerprint >> 32) as u32 & (HANDED_FLOWS - 1)) else {
        return false;
    };
    // SAFETY: as of the counters.
    unsafe {
        let is_marked = *mark == fingerprint;
        *mark = if is_marked { 0 } else { fingerprint };
        is_marked
    }
}

#[inline(always)]
fn assign(ctx: *mut __sk_buff, listener: *mut bpf_sock, terms: &Terms) -> Outcome {
    type Assign = unsafe extern "C" fn(*mut __sk_buff, *mut c_void, *const Terms, u32) -> i32;
    // SAFETY: the listener is held.
    let listener = unsafe { bpf_skc_to_tcp_sock(listener.cast()) };
    if listener.is_null() {
        return Outcome::Declined;
    }
    // SAFETY: a helper is called by its number, and so is this; user space makes it a call of the
    // kernel's function of this signature (contract::ASSIGN), without which no kernel loads the program.
    let assign: Assign = unsafe { mem::transmute(ASSIGN_NUMBER as usize) };
    // SAFETY: the verifier checks all of them.
    match unsafe { assign(ctx, listener.cast(), terms, size_of::<Terms>() as u32) } {
        0 => Outcome::Taken,
        _ => Outcome::Declined,
    }
}

impl Frame for Skb {
    #[inline(always)]
    fn read<T: FromBytes>(&self, offset: usize) -> Option<T> {
        self.packet.read(offset)
    }

    #[inline(always)]
    fn length(&self) -> usize {
        // SAFETY: the context is the program's own.
        unsafe { (*self.ctx).len as usize }
    }
}

impl Wire for Skb {
    #[inline(always)]
    fn load(&self, offset: usize, length: usize, into: &mut Chunk) -> bool {
        let Some(length) = front::bounded(length, size_of::<Chunk>()) else { return false };
        let into = into.0.as_mut_ptr().cast();
        // SAFETY: the kernel writes at most so many bytes, which the chunk has.
        unsafe { bpf_skb_load_bytes(self.ctx.cast(), offset as u32, into, length) == 0 }
    }

    #[inline(always)]
    fn resize(&mut self, _length: usize) -> bool {
        false
    }

    #[inline(always)]
    fn write<const N: usize>(&mut self, _offset: usize, _words: [u32; N]) -> bool {
        false
    }
}

/// Everything was sieved: by a look for its socket.
#[inline(always)]
fn sieve(_hints: &Hints) -> Option<Sieve<'_>> {
    None
}

/// The front line is the first to look at a segment.
const IS_CLASSIFIED: bool = false;
/// TCP_LISTEN.
const LISTEN: u32 = 10;
/// BPF_F_CURRENT_NETNS.
const THIS_NAMESPACE: u64 = u64::MAX;
/// TCX_NEXT: what follows decides.
const NEXT: i32 = -1;
/// BPF_F_INGRESS: as if it had just been received.
const INGRESS: u64 = 1;
const HANDED_FLOWS: u32 = 1024;

/// What the kernel may load this as: it lends the function that [`assign`] calls to programs under the
/// GPL alone, which MIT allows to be added.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
