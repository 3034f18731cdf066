//! The front line as a shard commands it: gates, doors, the array of flows.

use core::sync::atomic::Ordering;

use stack_ebpf::cookie::{self, Keys, Period};
use stack_ebpf::flows::{self, Entry, FEWEST_BUCKETS, Kind, SUMMARY_WORDS, WAYS};
use stack_ebpf::front::{Door, Gate, Record};
use stack_ebpf::siphash::Key;
use zerocopy::transmute;

use super::raw::{ACK, FIN, IRS, PORT, RST, Raw, Says, full_syn, syn};
use super::*;
use crate::counters::Counter;
use crate::shard::FrontWords;
use crate::tables::listeners::Accepts;
use crate::tables::words::Words;
use crate::tcp::SynCookies;
use crate::time::Duration;
use crate::wire::FourTuple;

fn words() -> FrontWords {
    FrontWords {
        gate: Words::zeroed(Gate::WORDS),
        doors: Words::zeroed(Door::WORDS),
        flows: Words::zeroed(FEWEST_BUCKETS as usize * WAYS),
        summary: Words::zeroed(SUMMARY_WORDS as usize),
        nonce: NONCE,
    }
}

/// A listener with a backlog, and its part of the front line.
fn guarded(backlog: u32, adjust: impl FnOnce(&mut ShardConfig)) -> (Raw, FrontWords) {
    let (mut raw, _) = Raw::listening(|listener| listener.backlog = backlog, adjust);
    let words = words();
    raw.shard.set_front(words.clone());
    (raw, words)
}

fn load(words: &Words, at: usize) -> u64 {
    words.as_ref()[at].load(Ordering::Relaxed)
}

fn is_closed(words: &FrontWords) -> bool {
    let closed = load(&words.gate, Gate::CLOSED);
    assert_eq!(closed, load(&words.doors, 0));
    closed != 0
}

fn is_complete(words: &FrontWords) -> bool {
    load(&words.gate, Gate::IS_COMPLETE) != 0
}

fn tuple(port: u16) -> FourTuple {
    FourTuple { local: addr(1), remote: addr(2), local_port: PORT, remote_port: port }
}

/// What the program finds of a flow.
fn known(raw: &Raw, words: &FrontWords, port: u16) -> Option<Kind> {
    let hash = raw.shard.core.hasher.hash(&tuple(port));
    let home = flows::home(hash, FEWEST_BUCKETS);
    let (word, bit) = flows::mark(home);
    if load(&words.summary, word as usize) & bit == 0 {
        return None;
    }
    let first = home as usize * WAYS;
    let bucket = core::array::from_fn(|n| load(&words.flows, first + n));
    let entry = flows::find(&bucket, hash);
    (entry != 0).then(|| Entry(entry).kind())
}

/// Lets timers run until nothing is due at once.
fn settle(raw: &mut Raw) {
    for _ in 0..2_000 {
        raw.pass(Duration::from_micros(100));
    }
}

/// The ISS of a cookie that the program has made for a SYN.
fn made(raw: &Raw, port: u16, irs: u32) -> u32 {
    let period = Period::at(raw.now.as_nanos());
    let keys = Keys::at(Key::new(raw.shard.core.config.secrets.isn), period);
    let offsets = raw.shard.core.offsets(raw.shard.core.hasher.hash(&tuple(port)));
    cookie::encode(&keys, offsets, irs, 6, period).expect("keys of this time")
}

#[test]
fn gate_is_closed_by_a_queue_nearly_full_and_opened_when_most_is_gone() {
    let (mut raw, words) = guarded(8, |_| {});
    for port in 1..6 {
        raw.hear(syn(port));
        assert!(!is_closed(&words), "{port}");
    }
    raw.hear(syn(6));
    assert!(is_closed(&words));
    assert_eq!((raw.count(Counter::GatesClosed), raw.count(Counter::CookiesSent)), (1, 0));
    // Hysteresis: between the two nothing changes.
    for port in 1..4 {
        raw.hear(Says { flags: RST, seq: IRS + 1, ..syn(port) });
        assert!(is_closed(&words), "{port}");
    }
    raw.hear(Says { flags: RST, seq: IRS + 1, ..syn(4) });
    assert!(!is_closed(&words));
    raw.hear(syn(7));
    assert!(!is_closed(&words));
    assert_eq!((raw.count(Counter::GatesClosed), raw.count(Counter::GatesOpened)), (1, 1));
}

