use super::*;
use core::net::Ipv6Addr;
use proptest::prelude::*;

fn addr(last: u16) -> Addr {
    Addr(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).octets())
}

fn packet(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_LEN];
    emit_header(&mut bytes, &addr(1), &addr(2), 6, payload.len());
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn emit_begins_with_version_length_protocol_and_hops() {
    assert_eq!(packet(&[1; 3])[..8], [0x60, 0, 0, 0, 0, 3, 6, 64]);
}

#[test]
fn parse_wrong_version_length_or_mapped_address_is_dropped() {
    let good = packet(&[1; 3]);
    let mut version = good.clone();
    version[0] = 0x40;
    let mut mapped = good.clone();
    mapped[8..24].copy_from_slice(&Addr::from(core::net::Ipv4Addr::new(10, 0, 0, 1)).0);
    for bytes in [&version[..], &mapped[..], &good[..good.len() - 1], &good[..39]] {
        assert_eq!(Packet::parse(bytes), Err(DropReason::DropIpHeader));
    }
}

#[test]
fn martian_ranges_are_known() {
    let multicast = Addr(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).octets());
    let loopback = Addr(Ipv6Addr::LOCALHOST.octets());
    for martian in [Addr::UNSPECIFIED, loopback, multicast] {
        assert!(is_martian_source(&martian) && !is_unicast(&martian), "{martian}");
    }
    assert!(is_unicast(&addr(1)) && !is_martian_source(&addr(1)));
}

#[test]
fn emit_for_says_class_label_and_hops() {
    let mut bytes = vec![0; HEADER_LEN];
    let delivery = Delivery { traffic_class: 0xb8, hop_limit: 7 };
    emit_header_for(&mut bytes, (&addr(1), &addr(2), 6), (delivery, 0xfff1_2345), 20);
    assert_eq!(bytes[..8], [0x6b, 0x81, 0x23, 0x45, 0, 20, 6, 7]);
}

// RFC 4291 2.7.1 and RFC 2464 7.
#[test]
fn solicited_node_group_has_the_last_three_octets() {
    let asked = Addr(Ipv6Addr::new(0x4037, 0, 0, 0, 0x1, 0x800, 0x200e, 0x8c6c).octets());
    let group = solicited_node(&asked);
    assert_eq!(group.to_string(), "ff02::1:ff0e:8c6c");
    assert_eq!(group_mac(&group), MacAddr([0x33, 0x33, 0xff, 0x0e, 0x8c, 0x6c]));
    assert!(is_multicast(&group) && !is_multicast(&asked));
    assert_eq!(ALL_NODES.to_string(), "ff02::1");
}

#[test]
fn link_local_is_one_prefix() {
    let of = |first| Addr(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 1).octets());
    assert!(is_link_local(&of(0xfe80)) && is_link_local(&of(0xfebf)));
    assert!(!is_link_local(&of(0xfec0)) && !is_link_local(&of(0x2001)));
}

proptest! {
    #[test]
    fn parse_any_bytes_never_panics(mut bytes: Vec<u8>) {
        let _ = Packet::parse(&bytes);
        if let Some(first) = bytes.first_mut() {
            *first = 0x60;
        }
        let _ = Packet::parse(&bytes);
    }

    #[test]
    fn parse_what_was_emitted_is_the_same(payload: Vec<u8>, padding in 0usize..50) {
        let bytes = packet(&payload);
        let padded = [&bytes[..], &vec![0xee; padding]].concat();
        let want = Packet {
            src: addr(1), dst: addr(2), next_header: 6, hop_limit: HOP_LIMIT, traffic_class: 0,
            bytes: &bytes, payload: &payload,
        };
        prop_assert_eq!(Packet::parse(&padded), Ok(want));
    }
}
