//! Maps, packet access and helpers of the front line: the part of it that is `unsafe`.

use core::arch::asm;
use core::mem::{self, size_of};

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::generated::{
    bpf_ktime_get_coarse_ns, bpf_xdp_adjust_meta, bpf_xdp_adjust_tail, bpf_xdp_load_bytes,
};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{Array, PerCpuArray, ProgramArray};
use aya_ebpf::programs::XdpContext;
use stack_ebpf::contract::{AddressKey, MAX_QUEUES, PRESENT};
use stack_ebpf::flows::Bucket;
use stack_ebpf::frame::Frame;
use stack_ebpf::front::{
    Budget, Chunk, Defence, Door, Front, Gate, Record, Scratch, Wire, defend_ipv4, defend_ipv6,
    is_ipv6,
};
use stack_ebpf::hints::Hints;
use stack_ebpf::{Action, Config, ListenerKey, Verdict};
use zerocopy::{FromBytes, transmute};

use super::{CONFIG, HINTS, Key, LISTENERS, Packet, finish, redirect};

// The names are those of `stack_ebpf::contract`. User space makes the arrays as large as it needs.
#[map(name = "SLUICE_FRONT")]
pub(super) static FRONT: Array<Front> = Array::with_max_entries(1, MMAPABLE);
#[map(name = "SLUICE_GATES")]
static GATES: Array<Gate> = Array::with_max_entries(MAX_QUEUES, MMAPABLE);
#[map(name = "SLUICE_DOORS")]
pub(super) static DOORS: Array<Door> = Array::with_max_entries(1, MMAPABLE);
#[map(name = "SLUICE_FLOWS")]
static FLOWS: Array<Bucket> = Array::with_max_entries(1, MMAPABLE);
#[map(name = "SLUICE_SUMMARY")]
static SUMMARY: Array<u64> = Array::with_max_entries(1, MMAPABLE);
/// Budgets of this CPU: of strays, of RSTs.
#[map(name = "SLUICE_BUDGETS")]
static BUDGETS: PerCpuArray<Budget> = PerCpuArray::with_max_entries(2, 0);
/// Flows that have answered a cookie, each at the place that its hash names. All CPUs share them: a queue is
/// not always served by the same one, least of all in a flood.
#[map(name = "SLUICE_PROVEN")]
static PROVEN: Array<u64> = Array::with_max_entries(PROVEN_FLOWS, 0);

/// What the decision needs beside the stack.
#[map(name = "SLUICE_SCRATCH")]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// [`sluice_front4`] and [`sluice_front6`], whose stacks would not find room beside that of the program
/// that steers, and the latter.
#[map(name = "SLUICE_PROGS")]
static PROGRAMS: ProgramArray = ProgramArray::with_max_entries(3, 0);

/// Whether this queue's shard has closed a gate.
#[inline(always)]
pub(super) fn is_closed(ctx: &XdpContext) -> bool {
    GATES.get(ctx.rx_queue_index()).is_some_and(|gate| gate.closed != 0)
}

/// Whether a SYN for a port is nothing to count: its gate is closed, so that it is answered by a cookie,
/// or nobody listens there.
#[inline(always)]
pub(super) fn knows_better(ctx: &XdpContext, local: &AddressKey, port: u16) -> bool {
    let (Some(front), Some(hints)) = (FRONT.get(0), HINTS.get(0)) else { return false };
    let maps = Maps { queue: ctx.rx_queue_index(), front, hints };
    let Some(place) = maps.listener(&transmute!(*local), port) else { return true };
    let door =
        || DOORS.get(maps.queue * front.doors + place).is_some_and(|door| door.is_closed != 0);
    is_closed(ctx) && place < front.doors && door()
}