#[test]
fn gate_opens_without_a_frame_once_forged_entries_are_given_up() {
    let (mut raw, words) = guarded(4, |_| {});
    (1..4).for_each(|port| drop(raw.hear(syn(port))));
    assert!(is_closed(&words));
    raw.pass(Duration::from_secs(70));
    assert!(!is_closed(&words));
}

#[test]
fn gate_of_never_stays_open_and_of_always_closed() {
    let mode = |mode| move |config: &mut ShardConfig| config.tcp.syn_cookies = mode;
    let (mut raw, words) = guarded(2, mode(SynCookies::Never));
    (1..9).for_each(|port| drop(raw.hear(syn(port))));
    assert!(!is_closed(&words));
    let (mut raw, words) = guarded(2, mode(SynCookies::Always));
    assert!(is_closed(&words));
    settle(&mut raw);
    assert!(is_closed(&words) && is_complete(&words));
}

#[test]
fn gate_opens_at_a_shutdown() {
    let (mut raw, words) = guarded(2, |config| config.tcp.syn_cookies = SynCookies::Always);
    let deadline = raw.now + Duration::from_secs(2);
    raw.shard.on_command(Command::Shutdown { deadline }, raw.now);
    raw.hear(syn(1));
    assert!(!is_closed(&words));
}

#[test]
fn door_says_what_the_shards_own_answer_would() {
    let (mut raw, words) = guarded(2, |config| config.tcp.syn_cookies = SynCookies::Always);
    let door: [u64; Door::WORDS] = core::array::from_fn(|n| load(&words.doors, n));
    let door: Door = transmute!(door);
    let answer = raw.answer(full_syn(1, 7));
    assert_eq!(answer.window, door.windows[1]);
    assert_eq!(answer.options.mss, Some(door.mss[0]));
    assert_eq!(answer.options.window_scale, Some(door.scale));
    assert_eq!(door.options, Door::WINDOW_SCALING | Door::SACK | Door::TIMESTAMPS);
    let answer = raw.answer(syn(2));
    assert_eq!(answer.window, door.windows[0]);
}

#[test]
fn flows_from_before_the_gate_are_written_down_and_those_after_it_too() {
    let (mut raw, words) = guarded(8, |_| {});
    raw.open(100);
    (1..6).for_each(|port| drop(raw.hear(syn(port))));
    assert_eq!([100, 1].map(|port| known(&raw, &words, port)), [None; 2]);
    raw.hear(syn(6));
    assert!(is_closed(&words) && !is_complete(&words));
    settle(&mut raw);
    assert!(is_complete(&words));
    assert_eq!(known(&raw, &words, 100), Some(Kind::Established));
    assert!((1..7).all(|port| known(&raw, &words, port) == Some(Kind::HalfOpen)));
    raw.open(101);
    assert_eq!(known(&raw, &words, 101), Some(Kind::Established));
    raw.hear(Says { flags: RST, seq: IRS + 1, ..syn(1) });
    assert_eq!(known(&raw, &words, 1), None);
}

#[test]
fn entry_that_is_no_flow_is_swept() {
    let (mut raw, words) = guarded(2, |config| config.tcp.syn_cookies = SynCookies::Always);
    let hash = 0x1234_5678_9abc_def0;
    let place = flows::home(hash, FEWEST_BUCKETS) as usize * WAYS;
    words.flows.as_ref()[place].store(Entry::new(hash, Kind::TimeWait, 0).0, Ordering::Relaxed);
    for port in 0..u16::try_from(FEWEST_BUCKETS).unwrap() {
        raw.hear(Says { flags: FIN, ..syn(port) });
    }
    assert_eq!((load(&words.flows, place), raw.count(Counter::FlowEntriesStale)), (0, 1));
}

