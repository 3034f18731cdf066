use super::*;
use core::net::Ipv6Addr;
use proptest::prelude::*;

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);

fn addr(last: u16) -> Addr {
    Addr(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).octets())
}

fn carried(src: Addr, dst: Addr) -> Carried {
    Carried { src, dst, hop_limit: 255, is_fragment: false }
}

fn solicitation() -> Message {
    Message::Solicitation(Solicitation { target: addr(1), source_mac: Some(MAC) })
}

fn advertisement() -> Message {
    Message::Advertisement(Advertisement {
        target: addr(7),
        is_solicited: true,
        is_override: true,
        target_mac: Some(MAC),
    })
}

fn bytes(message: &Message) -> Vec<u8> {
    let mut bytes = vec![0xaa; LEN];
    let len = message.emit((&addr(7), &addr(1)), &mut bytes);
    bytes.truncate(len);
    bytes
}

/// How a message, changed, is read that came from one host to another.
fn read(message: &Message, change: impl FnOnce(&mut Vec<u8>, &mut Carried)) -> Option<Message> {
    let (mut bytes, mut carried) = (bytes(message), carried(addr(7), addr(1)));
    change(&mut bytes, &mut carried);
    Message::parse(&bytes, &carried).ok()
}

// RFC 4861 4.3 and 4.4.
#[test]
fn emit_is_byte_for_byte() {
    let target = |last| [&addr(last).0[..]].concat();
    let asked = bytes(&solicitation());
    assert_eq!((asked[..2].to_vec(), asked[4..8].to_vec()), (vec![135, 0], vec![0; 4]));
    assert_eq!(asked[8..], [&target(1)[..], &[1, 1, 2, 0, 0, 0, 0, 7]].concat());
    let told = bytes(&advertisement());
    assert_eq!((told[..2].to_vec(), told[4..8].to_vec()), (vec![136, 0], vec![0x60, 0, 0, 0]));
    assert_eq!(told[8..], [&target(7)[..], &[2, 1, 2, 0, 0, 0, 0, 7]].concat());
    let probe = Message::Solicitation(Solicitation { target: addr(1), source_mac: None });
    assert_eq!(bytes(&probe).len(), 24);
    for bytes in [asked, told] {
        let sum = checksum::pseudo_header(&addr(7), &addr(1), 58, bytes.len());
        assert_eq!(checksum::finish(sum + checksum::sum(&bytes)), 0);
    }
}

// RFC 4861 7.1.1 and 7.1.2; RFC 6980.
#[test]
fn parse_from_beyond_the_link_or_malformed_is_dropped() {
    for message in [solicitation(), advertisement()] {
        assert_eq!(read(&message, |_, _| {}), Some(message));
        assert_eq!(read(&message, |_, carried| carried.hop_limit = 254), None);
        assert_eq!(read(&message, |_, carried| carried.is_fragment = true), None);
        assert_eq!(read(&message, |bytes, _| bytes[1] = 1), None, "a code");
        assert_eq!(read(&message, |bytes, _| bytes[8] = 0xff), None, "a target that is a group");
        assert_eq!(read(&message, |bytes, _| bytes.truncate(23)), None);
        assert_eq!(read(&message, |bytes, _| bytes.truncate(31)), None, "half an option");
        assert_eq!(read(&message, |bytes, _| bytes[25] = 0), None, "an option without length");
        assert_eq!(read(&message, |bytes, _| bytes[25] = 2), None, "an option beyond the end");
        assert_eq!(read(&message, |bytes, _| bytes[26] = 3), None, "the address of a group");
    }
}

// RFC 4861 7.1.1: who has no address yet.
#[test]
fn parse_probe_for_a_duplicate_goes_to_the_solicited_group_and_says_no_address() {
    let group = ipv6::solicited_node(&addr(1));
    let probe = Message::Solicitation(Solicitation { target: addr(1), source_mac: None });
    let from = |message: &Message, dst| {
        read(message, |_, carried| (carried.src, carried.dst) = (Addr::UNSPECIFIED, dst))
    };
    assert_eq!(from(&probe, group), Some(probe));
    assert_eq!(from(&probe, ipv6::solicited_node(&addr(2))), None);
    assert_eq!(from(&probe, addr(1)), None);
    assert_eq!(from(&solicitation(), group), None);
}

// RFC 4861 7.1.2.
#[test]
fn parse_answer_to_everybody_is_dropped() {
    assert_eq!(read(&advertisement(), |_, carried| carried.dst = ipv6::ALL_NODES), None);
    let Message::Advertisement(told) = advertisement() else { panic!("it is one") };
    let unasked = Message::Advertisement(Advertisement { is_solicited: false, ..told });
    assert_eq!(read(&unasked, |_, carried| carried.dst = ipv6::ALL_NODES), Some(unasked));
}

// RFC 4861 4.6: unknown options are passed over.
#[test]
fn parse_unknown_options_are_passed_over() {
    let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
    let with = |bytes: &mut Vec<u8>, _: &mut Carried| drop(bytes.splice(24..24, nonce));
    for message in [solicitation(), advertisement()] {
        assert_eq!(read(&message, with), Some(message));
    }
}

proptest! {
    #[test]
    fn parse_any_bytes_never_panics(bytes: Vec<u8>, solicits: bool) {
        let kind = if solicits { 135 } else { 136 };
        let bytes = [&[kind, 0, 0, 0, 0x60, 0, 0, 0][..], &bytes].concat();
        let _ = Message::parse(&bytes, &carried(addr(7), addr(1)));
    }

    #[test]
    fn parse_what_was_emitted_is_the_same(
        target: u16, flags: [bool; 3], mac: Option<[u8; 5]>,
    ) {
        let [solicits, is_solicited, is_override] = flags;
        let target = addr(target);
        let mac = mac.map(|[b, c, d, e, f]| MacAddr([2, b, c, d, e, f]));
        let message = match solicits {
            true => Message::Solicitation(Solicitation { target, source_mac: mac }),
            false => Message::Advertisement(Advertisement {
                target, is_solicited, is_override, target_mac: mac,
            }),
        };
        prop_assert_eq!(read(&message, |_, _| {}), Some(message));
    }
}