/// Hands a frame that goes to a socket to a program below, each of which has a stack of its own. Comes
/// back only where there is nothing to be done, or where user space has not put the program there.
#[inline(always)]
pub(super) fn enter(ctx: &XdpContext, verdict: Verdict) {
    let (Some(config), Some(scratch)) = (CONFIG.get(0), SCRATCH.get_ptr_mut(0)) else { return };
    let packet = Packet { start: ctx.data(), end: ctx.data_end() };
    let Some(is_ipv6) = is_ipv6(&packet, config.vlan) else { return };
    // SAFETY: this CPU's element, which no other CPU has, and XDP programs on one CPU do not interrupt
    // each other.
    unsafe { (*scratch).steered = verdict as u32 };
    match is_ipv6 {
        true => go_on::<IPV6>(ctx),
        false => go_on::<IPV4>(ctx),
    }
    // SAFETY: as above.
    unsafe { (*scratch).steered = 0 };
}

/// Calls the program at a place of [`PROGRAMS`]. The number stands right ahead of the call, where neither
/// the compiler nor the verifier loses sight of it: so the kernel jumps there at once. Else it would look
/// the program up and jump to what it has found, which costs more than the look where such jumps are kept
/// from being guessed.
#[inline(always)]
pub(super) fn go_on<const PLACE: u32>(ctx: &XdpContext) {
    // SAFETY: the programs there take the same context; the call changes no other registers.
    unsafe {
        asm!(
            "r3 = {place}",
            "call {tail_call}",
            place = const PLACE,
            tail_call = const BPF_FUNC_TAIL_CALL,
            inout("r1") ctx.ctx => _,
            inout("r2") &raw const PROGRAMS => _,
            out("r0") _, out("r3") _, out("r4") _, out("r5") _,
        );
    }
}

/// Decides for an IPv4 frame, anew where it was classified, and does what is decided.
#[xdp]
pub(crate) fn sluice_front4(ctx: XdpContext) -> u32 {
    front(&ctx, |live, maps, (config, steered), scratch| {
        let is_first = maps.unknown(steered.into()) == 0;
        let sieve = if is_first { super::sieve(maps.hints) } else { None };
        let decided = defend_ipv4(live, maps, (config.vlan, sieve), scratch);
        if decided.is_none() && steered == 0 {
            go_on::<STEER>(&ctx);
        }
        decided
    })
}

/// The same for IPv6.
#[xdp]
pub(crate) fn sluice_front6(ctx: XdpContext) -> u32 {
    front(&ctx, |live, maps, (config, _), scratch| defend_ipv6(live, maps, config.vlan, scratch))
}

#[inline(always)]
fn front<'a>(
    ctx: &'a XdpContext,
    defend: impl Fn(&mut Live<'a>, &Maps, (&Config, u32), &mut Scratch) -> Option<Verdict>,
) -> u32 {
    let (Some(config), Some(set), Some(hints)) = (CONFIG.get(0), FRONT.get(0), HINTS.get(0)) else {
        return xdp_action::XDP_ABORTED;
    };
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return xdp_action::XDP_ABORTED };
    // SAFETY: as in `enter`; there is no other reference to it.
    let scratch = unsafe { &mut *scratch };
    let steered = mem::take(&mut scratch.steered);
    let defence = Maps { queue: ctx.rx_queue_index(), front: set, hints };
    let mut live = Live { packet: Packet { start: ctx.data(), end: ctx.data_end() }, ctx };
    let decided = defend(&mut live, &defence, (config, steered), scratch);
    let as_steered = || if steered != 0 { Verdict::from_number(steered) } else { None };
    let Some(verdict) = decided.or_else(as_steered) else {
        return xdp_action::XDP_ABORTED;
    };
    match verdict.action() {
        Action::Pass => finish(verdict, xdp_action::XDP_PASS),
        Action::Drop => finish(verdict, xdp_action::XDP_DROP),
        Action::Transmit => finish(verdict, xdp_action::XDP_TX),
        Action::Redirect => {
            let is_bare = decided.is_some() && !put_ahead(ctx, &scratch.record);
            redirect(ctx, if is_bare { Verdict::RedirectBare } else { verdict })
        }
    }
}