#[test]
fn acknowledgment_of_the_programs_cookie_opens_a_connection() {
    let (mut raw, _) = guarded(2, |config| config.tcp.syn_cookies = SynCookies::Always);
    let iss = made(&raw, 1, IRS);
    raw.hear(Says { seq: IRS + 1, ack: iss.wrapping_add(1), flags: ACK, ..syn(1) });
    assert_eq!(raw.count(Counter::CookiesReceived), 1);
    assert_eq!(raw.told(), ["1: accepted"]);
}

#[test]
fn cookie_from_before_the_gate_was_opened_is_taken_as_long_as_it_is_good() {
    let (mut raw, words) = guarded(4, |_| {});
    (1..4).for_each(|port| drop(raw.hear(syn(port))));
    let iss = made(&raw, 100, IRS);
    (1..4).for_each(|port| {
        raw.hear(Says { flags: RST, seq: IRS + 1, ..syn(port) });
    });
    assert!(!is_closed(&words));
    raw.pass(Duration::from_secs(60));
    raw.hear(Says { seq: IRS + 1, ack: iss.wrapping_add(1), flags: ACK, ..syn(100) });
    assert_eq!(raw.told(), ["100: accepted"]);
}

// A valid cookie wins over a half-open entry, also one of another SYN.
#[test]
fn syn_received_cookie_of_another_syn_wins() {
    let (mut raw, words) = guarded(2, |_| {});
    (1..3).for_each(|port| drop(raw.hear(syn(port))));
    assert!(is_closed(&words));
    let irs = IRS + 5_000_000;
    let iss = made(&raw, 1, irs);
    raw.hear(Says { seq: irs + 1, ack: iss.wrapping_add(1), flags: ACK, ..syn(1) });
    assert_eq!(raw.told(), ["1: accepted"]);
}

// An established connection wins over a cookie.
#[test]
fn established_takes_no_cookie() {
    let (mut raw, _) = guarded(2, |config| config.tcp.syn_cookies = SynCookies::Always);
    let first = made(&raw, 1, IRS);
    raw.hear(Says { seq: IRS + 1, ack: first.wrapping_add(1), flags: ACK, ..syn(1) });
    let irs = IRS + 5_000_000;
    let second = made(&raw, 1, irs);
    let cookie = Says { seq: irs + 1, ack: second.wrapping_add(1), flags: ACK, ..syn(1) };
    raw.hear(cookie);
    assert_eq!(raw.count(Counter::CookiesReceived), 1);
    assert_eq!(raw.shard.census()[State::Established as usize], 1);
}

// TIME-WAIT takes it for an old segment.
#[test]
fn time_wait_takes_no_cookie() {
    let on_call = |listener: &mut Listener| listener.accepts = Accepts::OnCall;
    let always = |config: &mut ShardConfig| config.tcp.syn_cookies = SynCookies::Always;
    let (mut raw, id) = Raw::listening(on_call, always);
    raw.shard.set_front(words());
    raw.time_wait(id, 1, None);
    let before = raw.count(Counter::CookiesReceived);
    let irs = IRS + 5_000_000;
    let iss = made(&raw, 1, irs);
    raw.hear(Says { seq: irs + 1, ack: iss.wrapping_add(1), flags: ACK, ..syn(1) });
    assert_eq!(raw.count(Counter::CookiesReceived), before);
    assert_eq!(raw.shard.census()[State::TimeWait as usize], 1);
}

/// What the program writes ahead of the frame that says this, where it found a cookie.
fn record(raw: &Raw, says: Says, length: usize) -> Record {
    Record {
        nonce: NONCE,
        fingerprint: raw.shard.core.hasher.hash(&tuple(says.port)),
        length: length as u32,
        sequence: says.seq,
        acknowledgment: says.ack,
        owner: Record::NOBODY,
        mss: 6,
        period: Period::at(raw.now.as_nanos()).0 as u8,
    }
}

