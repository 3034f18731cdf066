//! Neighbours of both families, for addresses of our own: who asks, who answers, and how it is seen
//! that one is gone.

use super::raw::{OUR_MAC, PEER_MAC, Raw, Says, carried_with, frame_between, syn};
use super::*;
use crate::wire::ethernet::{ETHERTYPE_ARP, Frame};
use crate::wire::icmpv6::{Carried, Message as Icmpv6};
use crate::wire::ipv6::{self, ALL_NODES, Packet};
use crate::wire::ndp::{Advertisement, LEN, Message, Solicitation};
use crate::wire::{arp, ndp};

/// A shard with a listener at addresses of its own.
fn owned(addr: fn(u8) -> Addr) -> Raw {
    let own = |config: &mut ShardConfig| {
        config.addrs.iter_mut().for_each(|local| local.is_owned = true);
    };
    Raw::listening(|_| {}, own).0.between(addr)
}

fn says(message: Message, src: Addr, dst: Addr) -> Vec<u8> {
    let mut bytes = [0; LEN];
    let len = message.emit((&src, &dst), &mut bytes);
    carried_with(&bytes[..len], (src, dst, 58), 255)
}

fn asks(target: Addr, source_mac: Option<MacAddr>, src: Addr) -> Vec<u8> {
    let message = Message::Solicitation(Solicitation { target, source_mac });
    says(message, src, ipv6::solicited_node(&target))
}

fn advertises(target_mac: MacAddr) -> Vec<u8> {
    let target_mac = Some(target_mac);
    let (target, is_solicited, is_override) = (addr6(2), true, true);
    let told = Advertisement { target, is_solicited, is_override, target_mac };
    says(Message::Advertisement(told), addr6(2), addr6(1))
}

/// A frame of neighbour discovery of ours: to whom on the link, between whom, and what.
fn read(frame: &[u8]) -> (MacAddr, Addr, Addr, Message) {
    let frame = Frame::parse(frame, None).expect("a frame");
    let Packet { src, dst, hop_limit, payload, .. } =
        Packet::parse(frame.payload).expect("a packet");
    let carried = Carried { src, dst, hop_limit, is_fragment: false };
    match Icmpv6::parse(payload, &carried) {
        Ok(Icmpv6::Discovery(message)) => (frame.dst, src, dst, message),
        other => panic!("{other:?}"),
    }
}

fn only(raw: &mut Raw) -> (MacAddr, Addr, Addr, Message) {
    let frames = raw.frames();
    assert_eq!(frames.len(), 1);
    read(&frames[0])
}

fn told(is_solicited: bool) -> Message {
    let (target, target_mac) = (addr6(1), Some(OUR_MAC));
    Message::Advertisement(Advertisement { target, is_solicited, is_override: true, target_mac })
}

// RFC 4861 7.2.4.
#[test]
fn own_address_that_is_asked_for_is_told_to_who_asks() {
    let mut raw = owned(addr6);
    raw.take(&asks(addr6(1), Some(PEER_MAC), addr6(2)));
    assert_eq!(only(&mut raw), (PEER_MAC, addr6(1), addr6(2), told(true)));
    assert_eq!(raw.count(Counter::SolicitationsAnswered), 1);
    // Whether we are still there, as a question to ourselves.
    let probe = Message::Solicitation(Solicitation { target: addr6(1), source_mac: None });
    raw.take(&says(probe, addr6(2), addr6(1)));
    assert_eq!(only(&mut raw), (PEER_MAC, addr6(1), addr6(2), told(true)));
}

// RFC 4862 5.4.3, RFC 4861 7.2.4: who wants the address as its own is told with everybody else.
#[test]
fn own_address_is_defended_against_a_probe_for_a_duplicate() {
    let mut raw = owned(addr6);
    raw.take(&asks(addr6(1), None, Addr::UNSPECIFIED));
    let everybody = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
    assert_eq!(only(&mut raw), (everybody, addr6(1), ALL_NODES, told(false)));
}

#[test]
fn other_addresses_and_shared_ones_are_not_told() {
    let mut raw = owned(addr6);
    raw.take(&asks(addr6(3), Some(PEER_MAC), addr6(2)));
    assert_eq!((raw.frames().len(), raw.count(Counter::DropNotOurs)), (0, 1));
    let mut raw = Raw::new(|_| {}).between(addr6);
    raw.take(&asks(addr6(1), Some(PEER_MAC), addr6(2)));
    assert_eq!((raw.frames().len(), raw.count(Counter::DropNotOurs)), (0, 1));
}

