//! The front line over the library: what meets it, what it answers, what it lets pass.

mod day;

use std::vec::Vec;

use super::ground::*;
use super::*;
use crate::cookie::{MSS, Offered, Period, decode};
use crate::flow::stamp_clock;
use crate::flows::Kind;
use crate::verdict::Verdict;

/// An answer taken apart; its checksums are right.
struct Answer {
    sequence: u32,
    acknowledgment: u32,
    flags: u8,
    window: u16,
    options: Vec<u8>,
}

fn read(frame: &[u8], says: &Says) -> Answer {
    assert_eq!(frame[..12], [PEER_MAC, MAC].concat());
    let at = if says.vlan != 0 { 18 } else { 14 };
    if says.vlan != 0 {
        assert_eq!(frame[12..16], [0x81, 0, 0, says.vlan as u8]);
    }
    let name = says.name();
    let (ip, tcp) = frame[at..].split_at(if says.is_v6 { 40 } else { 20 });
    let mut pseudo = Vec::new();
    match says.is_v6 {
        true => {
            assert_eq!(ip[..8], [0x60, 0, 0, 0, 0, tcp.len() as u8, 6, 64]);
            assert_eq!(ip[8..], [name.local, name.remote].concat());
            pseudo.extend(&ip[8..]);
        }
        false => {
            assert_eq!(ip[..10], [0x45, 0, 0, frame.len() as u8 - at as u8, 0, 0, 0x40, 0, 64, 6]);
            assert_eq!(checksum(ip), 0);
            assert_eq!(ip[12..], [says.local, says.remote].concat());
            pseudo.extend(&ip[12..]);
        }
    }
    pseudo.extend([0, 6, 0, tcp.len() as u8]);
    pseudo.extend(tcp);
    assert_eq!(checksum(&pseudo), 0);
    let word = |at: usize| u32::from_be_bytes(tcp[at..at + 4].try_into().unwrap());
    let ports = (word(0) as u16, (word(0) >> 16) as u16);
    assert_eq!(ports, says.ports);
    assert_eq!(usize::from(tcp[12] >> 4) * 4, tcp.len());
    Answer {
        sequence: word(4),
        acknowledgment: word(8),
        flags: tcp[13],
        window: word(12) as u16,
        options: tcp[20..].to_vec(),
    }
}

/// The verdict alone.
fn verdict(ground: &Ground, says: &Says) -> Verdict {
    ground.meet(&says.frame()).0
}

/// What answers a SYN, which must be a cookie.
fn cookie(ground: &Ground, says: &Says) -> Answer {
    let (verdict, frame, _) = ground.meet(&says.frame());
    assert_eq!(verdict, Verdict::TransmitCookie, "{says:?}");
    read(&frame, says)
}

fn ack_of(says: &Says, answer: &Answer) -> Says {
    Says {
        sequence: answer.acknowledgment,
        acknowledgment: answer.sequence.wrapping_add(1),
        flags: ACK,
        options: Vec::new(),
        ..says.clone()
    }
}

/// Peers of both families, tagged and not.
fn everywhere() -> Vec<(Ground, Says)> {
    let says = |is_v6, vlan| (Ground::new(vlan), Says { is_v6, vlan, ..Says::default() });
    Vec::from([says(false, 0), says(true, 0), says(false, 5), says(true, 5)])
}

#[test]
fn syn_without_options_is_answered_with_mss_alone() {
    for (ground, says) in everywhere() {
        let answer = cookie(&ground, &says);
        assert_eq!((answer.flags, answer.acknowledgment), (SYN | ACK, 77_001));
        let (mss, window) = if says.is_v6 { (1440_u16, 64_800) } else { (1460, 64_240) };
        assert_eq!(answer.options, [&[2, 4][..], &mss.to_be_bytes()].concat());
        assert_eq!(answer.window, window);
        let keys = &ground.front.keys;
        let offsets = says.offsets();
        let index = decode(keys, offsets, 77_000, answer.sequence, Period::at(ground.now));
        let least = if says.is_v6 { 1220 } else { 536 };
        assert_eq!(index.map(|index| MSS[usize::from(index)]), Some(least));
    }
}

