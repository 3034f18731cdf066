//! The front line in the kernel: what the library says of the same frames, with the same maps and, but
//! for the clock, the same time.

use std::sync::atomic::Ordering;

use aya::{TestRun, TestRunOptions};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketType, socket};
use sluice::control::front::FrontSize;
use sluice::control::program::{Program, object_path};
use sluice::tables::words::Words;
use sluice::wire::Addr;
use stack_ebpf::contract::{Address, mapped};
use stack_ebpf::cookie::{Keys, MSS, Period, decode};
use stack_ebpf::flows::{Kind, SUMMARY_WORDS};
use stack_ebpf::front::Record;
use stack_ebpf::verdict::{Action, Verdict};
use zerocopy::{IntoBytes, transmute};

use crate::ground::{
    ACK, ECHO, FIN, Ground, HTTP, OWN, PSH, RST, SECOND, SECRET, SHARED, SHARED6, SYN, Says,
    linux_options,
};
use crate::{Random, XDP_DROP, XDP_REDIRECT, XDP_TX};

/// A ground on the host and the same in the kernel.
pub(crate) struct Both {
    pub(crate) ground: Ground,
    pub(crate) program: Program,
    /// Held because its entry in the map goes with it.
    _socket: OwnedFd,
}

impl Both {
    pub(crate) fn new(vlan: u16) -> Self {
        // Budgets are each CPU's own.
        run_on(0).unwrap();
        let mut ground = Ground::new(vlan);
        // A period begins with the clock of the shards, so that the test falls into one.
        begin_period(&mut ground);
        ground.front.keys = Keys::at(SECRET, Period(0));
        let size = FrontSize { shards: 2, doors: 2, buckets: ground.front.buckets, sources: 64 };
        let mut program = Program::load_for(&object_path().unwrap(), size)
            .unwrap_or_else(|error| panic!("{error}"));
        let maps = &mut program.maps;
        maps.set_config(ground.config).unwrap();
        for addr in [mapped(SHARED), SHARED6] {
            maps.set_address(Addr(addr), Address::Shared).unwrap();
        }
        maps.set_address(Addr(mapped(OWN)), Address::Own).unwrap();
        for port in [HTTP, ECHO] {
            maps.set_listener(None, port).unwrap();
        }
        let socket = socket(AddressFamily::XDP, SocketType::RAW, None).unwrap();
        maps.set_socket(0, &socket).unwrap();
        let both = Self { ground, program, _socket: socket };
        both.tell();
        both
    }

    /// A test that takes longer than a period begins one now and then.
    pub(crate) fn renew(&mut self) {
        begin_period(&mut self.ground);
        self.tell_all_but_flows();
    }

    /// Puts what the host has into the kernel's maps.
    pub(crate) fn tell(&self) {
        self.tell_all_but_flows();
        let Ground { front, flows, summary, .. } = &self.ground;
        for shard in 0..2 {
            let each = SUMMARY_WORDS as usize;
            let part = &summary[usize::from(shard) * each..][..each];
            put(&self.program.front.words(shard).summary, part);
            let each = front.buckets as usize;
            let part = &flows[usize::from(shard) * each..][..each];
            put(&self.program.front.words(shard).flows, part.as_flattened());
        }
    }

    /// The same without the flows, whose number may be nonsense.
    pub(crate) fn tell_all_but_flows(&self) {
        let Ground { front, gates, doors, .. } = &self.ground;
        self.program.front.put(front);
        for shard in 0..2 {
            let words = self.program.front.words(shard);
            let at = usize::from(shard);
            let gate: [u64; 8] = transmute!(gates[at]);
            put(&words.gate, &gate);
            let door: [[u64; 4]; 2] = transmute!([doors[2 * at], doors[2 * at + 1]]);
            put(&words.doors, door.as_flattened());
        }
    }