/// Writes the record ahead of the frame; `false` where there is no room, and the frame goes without.
#[inline(always)]
fn put_ahead(ctx: &XdpContext, record: &Record) -> bool {
    // SAFETY: the context is the program's own; no pointer into the packet is used after this.
    if unsafe { bpf_xdp_adjust_meta(ctx.ctx, -(size_of::<Record>() as i32)) } != 0 {
        return false;
    }
    let at = ctx.metadata();
    if at + size_of::<Record>() > ctx.metadata_end() {
        return false;
    }
    let [a, b, c, d]: [u64; size_of::<Record>() / 8] = transmute!(*record);
    // SAFETY: so many bytes lie between the metadata's two ends, as just compared, and the verifier checks
    // again. By words, though they begin at an even address only: the compiler would write octets.
    unsafe {
        asm!(
            "*(u64 *)({0} + 0) = {1}",
            "*(u64 *)({0} + 8) = {2}",
            "*(u64 *)({0} + 16) = {3}",
            "*(u64 *)({0} + 24) = {4}",
            in(reg) at, in(reg) a, in(reg) b, in(reg) c, in(reg) d,
        );
    }
    true
}

/// A frame that may be written and made longer or shorter.
struct Live<'a> {
    packet: Packet,
    ctx: &'a XdpContext,
}

impl Frame for Live<'_> {
    #[inline(always)]
    fn read<T: FromBytes>(&self, offset: usize) -> Option<T> {
        self.packet.read(offset)
    }

    #[inline(always)]
    fn words<const N: usize>(&self, offset: usize) -> Option<[u32; N]> {
        self.packet.words(offset)
    }

    #[inline(always)]
    fn length(&self) -> usize {
        self.packet.length()
    }
}

impl Wire for Live<'_> {
    #[inline(always)]
    fn load(&self, offset: usize, length: usize, into: &mut Chunk) -> bool {
        let Some(length) = bounded(length, size_of::<Chunk>()) else { return false };
        let into = into.0.as_mut_ptr();
        for n in 0..size_of::<Chunk>() / 8 {
            // SAFETY: so many words lie in the chunk, which is aligned for them. Volatile, since else the
            // compiler calls a function that clears octet by octet.
            unsafe { into.add(n).write_volatile(0) };
        }
        // SAFETY: the kernel writes at most so many bytes, which the chunk has.
        unsafe { bpf_xdp_load_bytes(self.ctx.ctx, offset as u32, into.cast(), length) == 0 }
    }

    #[inline(always)]
    fn resize(&mut self, length: usize) -> bool {
        let by = length as i32 - self.length() as i32;
        if by == 0 {
            return true;
        }
        // SAFETY: the context is the program's own; no pointer into the packet is used after this but those
        // that are taken anew.
        let is_done = unsafe { bpf_xdp_adjust_tail(self.ctx.ctx, by) } == 0;
        self.packet = Packet { start: self.ctx.data(), end: self.ctx.data_end() };
        is_done
    }

    #[inline(always)]
    fn write<const N: usize>(&mut self, offset: usize, words: [u32; N]) -> bool {
        self.packet.write(offset, words)
    }
}

/// A length of one at least and `most` at most, which the verifier knows of it afterwards.
#[inline(always)]
pub(super) fn bounded(length: usize, most: usize) -> Option<u32> {
    let mut length = length as u64;
    // SAFETY: it does nothing; the compiler may not leave out the comparison that follows.
    unsafe { asm!("{0} = {0}", inout(reg) length) };
    if length == 0 || length > most as u64 { None } else { Some(length as u32) }
}

/// The maps, as the library asks for them.
struct Maps {
    queue: u32,
    front: &'static Front,
    hints: &'static Hints,
}

impl Defence for Maps {
    #[inline(always)]
    fn front(&self) -> &Front {
        self.front
    }