#[test]
fn syn_of_linux_is_answered_with_every_option() {
    for (ground, says) in everywhere() {
        let says = Says { options: linux_options(9_999, 8), ..says };
        let answer = cookie(&ground, &says);
        let offset = says.offsets().stamp();
        let offered = Offered { window_scale: Some(8), sack_permitted: true };
        let stamp = offered.into_clock(stamp_clock(ground.now)).wrapping_add(offset);
        let mss: u16 = if says.is_v6 { 1440 } else { 1460 };
        let mut wanted = [&[2, 4][..], &mss.to_be_bytes(), &[4, 2, 8, 10]].concat();
        wanted.extend(stamp.to_be_bytes());
        wanted.extend(9_999_u32.to_be_bytes());
        wanted.extend([1, 3, 3, 7]);
        assert_eq!(answer.options, wanted);
        assert_eq!(answer.window, if says.is_v6 { 64_260 } else { 65_160 });
        let keys = &ground.front.keys;
        let offsets = says.offsets();
        let index = decode(keys, offsets, 77_000, answer.sequence, Period::at(ground.now));
        assert_eq!(index.map(|index| MSS[usize::from(index)]), Some(1460));
    }
}

#[test]
fn options_stand_in_any_order_and_only_what_timestamps_bring_back_is_offered() {
    let ground = Ground::new(0);
    let answer = |options: &[u8]| {
        let says = Says { options: options.to_vec(), ..Says::default() };
        cookie(&ground, &says).options
    };
    let alone = [2, 4, 0x05, 0xb4];
    // Window scale and SACK without timestamps; an end of list; an option nobody knows.
    assert_eq!(answer(&[3, 3, 9, 1, 4, 2, 1, 1]), alone);
    assert_eq!(answer(&[0, 8, 10, 1]), alone);
    assert_eq!(answer(&[253, 6, 1, 2, 3, 4, 1, 0]), alone);
    let stamped = answer(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0]);
    assert_eq!((stamped.len(), &stamped[4..8]), (16, &[1, 1, 8, 10][..]));
    // Forty octets of nothing.
    assert_eq!(answer(&[1; 40]), alone);
    assert_eq!(
        answer(&[[3, 3, 1, 3].as_slice(), &[3, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0]].concat()).len(),
        20
    );
}

#[test]
fn options_that_the_listener_does_not_take_are_not_offered() {
    let mut ground = Ground::new(0);
    let says = Says { options: linux_options(1, 8), ..Says::default() };
    let shapes = [
        (Door::TIMESTAMPS, 16),
        (Door::TIMESTAMPS | Door::SACK, 16),
        (Door::TIMESTAMPS | Door::WINDOW_SCALING, 20),
        (Door::WINDOW_SCALING | Door::SACK, 4),
    ];
    for (options, length) in shapes {
        ground.doors[0].options = options;
        assert_eq!(cookie(&ground, &says).options.len(), length);
    }
}

// RFC 9293 3.1 (MUST-7): an impossible length is dropped without harm.
#[test]
fn options_of_impossible_length_are_dropped() {
    let ground = Ground::new(0);
    for options in [
        &[2, 3, 5, 0][..],
        &[2, 4, 5, 0, 1, 1, 1, 3],
        &[8, 10, 0, 0],
        &[3, 0, 0, 0],
        &[4, 1, 0, 0],
        &[253, 1, 0, 0],
        &[5, 2, 1, 1],
        &[28, 3, 0, 0],
    ] {
        let says = Says { options: options.to_vec(), ..Says::default() };
        assert_eq!(verdict(&ground, &says), Verdict::DropTcpOption, "{options:?}");
    }
}

#[test]
fn syn_with_a_wrong_checksum_is_dropped_unless_the_link_is_trusted() {
    for (mut ground, says) in everywhere() {
        for length in [0, 1, 2, 63, 64, 65, 1_400] {
            let text = std::vec![0xa5; length];
            let right = Says { text: text.clone(), ..says.clone() };
            cookie(&ground, &right);
            let wrong = Says { damage: 1, ..right };
            assert_eq!(verdict(&ground, &wrong), Verdict::DropChecksum, "{length}");
        }
        let long = Says { text: std::vec![0; 1_700], ..says.clone() };
        assert_eq!(verdict(&ground, &long), Verdict::RedirectUnanswered);
        ground.front.flags = Front::TRUSTS_CHECKSUMS;
        cookie(&ground, &Says { damage: 1, ..says });
    }
}

