//! From a peer's SYN to what the kernel is told of its connection.

use std::vec::Vec;

use super::super::ground::*;
use super::super::{Chunk, Record};
use super::*;
use crate::contract::mapped;
use crate::verdict::Verdict;

/// The peer's acknowledgment of the cookie that answers its SYN, which echoes a timestamp where one came,
/// and what stands ahead of it.
fn acknowledged(ground: &Ground, says: &Says) -> (Says, Record) {
    let (verdict, answer, _) = ground.meet(&says.frame());
    assert_eq!(verdict, Verdict::TransmitCookie);
    let tcp = &answer[if says.is_v6 { 54 } else { 34 }..];
    let word = |at: usize| u32::from_be_bytes(tcp[at..at + 4].try_into().unwrap());
    let options = match tcp[20..].windows(2).position(|pair| pair == [8, 10]) {
        None => Vec::new(),
        // Ours comes back behind the peer's next one.
        Some(at) => {
            let ours = &tcp[20 + at + 2..20 + at + 6];
            [&[1, 1, 8, 10][..], &10_000_u32.to_be_bytes(), ours].concat()
        }
    };
    let ack = Says {
        sequence: word(8),
        acknowledgment: word(4).wrapping_add(1),
        flags: ACK,
        options,
        ..says.clone()
    };
    let (verdict, _, record) = ground.meet(&ack.frame());
    assert_eq!(verdict, Verdict::RedirectCookie);
    (ack, record)
}

fn granted(ground: &Ground, (says, record): &(Says, Record)) -> Option<Grant> {
    let said = Said { front: &ground.front, door: &ground.doors[0], record };
    let mut header = Chunk::ZERO;
    grant(&Live(says.frame()), said, &mut header, |value| value)
}

fn families() -> [Says; 2] {
    [false, true].map(|is_v6| Says { is_v6, ..Says::default() })
}

#[test]
fn terms_of_linux_have_every_option() {
    let ground = Ground::new(0);
    for says in families() {
        let says = Says { options: linux_options(9_999, 8), ..says };
        let acknowledged = acknowledged(&ground, &says);
        let Grant { caller, terms } = granted(&ground, &acknowledged).unwrap();
        assert_eq!(caller, Caller { name: says.name().words(), is_ipv6: says.is_v6 });
        let echo = u32::from_be_bytes(acknowledged.0.options[8..].try_into().unwrap());
        let expected = Terms {
            stamp: 10_000,
            echo,
            mss: 1460,
            our_scale: 7,
            scale: 8,
            scales: 1,
            takes_sack: 1,
            is_stamped: 1,
            ..Terms::default()
        };
        assert_eq!(terms, expected);
    }
}

#[test]
fn terms_without_timestamps_have_an_mss_alone_and_one_that_the_kernel_takes() {
    let ground = Ground::new(0);
    for says in families() {
        let least = if says.is_v6 { 1220 } else { 536 };
        for (offered, mss) in [(None, least), (Some(100_u16), least), (Some(1460), 1460)] {
            let mss_option = |mss: u16| [&[2, 4][..], &mss.to_be_bytes()].concat();
            let options = offered.map(mss_option).unwrap_or_default();
            let acknowledged = acknowledged(&ground, &Says { options, ..says.clone() });
            let terms = granted(&ground, &acknowledged).unwrap().terms;
            assert_eq!(terms, Terms { mss, ..Terms::default() });
        }
    }
}

#[test]
fn terms_have_only_what_the_listener_offers() {
    let mut ground = Ground::new(0);
    let says = Says { options: linux_options(9_999, 8), ..Says::default() };
    for (left, scales, takes_sack) in [
        (Door::TIMESTAMPS, 0, 0),
        (Door::TIMESTAMPS | Door::WINDOW_SCALING, 1, 0),
        (Door::TIMESTAMPS | Door::SACK, 0, 1),
    ] {
        ground.doors[0].options = left;
        let terms = granted(&ground, &acknowledged(&ground, &says)).unwrap().terms;
        assert_eq!((terms.scales, terms.takes_sack, terms.is_stamped), (scales, takes_sack, 1));
    }
}