    /// What the program returns for a frame.
    pub(crate) fn returned(&self, frame: &[u8]) -> u32 {
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::new() };
        let result = self.program.xdp().unwrap().test_run(options);
        result.unwrap_or_else(|error| panic!("{error}: {frame:02x?}")).return_value
    }

    /// What the kernel makes of a frame, and the counter that moved.
    pub(crate) fn run(&self, frame: &[u8]) -> (Verdict, Vec<u8>) {
        self.run_behind(0, frame)
    }

    /// The same of a frame with so many octets of somebody else's metadata ahead of it, which are in what
    /// comes out too.
    fn run_behind(&self, ahead: usize, frame: &[u8]) -> (Verdict, Vec<u8>) {
        let before = self.program.maps.counters().unwrap();
        let mut out = vec![0; 4096];
        let data = [&vec![FOREIGN; ahead], frame].concat();
        let context = context(ahead, data.len());
        let options = TestRunOptions {
            data_in: Some(&data),
            data_out: Some(&mut out),
            ctx_in: (ahead > 0).then_some(context.as_bytes()),
            ..TestRunOptions::new()
        };
        let result = self.program.xdp().unwrap().test_run(options);
        let result = result.unwrap_or_else(|error| panic!("{error}: {frame:02x?}"));
        let (action, length) = (result.return_value, result.data_size_out as usize);
        let after = self.program.maps.counters().unwrap();
        let moved: Vec<_> =
            (0..).zip(before.iter().zip(&after)).filter(|(_, (old, new))| old != new).collect();
        let [(index, (old, new))] = moved[..] else { panic!("not one counter moved: {moved:?}") };
        assert_eq!(new.1 - old.1, 1);
        let verdict = Verdict::from_number(index).unwrap();
        let wanted = match verdict.action() {
            Action::Pass => crate::XDP_PASS,
            Action::Drop => XDP_DROP,
            Action::Redirect => XDP_REDIRECT,
            Action::Transmit => XDP_TX,
        };
        assert_eq!(action, wanted, "{verdict:?}");
        out.truncate(length);
        (verdict, out)
    }

    /// The most metadata that the kernel lets stand ahead of a frame in a test run.
    fn most_metadata(&self, frame: &[u8]) -> usize {
        let takes = |ahead: &usize| {
            let data = [&vec![FOREIGN; *ahead], frame].concat();
            let context = context(*ahead, data.len());
            let options = TestRunOptions {
                data_in: Some(&data),
                ctx_in: Some(context.as_bytes()),
                ..TestRunOptions::new()
            };
            self.program.xdp().unwrap().test_run(options).is_ok()
        };
        (32..256).step_by(4).rev().find(takes).expect("the kernel takes metadata")
    }

    /// Asserts that host and kernel agree on a frame; gives what they say and answer.
    pub(crate) fn agree(&self, frame: &[u8]) -> (Verdict, Vec<u8>) {
        let (verdict, mut answer) = self.run(frame);
        let (wanted, expected, record) = self.ground.meet(frame);
        assert_eq!(verdict, wanted, "{frame:02x?}");
        if verdict.is_of_front() && verdict.action() == Action::Redirect {
            let ahead: [u8; size_of::<Record>()] = transmute!(record);
            let (found, rest) = answer.split_at(ahead.len());
            if verdict != Verdict::RedirectUnanswered {
                assert_eq!(found, ahead, "{verdict:?}");
            }
            answer = rest.to_vec();
        }
        let vlan = usize::from(self.ground.config.vlan != 0) * 4;
        let tcp = 14 + vlan + if answer[12 + vlan] == 0x86 { 40 } else { 20 };
        let timeless = |frame: &[u8]| {
            let mut frame = frame.to_vec();
            if verdict == Verdict::TransmitCookie && frame.len() >= tcp + 36 {
                // A timestamp is the clock's, and the checksum has it.
                frame[tcp + 16..tcp + 18].fill(0);
                frame[tcp + 28..tcp + 32].fill(0);
            }
            frame
        };
        assert_eq!(timeless(&answer), timeless(&expected), "{verdict:?} of {frame:02x?}");
        (verdict, answer)
    }
}

/// As struct xdp_md lies: data, its end, metadata, interface, queue, egress.
fn context(start: usize, end: usize) -> [u32; 6] {
    [start as u32, end as u32, 0, 0, 0, 0]
}

/// Has the first period begin now.
fn begin_period(ground: &mut Ground) {
    let nanos = now();
    (ground.front.origin, ground.now) = (nanos, nanos + SECOND);
}

/// The clock that the program reads, in ns.
fn now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
    now.tv_sec() as u64 * SECOND + now.tv_nsec() as u64
}

/// Has this thread, and so the program, run on one CPU.
fn run_on(cpu: usize) -> nix::Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &cpus)
}

fn put(to: &Words, from: &[u64]) {
    for (place, word) in to.as_ref().iter().zip(from) {
        place.store(*word, Ordering::Relaxed);
    }
}

fn sequence(answer: &[u8], says: &Says) -> u32 {
    let at = 14 + if says.vlan != 0 { 4 } else { 0 } + if says.is_v6 { 40 } else { 20 };
    u32::from_be_bytes(answer[at + 4..at + 8].try_into().unwrap())
}

fn everywhere() -> [Says; 2] {
    [false, true].map(|is_v6| Says { is_v6, ..Says::default() })
}