/// Hears a frame with a record ahead of it.
fn hear_told(raw: &mut Raw, frame: &[u8], record: Record) {
    let ahead = transmute!(record);
    raw.shard.on_frames_told(&[frame], &[&ahead], &mut |_, _| {}, raw.now);
}

// The shard does not verify again what the program has verified: no cookie of ours has this number.
#[test]
fn record_of_the_very_frame_is_believed() {
    let (mut raw, _) = guarded(2, |config| config.tcp.syn_cookies = SynCookies::Always);
    let says = Says { seq: IRS + 1, ack: 4_711, flags: ACK, ..syn(1) };
    let frame = raw.frame_of(says);
    let record = record(&raw, says, frame.len());
    hear_told(&mut raw, &frame, record);
    assert_eq!(raw.told(), ["1: accepted"]);
    let counts = [Counter::CookiesReceived, Counter::CookiesTold].map(|which| raw.count(which));
    assert_eq!(counts, [1, 1]);
}

// A frame of the UMEM keeps what an earlier one has left ahead of it.
#[test]
fn record_of_another_frame_or_time_opens_nothing() {
    let (mut raw, _) = guarded(2, |config| config.tcp.syn_cookies = SynCookies::Always);
    raw.pass(Duration::from_secs(70));
    let says = Says { seq: IRS + 1, ack: 4_711, flags: ACK, ..syn(1) };
    let frame = raw.frame_of(says);
    let right = record(&raw, says, frame.len());
    let wrong = [
        Record::EMPTY,
        Record { nonce: 0, ..right },
        Record { nonce: NONCE + 1, ..right },
        Record { fingerprint: right.fingerprint ^ 1 << 63, ..right },
        Record { length: right.length + 1, ..right },
        Record { sequence: right.sequence + 1, ..right },
        Record { acknowledgment: right.acknowledgment + 1, ..right },
        Record { mss: Record::NO_COOKIE, ..right },
        Record { mss: 8, ..right },
        Record { period: right.period - 1, ..right },
        Record { period: right.period + 1, ..right },
        record(&raw, Says { port: 2, ..says }, frame.len()),
    ];
    for (nth, record) in (1..).zip(wrong) {
        hear_told(&mut raw, &frame, record);
        assert_eq!(raw.count(Counter::CookiesFailed), nth, "{record:?}");
    }
    assert!(raw.told().is_empty());
    // What is valid is taken without a record, or with another's.
    for (port, record) in [(3, Record::EMPTY), (4, right)] {
        let iss = made(&raw, port, IRS);
        let frame = raw.frame_of(Says { port, ack: iss.wrapping_add(1), ..says });
        hear_told(&mut raw, &frame, record);
    }
    assert_eq!(raw.told(), ["3: accepted", "4: accepted"]);
    assert_eq!(raw.count(Counter::CookiesTold), 0);
}

// Neither before the program was told of a nonce, nor in a shard that commands no front line.
#[test]
fn record_without_a_nonce_of_this_run_opens_nothing() {
    let always = |config: &mut ShardConfig| config.tcp.syn_cookies = SynCookies::Always;
    let (mut bare, _) = Raw::listening(|_| {}, always);
    let (mut zero, _) = Raw::listening(|_| {}, always);
    zero.shard.set_front(FrontWords { nonce: 0, ..words() });
    for raw in [&mut bare, &mut zero] {
        let says = Says { seq: IRS + 1, ack: 4_711, flags: ACK, ..syn(1) };
        let frame = raw.frame_of(says);
        let record = Record { nonce: 0, ..record(raw, says, frame.len()) };
        hear_told(raw, &frame, record);
        assert!(raw.told().is_empty());
    }
}

const NONCE: u64 = 0x5eed_0000_0000_0001;