#[test]
fn record_of_another_frame_run_or_of_no_cookie_grants_nothing() {
    let ground = Ground::new(0);
    let (ack, record) = acknowledged(&ground, &Says::default());
    assert!(granted(&ground, &(ack.clone(), record)).is_some());
    for other in [
        Record { nonce: record.nonce ^ 2, ..record },
        Record { mss: Record::NO_COOKIE, ..record },
        Record { mss: MSS.len() as u8, ..record },
        Record { sequence: record.sequence.wrapping_add(1), ..record },
        Record { acknowledgment: record.acknowledgment.wrapping_add(1), ..record },
    ] {
        assert_eq!(granted(&ground, &(ack.clone(), other)), None);
    }
}

#[test]
fn options_in_any_order_and_broken_ones_are_read_or_passed_over() {
    let ground = Ground::new(0);
    let stamps = [8, 10, 0, 0, 0, 5, 0, 0, 0, 6];
    let (ack, record) = acknowledged(&ground, &Says::default());
    let read = |options: &[u8]| {
        let mut options = options.to_vec();
        options.resize(options.len().next_multiple_of(4), 0);
        let terms = granted(&ground, &(Says { options, ..ack.clone() }, record)).unwrap().terms;
        (terms.is_stamped, terms.stamp, terms.echo)
    };
    assert_eq!(read(&stamps), (1, 5, 6));
    assert_eq!(read(&[&[1, 1, 1, 1, 1][..], &stamps].concat()), (1, 5, 6));
    assert_eq!(read(&[&[5, 10, 0, 0, 0, 0, 0, 0, 0, 0][..], &stamps].concat()), (1, 5, 6));
    // After the end, with a length of nothing, with another length, cut off.
    for head in [&[0][..], &[99, 0], &[99, 1], &[8, 11]] {
        assert_eq!(read(&[head, &stamps].concat()), (0, 0, 0), "{head:?}");
    }
    assert_eq!(read(&[8, 10, 0, 0, 0, 5, 0, 0]), (0, 0, 0));
}

#[test]
fn caller_is_known_by_addresses_and_ports_as_they_travel() {
    for says in families() {
        let caller = caller(&says.frame()[..], MAC).unwrap();
        assert_eq!(caller, Caller { name: says.name().words(), is_ipv6: says.is_v6 });
        assert_eq!((caller.local(), caller.port()), (says.name().local, HTTP));
        let octets: Vec<u8> = caller.tuple().iter().flat_map(|word| word.to_ne_bytes()).collect();
        let ports = [40_000_u16.to_be_bytes(), HTTP.to_be_bytes()].concat();
        match says.is_v6 {
            true => assert_eq!(octets, [&PEER6[..], &SHARED6, &ports].concat()),
            false => assert_eq!(octets[..12], [&PEER[..], &SHARED, &ports].concat()),
        }
    }
    assert_eq!(mapped(SHARED), Says::default().name().local);
}

#[test]
fn frames_to_others_tagged_short_or_odd_have_no_caller() {
    let says = Says::default();
    assert_eq!(caller(&says.frame()[..], PEER_MAC), None);
    assert_eq!(caller(&Says { vlan: 5, ..says.clone() }.frame()[..], MAC), None);
    for says in families() {
        let whole = says.frame();
        for length in 0..whole.len() {
            assert_eq!(caller(&whole[..length], MAC), None, "{length}");
        }
    }
    // A first fragment, a header with options, another protocol.
    for (at, octet) in [(20, 0x20), (14, 0x46), (23, 17)] {
        let mut odd = says.frame();
        odd[at] = octet;
        assert_eq!(caller(&odd[..], MAC), None, "{at}");
    }
}