// RFC 4861 7.1.1: what was not sent on this link, or is malformed.
#[test]
fn solicitation_from_beyond_the_link_is_dropped() {
    let mut raw = owned(addr6);
    let mut frame = asks(addr6(1), Some(PEER_MAC), addr6(2));
    frame[14 + 7] = 254;
    raw.take(&frame);
    assert_eq!((raw.frames().len(), raw.count(Counter::DropNeighbour)), (0, 1));
    let mut frame = asks(addr6(1), Some(PEER_MAC), addr6(2));
    frame[14 + 40 + 30] ^= 1;
    raw.take(&frame);
    assert_eq!((raw.frames().len(), raw.count(Counter::DropChecksum)), (0, 1));
}

// RFC 4862 5.4.4.
#[test]
fn own_address_that_another_host_claims_is_counted() {
    let mut raw = owned(addr6);
    let (target, target_mac) = (addr6(1), Some(PEER_MAC));
    let claim = Advertisement { target, is_solicited: false, is_override: true, target_mac };
    raw.take(&says(Message::Advertisement(claim), addr6(2), ALL_NODES));
    assert_eq!((raw.frames().len(), raw.count(Counter::AddressConflicts)), (0, 1));
}

// Handed over from another shard: learnt from, and not answered a second time.
#[test]
fn solicitation_that_another_shard_answers_is_learnt_from() {
    let mut raw = owned(addr6);
    raw.shard.on_handed_over(&[&asks(addr6(1), Some(PEER_MAC), addr6(2))], raw.now);
    assert!(raw.frames().is_empty());
    assert!(opened(&mut raw, addr6(2)).iter().all(|frame| !is_question(frame)), "it is known");
    let mut seen = Vec::new();
    let frame = asks(addr6(1), Some(PEER_MAC), addr6(3));
    raw.shard.on_frames(&[&frame], &mut |index, to| seen.push((index, to)), raw.now);
    assert_eq!(seen, [(0, Elsewhere::Every)]);
}

fn is_question(frame: &[u8]) -> bool {
    let frame = Frame::parse(frame, None).expect("a frame");
    frame.ethertype == ETHERTYPE_ARP || frame.payload[0] >> 4 == 6 && frame.payload[6] == 58
}

/// What goes out when a connection to `remote` is opened.
fn opened(raw: &mut Raw, remote: Addr) -> Vec<Vec<u8>> {
    let connect = Command::Connect { remote, remote_port: 7, service: 0 };
    raw.shard.on_command(connect, raw.now);
    raw.frames()
}

// RFC 4861 7.2.2: the SYN waits for the answer to a question that goes to the solicited group.
#[test]
fn unknown_next_hop_is_asked_for_and_what_waits_goes_with_the_answer() {
    let mut raw = owned(addr6);
    let frames = opened(&mut raw, addr6(2));
    assert_eq!(frames.len(), 1);
    let (mac, src, dst, message) = read(&frames[0]);
    assert_eq!((mac, src), (MacAddr([0x33, 0x33, 0xff, 0, 0, 2]), addr6(1)));
    assert_eq!(dst, ipv6::solicited_node(&addr6(2)));
    let asked = Solicitation { target: addr6(2), source_mac: Some(OUR_MAC) };
    assert_eq!(message, Message::Solicitation(asked));
    raw.take(&advertises(PEER_MAC));
    assert_eq!(raw.sent().len(), 1, "the SYN, to the address that was told");
}

/// How a question of ours, in either family, is addressed on the link.
fn asked_by(frame: &[u8]) -> MacAddr {
    assert!(is_question(frame));
    Frame::parse(frame, None).expect("a frame").dst
}

fn answers(raw: &mut Raw) {
    if raw.ends.0.is_v4() {
        let ip = |addr: Addr| addr.as_v4().expect("it is one of IPv4");
        let (sender_ip, target_ip) = (ip(raw.ends.0), ip(raw.ends.1));
        let reply = arp::Packet {
            op: arp::Op::Reply,
            sender_mac: PEER_MAC,
            sender_ip,
            target_mac: OUR_MAC,
            target_ip,
        };
        let mut frame = [&OUR_MAC.0[..], &PEER_MAC.0, &[8, 6], &[0; arp::LEN]].concat();
        reply.emit(&mut frame[14..]);
        raw.take(&frame);
    } else {
        raw.take(&advertises(PEER_MAC));
    }
}