#[test]
fn header_with_a_wrong_checksum_is_dropped() {
    let ground = Ground::new(0);
    let mut frame = Says::default().frame();
    frame[14 + 8] ^= 1;
    assert_eq!(ground.meet(&frame).0, Verdict::DropIpChecksum);
}

// RFC 9293 3.9.2.3 (MUST-63).
#[test]
fn syn_of_nobody_is_dropped() {
    let ground = Ground::new(0);
    for remote in [SHARED, [0, 0, 0, 1], [127, 0, 0, 1], [224, 0, 0, 1], [255; 4]] {
        let says = Says { remote, ..Says::default() };
        assert_eq!(verdict(&ground, &says), Verdict::DropMartian);
    }
}

// A guard has nobody before it who looks at sources and headers.
#[test]
fn without_a_sieve_the_front_line_looks_at_sources_and_headers() {
    let ground = Ground { is_classified: false, ..Ground::new(0) };
    for remote in [SHARED, [0, 0, 0, 1], [127, 0, 0, 1], [224, 0, 0, 1], [255; 4]] {
        let says = Says { remote, ..Says::default() };
        assert_eq!(verdict(&ground, &says), Verdict::DropMartian);
        let stray = Says { flags: ACK, acknowledgment: 4_711, ..says };
        assert_eq!(verdict(&ground, &stray), Verdict::DropStray);
    }
    let mut frame = Says::default().frame();
    frame[14 + 8] ^= 1;
    assert_eq!(ground.meet(&frame).0, Verdict::DropIpChecksum);
    cookie(&ground, &Says::default());
}

#[test]
fn open_gates_and_doors_change_nothing() {
    let mut ground = Ground::new(0);
    let echo = Says { ports: (40_000, ECHO), ..Says::default() };
    assert_eq!(verdict(&ground, &echo), Verdict::RedirectListener);
    ground.gates[0].closed = 0;
    assert_eq!(verdict(&ground, &Says::default()), Verdict::RedirectListener);
    ground.queue = 1;
    cookie(&ground, &Says::default());
    // Nobody listens there: the shard refuses it.
    let closed = Says { ports: (40_000, 9), local: OWN, ..Says::default() };
    assert_eq!(verdict(&ground, &closed), Verdict::RedirectOwn);
    cookie(&ground, &Says { local: OWN, ..Says::default() });
    // More queues than gates, more listeners than doors.
    ground.queue = 2;
    assert_eq!(verdict(&ground, &Says::default()), Verdict::RedirectListener);
    (ground.queue, ground.front.doors) = (0, 0);
    assert_eq!(verdict(&ground, &Says::default()), Verdict::RedirectListener);
}

#[test]
fn without_keys_a_syn_is_the_shards_and_no_number_is_a_cookie() {
    let mut ground = Ground::new(0);
    let answer = cookie(&ground, &Says::default());
    ground.front.keys = zerocopy::FromZeros::new_zeroed();
    assert_eq!(verdict(&ground, &Says::default()), Verdict::RedirectUnanswered);
    let ack = ack_of(&Says::default(), &answer);
    assert_eq!(verdict(&ground, &ack), Verdict::TransmitReset);
}

#[test]
fn syn_of_a_flow_that_a_shard_has_is_that_shards() {
    for kind in [Kind::HalfOpen, Kind::Established, Kind::TimeWait] {
        for (mut ground, says) in everywhere() {
            ground.enter(&says.name(), kind, 1);
            for flags in [SYN, ACK, RST, FIN | ACK, SYN | ACK] {
                let says = Says { flags, ..says.clone() };
                let (verdict, frame, record) = ground.meet(&says.frame());
                assert_eq!((verdict, record.owner), (Verdict::RedirectFlow, 1));
                assert_eq!(frame, says.frame());
                assert_eq!((record.nonce, record.mss), (ground.front.nonce, Record::NO_COOKIE));
                assert_eq!(record.length as usize, frame.len());
            }
            let other = Says { ports: (40_001, HTTP), ..says };
            cookie(&ground, &other);
        }
    }
}

