//! Addresses that name no host, and sequence numbers that nobody outside can foretell.

use core::net::Ipv4Addr;

use super::addr;
use super::raw::{ACK, IRS, PORT, RST, Raw, SYN, Says, frame, frame_between, syn};
use crate::counters::Counter;
use crate::shard::inner::Core;
use crate::shard::{Open, OpenError, Secrets};
use crate::tcp::State;
use crate::time::Instant;
use crate::wire::{Addr, FourTuple};

fn open_to(remote: Addr) -> Open {
    let (local, local_port) = (None, None);
    Open { local, local_port, remote, remote_port: 7, service: 0, user: 0, settings: Vec::new() }
}

// RFC 9293 3.9.1.1 (MUST-46).
#[test]
fn closed_open_to_no_host_is_refused() {
    let mut raw = Raw::new(|_| {});
    for octets in [[224, 0, 0, 1], [239, 1, 2, 3], [255; 4], [0; 4], [127, 0, 0, 1]] {
        let remote = Addr::from(Ipv4Addr::from(octets));
        let refused = raw.shard.open(&open_to(remote), raw.now);
        assert_eq!(refused, Err(OpenError::BadAddress(remote)));
    }
    assert!(raw.sent().is_empty());
    assert!(raw.shard.open(&open_to(addr(2)), raw.now).is_ok());
}

// RFC 9293 3.9.2.3 (MUST-57, MUST-63), CM-7.j, CM-7.k: in silence.
#[test]
fn listen_syn_from_or_to_no_host_is_ignored() {
    let (mut raw, _) = Raw::listening(|_| {}, |_| {});
    let v4 = |octets: [u8; 4]| Addr::from(Ipv4Addr::from(octets));
    let mut dropped = 0;
    // Our own address is no peer's either.
    for src in [v4([224, 0, 0, 1]), v4([255; 4]), v4([0; 4]), v4([127, 0, 0, 1]), addr(1)] {
        let frame = frame_between(&syn(1000), src, addr(1));
        raw.shard.on_frames(&[&frame], &mut |_, _| {}, raw.now);
        dropped += 1;
        assert_eq!(raw.count(Counter::DropMartian), dropped, "{src}");
    }
    // To our address, but by a broadcast and a multicast of the link.
    for group in [[0xff; 6], [1, 0, 0x5e, 0, 0, 1]] {
        let mut frame = frame(&syn(1000));
        frame[..6].copy_from_slice(&group);
        raw.shard.on_frames(&[&frame], &mut |_, _| {}, raw.now);
        dropped += 1;
        assert_eq!(raw.count(Counter::DropMartian), dropped);
    }
    // To such an address.
    for dst in [v4([224, 0, 0, 1]), v4([10, 0, 0, 255]), v4([255; 4])] {
        let frame = frame_between(&syn(1000), addr(2), dst);
        raw.shard.on_frames(&[&frame], &mut |_, _| {}, raw.now);
    }
    assert!(raw.sent().is_empty());
    assert_eq!((raw.shard.flows(), raw.count(Counter::DropNotOurs)), (0, 3));
}

fn tuple(port: u16) -> FourTuple {
    FourTuple { local: addr(1), remote: addr(2), local_port: PORT, remote_port: port }
}

// RFC 9293 3.4.1 (MUST-8, MUST-9, SHLD-1), CM-2.h: a clock of about 4 µs (3.8), and a keyed hash of the
// name.
#[test]
fn isn_follows_a_clock_of_4_microseconds_and_a_keyed_hash() {
    let raw = Raw::new(|_| {});
    let at = |raw: &Raw, micros: u64, port| {
        let offsets = raw.shard.core.offsets(raw.shard.core.hasher.hash(&tuple(port)));
        Core::isn(offsets, Instant::from_nanos(micros * 1_000)).0
    };
    let first = at(&raw, 1_000_000, 1);
    assert_eq!(at(&raw, 1_000_004, 1).wrapping_sub(first), 1);
    assert_eq!(at(&raw, 5_000_000, 1).wrapping_sub(first), 1 << 20);
    // Another name has another offset, and the same name under another key too.
    let step = |port| at(&raw, 0, port + 1).wrapping_sub(at(&raw, 0, port));
    let steps: Vec<u32> = (1..5).map(step).collect();
    assert!(steps.windows(2).all(|pair| pair[0] != pair[1]), "{steps:?}");
    let other = Raw::new(|config| {
        config.secrets = Secrets { isn: [9; 16], ..config.secrets };
    });
    assert_ne!(at(&other, 1_000_000, 1), first);
}

// RFC 9293 3.5.1, figure 8 (CM-2.g): an old duplicate SYN reaches a listener; the peer refuses the
// answer, and its own SYN is served.
#[test]
fn listen_old_duplicate_syn_is_given_up_by_rst_and_the_new_one_is_served() {
    let (mut raw, _) = Raw::listening(|_| {}, |_| {});
    let old = Says { seq: IRS - 90_000, ..syn(1000) };
    let answer = raw.answer(old);
    assert_eq!((answer.flags, answer.ack), (SYN.union(ACK), old.seq + 1));
    let reset = Says { seq: answer.ack, flags: RST, ..syn(1000) };
    assert!(raw.hear(reset).is_empty());
    assert_eq!(raw.shard.census()[State::SynReceived as usize], 0);
    raw.open(1000);
    assert_eq!(raw.told(), ["1000: accepted"]);
}

// The same figure seen from the other end: the answer to an old SYN of ours is refused.
#[test]
fn syn_sent_answer_to_an_old_duplicate_syn_is_refused_and_the_open_goes_on() {
    let mut raw = Raw::new(|_| {});
    let asked = Open { local_port: Some(PORT), remote_port: 1000, ..open_to(addr(2)) };
    raw.shard.open(&asked, raw.now).expect("the name is free");
    let ours = raw.sent().remove(0);
    let says = Says { ack: ours.seq - 90_000, flags: SYN.union(ACK), ..syn(1000) };
    let reset = raw.answer(says);
    assert_eq!((reset.flags, reset.seq), (RST, says.ack));
    let ack = raw.answer(Says { ack: ours.seq + 1, ..says });
    assert_eq!(ack.flags, ACK);
    assert_eq!(raw.told(), ["1000: connected"]);
}