    #[inline(always)]
    fn queue(&self) -> u32 {
        self.queue
    }

    #[inline(always)]
    fn gate(&self, shard: u32) -> Option<&Gate> {
        GATES.get(shard)
    }

    #[inline(always)]
    fn listener(&self, local: &[u64; 2], port: u16) -> Option<u32> {
        if let Some(place) = self.hints.door(port) {
            return Some(place);
        }
        let local: AddressKey = transmute!([local[0].to_le(), local[1].to_le()]);
        let place = |key: ListenerKey| {
            let key = Key(key);
            // SAFETY: the value is copied at once; user space replaces elements, never writes within.
            unsafe { LISTENERS.get(&key.0) }.copied()
        };
        let found = place(ListenerKey::new(local, port));
        let found = found.or_else(|| place(ListenerKey::wildcard(port)))?;
        found.checked_sub(PRESENT)
    }

    #[inline(always)]
    fn door(&self, index: u32) -> Option<&Door> {
        DOORS.get(index)
    }

    #[inline(always)]
    fn bucket(&self, index: u32) -> Option<&Bucket> {
        FLOWS.get(index)
    }

    #[inline(always)]
    fn summary(&self, index: u32) -> Option<&u64> {
        SUMMARY.get(index)
    }

    #[inline(always)]
    fn is_classified(&self) -> bool {
        super::IS_CLASSIFIED
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: a helper that touches no memory.
        unsafe { bpf_ktime_get_coarse_ns() }
    }

    #[inline(always)]
    fn spend_stray(&self, cost: u64, now: u64) -> bool {
        spend(0, cost, now)
    }

    #[inline(always)]
    fn spend_reset(&self, cost: u64, now: u64) -> bool {
        spend(1, cost, now)
    }

    #[inline(always)]
    fn prove(&self, fingerprint: u64) {
        if let Some(place) = PROVEN.get_ptr_mut(proven_at(fingerprint)) {
            // SAFETY: the kernel gave the pointer; another CPU may write the word at the same time, and then
            // one of the two flows counts. Volatile: one store of the whole word.
            unsafe { place.write_volatile(fingerprint) };
        }
    }

    #[inline(always)]
    fn is_proven(&self, fingerprint: u64) -> bool {
        let place = PROVEN.get_ptr(proven_at(fingerprint));
        // SAFETY: as above; one load of the whole word.
        place.is_some_and(|place| unsafe { place.read_volatile() } == fingerprint)
    }

    #[inline(always)]
    fn unknown(&self, value: u64) -> u64 {
        hide(value, self.front.zero)
    }
}

/// The value, of which the verifier knows nothing afterwards; `zero` is [`Front::zero`].
#[inline(always)]
pub(super) fn hide(mut value: u64, zero: u64) -> u64 {
    // SAFETY: adds zero, as nobody but user space knows.
    unsafe { asm!("{0} += {1}", inout(reg) value, in(reg) zero) };
    value
}

#[inline(always)]
fn spend(which: u32, cost: u64, now: u64) -> bool {
    let Some(budget) = BUDGETS.get_ptr_mut(which) else { return false };
    // SAFETY: this CPU's element, which no other CPU writes, and XDP programs on one CPU do not interrupt
    // each other.
    unsafe { (*budget).take(cost, now) }
}

#[inline(always)]
const fn proven_at(fingerprint: u64) -> u32 {
    (fingerprint >> 32) as u32 & (PROVEN_FLOWS - 1)
}

const PROVEN_FLOWS: u32 = 1 << 14;
/// Places of [`PROGRAMS`].
pub(super) const IPV4: u32 = 0;
const IPV6: u32 = 1;
const STEER: u32 = 2;
/// The number of bpf_tail_call.
const BPF_FUNC_TAIL_CALL: u32 = 12;
/// BPF_F_MMAPABLE.
const MMAPABLE: u32 = 1 << 10;