// The summary may say too much, which costs a look, or be missing; where it says that nothing is there,
// nobody looks.
#[test]
fn flow_is_looked_for_where_the_summary_does_not_rule_it_out() {
    for (mut ground, says) in everywhere() {
        ground.enter(&says.name(), Kind::Established, 1);
        let other = Says { ports: (40_001, HTTP), ..says.clone() };
        let room = ground.summary.len();
        for summary in [std::vec![u64::MAX; room], Vec::new()] {
            ground.summary = summary;
            assert_eq!(verdict(&ground, &says), Verdict::RedirectFlow);
            cookie(&ground, &other);
        }
        ground.summary = std::vec![0; room];
        cookie(&ground, &says);
        ground.gates[1].is_complete = 0;
        let stray = Says { flags: ACK, ..says };
        assert_eq!(verdict(&ground, &stray), Verdict::RedirectStray);
    }
}

#[test]
fn acknowledgment_of_a_cookie_goes_to_the_shard_with_what_it_proves() {
    for (ground, says) in everywhere() {
        let answer = cookie(&ground, &Says { options: linux_options(1, 2), ..says.clone() });
        for (flags, text) in [(ACK, 0), (ACK | PSH, 100), (ACK | FIN, 0)] {
            let text = std::vec![1; text];
            let ack = Says { flags, text, ..ack_of(&says, &answer) };
            let (verdict, frame, record) = ground.meet(&ack.frame());
            assert_eq!(verdict, Verdict::RedirectCookie);
            assert_eq!(frame, ack.frame());
            let wanted = Record {
                nonce: ground.front.nonce,
                fingerprint: says.name().fingerprint(&FLOW_KEY),
                length: frame.len() as u32,
                sequence: 77_001,
                acknowledgment: answer.sequence.wrapping_add(1),
                owner: Record::NOBODY,
                mss: 6,
                period: Period::at(ground.now).0 as u8,
            };
            assert_eq!(record, wanted);
        }
    }
}

// The shard may not have written the flow down when what follows the acknowledgment comes.
#[test]
fn text_behind_the_acknowledgment_passes_too() {
    let ground = Ground::new(0);
    let says = Says::default();
    let ack = ack_of(&says, &cookie(&ground, &says));
    let later = Says { sequence: 77_001 + 1_460, ..ack.clone() };
    assert_eq!(verdict(&ground, &later), Verdict::TransmitReset, "nothing is proven yet");
    assert_eq!(verdict(&ground, &ack), Verdict::RedirectCookie);
    assert_eq!(verdict(&ground, &later), Verdict::RedirectProven);
    assert_eq!(verdict(&ground, &Says { flags: RST, ..later }), Verdict::RedirectProven);
}

// Virtual time: up to 64 s always, from 128 s on never.
#[test]
fn acknowledgment_is_taken_up_to_64_seconds_and_never_from_128_on() {
    for start in [64_000, 64_000 + 1, 64_000 + 63, 64 * 64 * 16 - 1] {
        let mut ground = Ground::new(0);
        ground.now = start * SECOND;
        ground.front.keys = Keys::at(SECRET, Period::at(ground.now));
        let says = Says::default();
        let ack = ack_of(&says, &cookie(&ground, &says));
        for (age, wanted) in [
            (0, Verdict::RedirectCookie),
            (64, Verdict::RedirectCookie),
            (128, Verdict::TransmitReset),
            (1_000, Verdict::TransmitReset),
            (64 * 256, Verdict::TransmitReset),
        ] {
            ground.now = (start + age) * SECOND;
            ground.front.keys = Keys::at(SECRET, Period::at(ground.now));
            ground.proven.borrow_mut().clear();
            assert_eq!(verdict(&ground, &ack), wanted, "{start} {age}");
        }
    }
}

#[test]
fn clock_is_that_of_the_shards() {
    let mut ground = Ground::new(0);
    let says = Says { options: linux_options(1, 2), ..Says::default() };
    let answer = cookie(&ground, &says);
    (ground.now, ground.front.origin) = (ground.now + 555 * SECOND, 555 * SECOND);
    assert_eq!(cookie(&ground, &says).sequence, answer.sequence);
    assert_eq!(cookie(&ground, &says).options, answer.options);
}