#[test]
#[ignore = "needs root and the BPF object"]
fn handshake_by_cookie_is_what_the_library_says() {
    for vlan in [0, 5] {
        let both = Both::new(vlan);
        for says in everywhere() {
            let says = Says { vlan, ..says };
            let (verdict, answer) = both.agree(&says.frame());
            assert_eq!(verdict, Verdict::TransmitCookie);
            let offsets = says.offsets();
            let iss = sequence(&answer, &says);
            let keys = &both.ground.front.keys;
            let index = decode(keys, offsets, says.sequence, iss, Period(0)).unwrap();
            let least = if says.is_v6 { 1220 } else { 536 };
            assert_eq!(MSS[usize::from(index)], least);
            for (flags, text) in [(ACK, 0), (ACK | PSH, 7)] {
                let ack = Says {
                    sequence: says.sequence + 1,
                    acknowledgment: iss.wrapping_add(1),
                    flags,
                    text: vec![1; text],
                    ..says.clone()
                };
                assert_eq!(both.agree(&ack.frame()).0, Verdict::RedirectCookie);
                let later = Says { sequence: says.sequence + 9_000, ..ack };
                assert_eq!(both.agree(&later.frame()).0, Verdict::RedirectProven);
            }
        }
    }
}

/// The acknowledgment of the cookie that answers this SYN.
fn acknowledgment(both: &Both, says: &Says) -> Says {
    let (verdict, answer) = both.agree(&says.frame());
    assert_eq!(verdict, Verdict::TransmitCookie);
    let acknowledgment = sequence(&answer, says).wrapping_add(1);
    Says { sequence: says.sequence + 1, acknowledgment, flags: ACK, ..says.clone() }
}

// A queue is not always served by the same CPU: a FIN right behind the text may meet another one.
#[test]
#[ignore = "needs root and the BPF object"]
fn flow_that_was_proven_on_one_cpu_passes_on_every_other() {
    let both = Both::new(0);
    for says in everywhere() {
        let ack = acknowledgment(&both, &says);
        assert_eq!(both.agree(&ack.frame()).0, Verdict::RedirectCookie);
        let fin = Says { sequence: ack.sequence + 1_024, flags: FIN | ACK, ..ack };
        // Where there is but one there is nothing to be seen.
        for cpu in 0..2 {
            if run_on(cpu).is_ok() {
                assert_eq!(both.agree(&fin.frame()).0, Verdict::RedirectProven, "CPU {cpu}");
            }
        }
        run_on(0).unwrap();
    }
}

// A driver may leave no room ahead of a frame, or somebody else may have taken it: here he has all that
// the kernel allows.
#[test]
#[ignore = "needs root and the BPF object"]
fn frame_without_room_ahead_goes_bare_and_is_counted() {
    let both = Both::new(0);
    for says in everywhere() {
        let ack = acknowledgment(&both, &says).frame();
        let most = both.most_metadata(&ack);
        let (verdict, out) = both.run_behind(most, &ack);
        assert_eq!(verdict, Verdict::RedirectBare, "behind {most}");
        assert!(out[..most].iter().all(|octet| *octet == FOREIGN) && out[most..] == ack);
        // Where there is room the record goes ahead of all else.
        let (verdict, out) = both.run_behind(32, &ack);
        assert_eq!((verdict, out.len()), (Verdict::RedirectCookie, 32 + 32 + ack.len()));
        assert_eq!(both.agree(&ack).0, Verdict::RedirectCookie);
        // What needs no record is not counted as that.
        let open = Says { ports: (1, ECHO), ..says.clone() };
        assert_eq!(both.run_behind(most, &open.frame()).0, Verdict::RedirectListener);
        assert_eq!(both.run_behind(most, &says.frame()).0, Verdict::TransmitCookie);
    }
}

