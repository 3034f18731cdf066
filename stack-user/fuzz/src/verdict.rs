//! The XDP program's verdict on any octets: what a redirect, a drop and an answer promise, by a reading
//! of the frame that is not the program's.
//!
//! That the program in the kernel says the same is what `tests/verdicts` shows.

use std::sync::LazyLock;

use stack_ebpf::contract::{Address, AddressKey, mapped};
use stack_ebpf::steer::{Tables, classify};
use stack_ebpf::verdict::{Action, Verdict};

use super::source::Source;

#[path = "../../../stack-ebpf/src/steer/cases/mod.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "tests of stack-ebpf need all of it")]
mod cases;
#[path = "../../../stack-ebpf/src/front/ground/mod.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "tests of stack-ebpf need all of it")]
mod ground;

use cases::{Case, World, tagged, untagged};
use ground::{ACK, FIN, Ground, RST, SYN, sum_ipv4};

pub fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let vlan = if source.below(4) == 0 { cases::VLAN } else { 0 };
    let frame = frame(&mut source, vlan);
    steered(&frame, &World::new(vlan));
    defended(&frame, &mut source, vlan);
}

/// The fuzzer's octets, or a case that they change.
fn frame(source: &mut Source<'_>, vlan: u16) -> Vec<u8> {
    let nth = source.u8();
    if nth == 0 {
        let length = source.below(1_600);
        return source.bytes(length).to_vec();
    }
    let cases = if vlan == 0 { &UNTAGGED } else { &TAGGED };
    let mut frame = cases[usize::from(nth) % cases.len()].clone();
    for _ in 0..source.below(6) {
        let at = source.below(frame.len());
        frame[at] = source.u8();
    }
    if source.bool() {
        sum_ipv4(&mut frame);
    }
    if source.bool() {
        frame.truncate(source.below(frame.len() + 1));
    }
    frame
}

/// The cases' frames, made once: they take longer than what is tried with them.
static UNTAGGED: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| frames(untagged()));
static TAGGED: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| frames(tagged()));

fn frames(cases: Vec<Case>) -> Vec<Vec<u8>> {
    cases.into_iter().map(|case| case.frame).collect()
}

/// A TCP segment in a plain packet, as read here.
struct Segment {
    remote: AddressKey,
    local: AddressKey,
    port: u16,
    flags: u8,
}

/// Reads it by fixed places; `None` where that is not enough.
fn plain(frame: &[u8], vlan: u16) -> Option<Segment> {
    let rest = frame.get(if vlan == 0 { 12 } else { 16 }..)?;
    let (kind, packet) = rest.split_at_checked(2)?;
    let v6 = |at: usize| packet.get(at..at + 16)?.try_into().ok();
    let v4 = |at: usize| Some(mapped(packet.get(at..at + 4)?.try_into().ok()?));
    let (remote, local, tcp) = match (kind, packet.first()?) {
        ([8, 0], 0x45)
            if packet.get(9) == Some(&6) && packet.get(6)? & 0x3f == 0 && packet[7] == 0 =>
        {
            (v4(12)?, v4(16)?, packet.get(20..)?)
        }
        ([0x86, 0xdd], 0x60..=0x6f) if packet.get(6) == Some(&6) => {
            (v6(8)?, v6(24)?, packet.get(40..)?)
        }
        _ => return None,
    };
    let port = u16::from_be_bytes(tcp.get(2..4)?.try_into().ok()?);
    Some(Segment { remote, local, port, flags: tcp.get(13)? & 0x3f })
}

/// Whether nobody has this address for a source.
fn is_nobodys(addr: &AddressKey) -> bool {
    let is_v4 = addr[..12] == mapped([0; 4])[..12];
    match is_v4 {
        true => matches!(addr[12], 0 | 127 | 224..),
        false => addr[0] == 0xff || addr[..15] == [0; 15] && addr[15] < 2,
    }
}

fn steered(frame: &[u8], world: &World) {
    let verdict = classify(frame, world);
    assert_eq!(classify(frame, world), verdict, "the same frame, the same verdict");
    assert!(!verdict.is_of_front() && verdict.action() != Action::Transmit, "{verdict:?}");
    if frame.len() < 14 {
        assert_eq!(verdict, Verdict::PassMalformed);
    }
    let ours = verdict.action() != Action::Pass;
    let is_group = frame.first().is_some_and(|first| first & 1 == 1);
    assert!(!ours || is_group || frame[..6] == world.config.mac, "{verdict:?} of another's frame");
    let Some(segment) = plain(frame, world.config.vlan) else { return };
    let kind = world.address(&segment.local);
    let listens = kind.is_some() && world.is_listener(&segment.local, segment.port);
    let is_local_port = kind == Some(Address::Shared) && world.config.is_local_port(segment.port);
    let may_be_ours = kind == Some(Address::Own) || listens || is_local_port;
    assert!(!ours || may_be_ours, "{verdict:?} of what is the kernel's");
    if verdict.action() != Action::Redirect {
        return;
    }
    let remote = &segment.remote;
    assert!(!is_nobodys(remote) && world.address(remote).is_none(), "{verdict:?}");
    assert!(!world.is_blocked(remote), "{verdict:?} of a blocked source");
    let flags = segment.flags;
    let is_odd = flags & (SYN | ACK | RST) == 0 || flags & SYN != 0 && flags & (FIN | RST) != 0;
    let is_listener = listens && verdict != Verdict::RedirectLocalPort;
    assert!(!is_odd || !is_listener, "{verdict:?} of flags {flags:#x}");
}

/// The same at gates that are closed, or odd.
fn defended(frame: &[u8], source: &mut Source<'_>, vlan: u16) {
    let mut ground = Ground::new(vlan);
    for gate in &mut ground.gates {
        gate.closed = source.u8().into();
        gate.is_complete = source.u8().into();
    }
    ground.doors[0].is_closed = source.u8().into();
    ground.queue = source.below(4) as u32;
    if source.bool() {
        ground.front.keys = zerocopy::FromZeros::new_zeroed();
    }
    (ground.front.stray_cost, ground.front.reset_cost) = (source.u8().into(), source.u8().into());
    let (steered, (verdict, answer, record)) = (classify(frame, &ground), ground.meet(frame));
    assert!(verdict == steered || steered.action() == Action::Redirect, "{steered:?} {verdict:?}");
    let is_closed = ground.gates.get(ground.queue as usize).is_some_and(|gate| gate.closed != 0);
    assert!(verdict == steered || is_closed, "{verdict:?} at an open gate");
    match verdict.action() {
        Action::Transmit => {
            assert!(answer[..6] == frame[6..12] && answer[6..12] == frame[..6]);
            let says = plain(&answer, vlan).expect("an answer is plain");
            let asked = plain(frame, vlan).expect("what is answered is plain");
            assert_eq!((says.remote, says.local), (asked.local, asked.remote));
            let wanted = if verdict == Verdict::TransmitReset { RST } else { SYN | ACK };
            assert_eq!(says.flags, wanted);
        }
        _ => assert_eq!(answer, frame, "only an answer changes a frame"),
    }
    if verdict.is_of_front() && verdict.action() == Action::Redirect {
        assert_eq!((record.nonce, record.length as usize), (ground.front.nonce, frame.len()));
        assert_eq!(
            record.mss == stack_ebpf::front::Record::NO_COOKIE,
            verdict != Verdict::RedirectCookie
        );
    }
}