/// A connection on which we send now and then, and the peer acknowledges at once.
struct Talk {
    raw: Raw,
    ack: Says,
}

impl Talk {
    fn new(addr: fn(u8) -> Addr) -> Self {
        let mut raw = owned(addr);
        let syn_ack = raw.open(1000);
        Self { raw, ack: syn(1000).answer(&syn_ack) }
    }

    /// We send an octet; all that goes out.
    fn send(&mut self) -> Vec<Vec<u8>> {
        let Self { raw, ack } = self;
        let id = raw.shard.core.conns.iter().next().map(|(id, _)| id).expect("it is open");
        raw.shard.with(id, raw.now, |conn| conn.send(b"x"));
        let frames = raw.frames();
        ack.ack = ack.ack.wrapping_add(1);
        raw.take(&frame_between(ack, raw.ends.0, raw.ends.1));
        frames
    }

    /// Seconds pass; the questions that go out, with when.
    fn questions(&mut self, seconds: u64) -> Vec<(u64, MacAddr)> {
        let start = self.raw.now;
        let all = pass(&mut self.raw, seconds).into_iter();
        let questions = all.filter(|(_, frame)| is_question(frame));
        questions.map(|(at, frame)| (at.since(start).as_secs(), asked_by(&frame))).collect()
    }
}

// RFC 4861 7.3.3, for both families: a neighbour that was sent to, after its answer has become old, has
// five seconds, then is asked itself, three times a second apart; after that everybody is asked.
#[test]
fn known_next_hop_is_probed_when_it_is_used_and_old() {
    for addr in FAMILIES {
        let mut talk = Talk::new(addr);
        assert_eq!(talk.questions(3_600), [], "nothing is sent there");
        let sent = talk.send();
        assert!(sent.len() == 1 && !is_question(&sent[0]), "the segment goes at once");
        assert_eq!(talk.questions(60), [(5, PEER_MAC), (6, PEER_MAC), (7, PEER_MAC)]);
        // It is gone: the next segment has to wait for an answer.
        let sent = talk.send();
        assert!(sent.len() == 1 && asked_by(&sent[0]).is_group());
        answers(&mut talk.raw);
    }
}

/// Time passes in seconds; every frame with its time.
fn pass(raw: &mut Raw, seconds: u64) -> Vec<(Instant, Vec<u8>)> {
    let end = raw.now + Duration::from_secs(seconds);
    let mut all = Vec::new();
    while let Some(next) = raw.shard.next_deadline().filter(|next| *next <= end) {
        raw.now = next.max(raw.now);
        raw.shard.on_timers(raw.now);
        let now = raw.now;
        all.extend(raw.frames().into_iter().map(|frame| (now, frame)));
    }
    raw.now = end;
    all
}

// RFC 4861 7.3.3: one that answers the probe is there for another while.
#[test]
fn probed_next_hop_that_answers_is_not_asked_again() {
    for addr in FAMILIES {
        let mut talk = Talk::new(addr);
        talk.questions(60);
        talk.send();
        assert_eq!(talk.questions(5), [(5, PEER_MAC)]);
        answers(&mut talk.raw);
        // At least fifteen seconds, and five more from the next segment on.
        for _ in 0..14 {
            assert_eq!(talk.questions(1), []);
            talk.send();
        }
        assert_eq!(talk.questions(5), []);
    }
}

// RFC 9293 3.8.3 (MUST-20): a connection without answers has its next hop asked, before the five
// seconds are over.
#[test]
fn doubted_next_hop_is_asked_itself() {
    for addr in FAMILIES {
        let Talk { mut raw, .. } = Talk::new(addr);
        let id = raw.shard.core.conns.iter().next().map(|(id, _)| id).expect("it is open");
        raw.shard.with(id, raw.now, |conn| conn.send(b"x"));
        raw.frames();
        let start = raw.now;
        let later = pass(&mut raw, 5);
        let (at, first) = later.iter().find(|(_, frame)| is_question(frame)).expect("it is asked");
        assert_eq!(asked_by(first), PEER_MAC);
        assert!(at.since(start) < Duration::from_secs(5), "{at:?}");
    }
}

#[test]
fn messages_have_the_hops_of_the_link() {
    let mut raw = owned(addr6);
    raw.take(&asks(addr6(1), Some(PEER_MAC), addr6(2)));
    assert_eq!(raw.frames()[0][14 + 7], ndp::HOP_LIMIT);
}