// The clock is the kernel's; what it is taken from moves instead, within the time since the machine began.
#[test]
#[ignore = "needs root and the BPF object"]
fn acknowledgment_is_taken_up_to_64_seconds_and_never_from_128_on() {
    for phase in [0, 1, 32, 62] {
        let mut both = Both::new(0);
        let at = |both: &mut Both, age: u64| {
            both.ground.front.origin = now() - (64 + phase + age) * SECOND;
            // As user space renews them; what the test takes until the frame is met counts too.
            both.ground.front.keys = Keys::at(SECRET, Period(((64 + phase + age) / 64) as u32));
            both.tell();
        };
        for (nth, says) in (0..).zip(everywhere()) {
            for (age, wanted) in [(0, true), (63, true), (128, false), (192, false)] {
                at(&mut both, 0);
                // What was proven a moment ago passes too: each is another flow.
                let says =
                    Says { ports: (1_000 + 10 * nth + (age % 97) as u16, HTTP), ..says.clone() };
                let (verdict, answer) = both.run(&says.frame());
                assert_eq!(verdict, Verdict::TransmitCookie);
                let acknowledgment = sequence(&answer, &says).wrapping_add(1);
                let sequence = says.sequence + 1;
                let ack = Says { sequence, acknowledgment, flags: ACK, ..says };
                at(&mut both, age);
                let is_taken = both.run(&ack.frame()).0 == Verdict::RedirectCookie;
                assert_eq!(is_taken, wanted, "{age} s old, made {phase} s into a period");
            }
        }
    }
}

#[test]
#[ignore = "needs root and the BPF object"]
fn options_are_what_the_library_says() {
    let both = Both::new(0);
    for says in everywhere() {
        for options in [
            linux_options(9_999, 8),
            vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0],
            vec![3, 3, 9, 1, 4, 2, 1, 1],
            vec![2, 4, 5, 180, 1, 3, 3, 7, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0],
            vec![1; 40],
            vec![253, 40, 0, 0],
            vec![8, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1],
            vec![0, 8, 10, 1],
        ] {
            let says = Says { options, ..says.clone() };
            both.agree(&says.frame());
        }
        for length in [1, 63, 64, 65, 1_400] {
            for damage in [0, 1] {
                let says = Says { text: vec![0xa5; length], damage, ..says.clone() };
                both.agree(&says.frame());
            }
        }
    }
}

#[test]
#[ignore = "needs root and the BPF object"]
fn flows_and_strays_are_what_the_library_says() {
    for is_complete in [0, 1] {
        let mut both = Both::new(0);
        both.ground.gates[1].is_complete = is_complete;
        // As many as come: a budget depends on the clock.
        (both.ground.front.stray_cost, both.ground.front.reset_cost) = (1, 1);
        for (port, kind) in [(1, Kind::HalfOpen), (2, Kind::Established), (3, Kind::TimeWait)] {
            for says in everywhere() {
                let name = Says { ports: (port, HTTP), ..says }.name();
                both.ground.enter(&name, kind, (port % 2) as u8);
            }
        }
        // As the shards write it, with every bit set, with none.
        let summary = both.ground.summary.clone();
        let others = [u64::MAX, 0].map(|word| vec![word; summary.len()]);
        for summary in [summary].into_iter().chain(others) {
            both.ground.summary = summary;
            both.renew();
            both.tell();
            agree_on_flows(&both);
        }
    }
}

fn agree_on_flows(both: &Both) {
    for port in 1..6 {
        for flags in [SYN, ACK, ACK | PSH, RST, FIN, FIN | ACK, SYN | ACK, SYN | FIN, 0] {
            for says in everywhere() {
                let says = Says { ports: (port, HTTP), flags, acknowledgment: 4_711, ..says };
                both.agree(&says.frame());
                both.agree(&Says { ports: (port, ECHO), ..says }.frame());
            }
        }
    }
}

#[test]
#[ignore = "needs root and the BPF object"]
fn mutated_at_random_kernel_and_library_agree() {
    let seed = std::env::var("SLUICE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("seed {seed}");
    let mut random = Random(seed);
    let mut both = Both::new(0);
    // As many as come: a budget depends on the clock.
    (both.ground.front.stray_cost, both.ground.front.reset_cost) = (0, 1);
    both.tell();
    for round in 0..ROUNDS {
        if round % 100 == 0 {
            both.renew();
        }
        let [says, other] = everywhere();
        let says = if random.below(3) == 0 { other } else { says };
        let flags = [SYN, ACK, SYN, SYN | ACK, FIN, RST][random.below(6)];
        let options = if random.below(2) == 0 { linux_options(1, 7) } else { Vec::new() };
        let ports = (random.below(60_000) as u16 + 1, HTTP);
        let text = vec![7; random.below(80)];
        let mut frame = Says { flags, options, ports, text, ..says }.frame();
        for _ in 0..random.below(4) {
            let at = random.below(frame.len());
            frame[at] = if random.below(2) == 0 { random.byte() } else { random.byte() % 16 };
        }
        let (verdict, _) = both.agree(&frame);
        assert_ne!(verdict, Verdict::DropUnsent, "round {round}");
    }
}

const ROUNDS: usize = 10_000;
/// An octet of somebody else's metadata.
const FOREIGN: u8 = 0xee;