// RFC 9293 3.10.7.2: any acknowledgment is bad; a RST is not answered.
#[test]
fn stray_is_reset_within_the_budget() {
    for (mut ground, says) in everywhere() {
        let stray = Says { flags: ACK, acknowledgment: 4_711, ..says };
        let (verdict_of, frame, _) = ground.meet(&stray.frame());
        assert_eq!(verdict_of, Verdict::TransmitReset);
        let reset = read(&frame, &stray);
        assert_eq!((reset.flags, reset.sequence, reset.acknowledgment), (RST, 4_711, 0));
        assert!(reset.options.is_empty());
        let resets = (0..1_000).filter(|_| verdict(&ground, &stray) == Verdict::TransmitReset);
        assert!((1..100).contains(&resets.count()));
        assert_eq!(verdict(&ground, &stray), Verdict::DropStray);
        let syn_ack = Says { flags: SYN | ACK, ..stray.clone() };
        ground.now += SECOND;
        assert_eq!(verdict(&ground, &syn_ack), Verdict::TransmitReset);
        for flags in [RST, RST | ACK, RST | FIN] {
            let says = Says { flags, ..stray.clone() };
            assert_eq!(verdict(&ground, &says), Verdict::DropStray, "{flags}");
        }
        ground.front.reset_cost = 0;
        assert_eq!(verdict(&ground, &stray), Verdict::DropStray);
    }
}

#[test]
fn stray_goes_to_the_shard_within_the_budget_while_not_every_flow_is_known() {
    for incomplete in [0, 1] {
        let mut ground = Ground::new(0);
        ground.gates[incomplete].is_complete = 0;
        for flags in [ACK, RST, FIN | ACK] {
            let stray = Says { flags, ..Says::default() };
            assert_eq!(verdict(&ground, &stray), Verdict::RedirectStray);
        }
        let stray = Says { flags: ACK, ..Says::default() };
        let passed = (0..1_000).filter(|_| verdict(&ground, &stray) == Verdict::RedirectStray);
        assert!((1..100).contains(&passed.count()));
        // It may be the segment of a flow that lives: no RST.
        assert_eq!(verdict(&ground, &stray), Verdict::DropStray);
        ground.front.stray_cost = 0;
        ground.now += SECOND;
        assert_eq!(verdict(&ground, &stray), Verdict::DropStray);
        cookie(&ground, &Says::default());
    }
    // Of more shards than are looked at nothing is known for certain.
    let mut ground = Ground::new(0);
    ground.front.shards = MAX_SHARDS + 1;
    assert_eq!(verdict(&ground, &Says { flags: ACK, ..Says::default() }), Verdict::RedirectStray);
}

#[test]
fn odd_frames_are_left_to_the_shard() {
    let ground = Ground::new(0);
    let mut frame = Says::default().frame();
    // Four octets of IP options.
    frame.splice(34..34, [1, 1, 1, 1]);
    (frame[14], frame[17]) = (0x46, frame[17] + 4);
    sum_ipv4(&mut frame);
    assert_eq!(ground.meet(&frame).0, Verdict::RedirectListener);
    let own = Says { local: OWN, ..Says::default() };
    let mut udp = own.frame();
    udp[23] = 17;
    sum_ipv4(&mut udp);
    assert_eq!(ground.meet(&udp).0, Verdict::RedirectOwn);
    let mut fragment = own.frame();
    (fragment[20], fragment[21]) = (0, 9);
    sum_ipv4(&mut fragment);
    assert_eq!(ground.meet(&fragment).0, Verdict::RedirectOwn);
}

#[test]
fn random_octets_harm_nothing() {
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for (ground, says) in everywhere() {
        for _ in 0..20_000 {
            let says = Says { options: linux_options(1, 1), text: std::vec![0; 9], ..says.clone() };
            let mut frame = says.frame();
            for _ in 0..next() % 4 {
                let at = (next() >> 33) as usize % frame.len();
                frame[at] = (next() >> 56) as u8;
            }
            frame.truncate(14 + (next() >> 33) as usize % frame.len());
            let (verdict, answer, _) = ground.meet(&frame);
            let is_answer = verdict.action() == crate::Action::Transmit;
            assert!(is_answer || answer == frame);
        }
    }
}
