use super::*;
use proptest::prelude::*;

const SRC: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const DST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

fn packet(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xaa; 5 + HEADER_LEN];
    assert_eq!(emit_header(&mut bytes, &SRC.into(), &DST.into(), 6, payload.len()), HEADER_LEN);
    let mut bytes = bytes.split_off(5);
    bytes.extend_from_slice(payload);
    bytes
}

/// The packet after a change of its header, with the checksum made right again.
fn changed(payload: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = packet(payload);
    change(&mut bytes);
    bytes[10..12].fill(0);
    let header_len = (usize::from(bytes[0] & 15) * 4).min(bytes.len());
    let sum = checksum::finish(checksum::sum(&bytes[..header_len]));
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes
}

fn dropped(bytes: &[u8], reason: DropReason) {
    assert_eq!(Packet::parse(bytes), Err(reason), "{bytes:?}");
}

#[test]
fn emit_header_is_byte_for_byte() {
    let want = [0x45, 0, 0, 21, 0, 0, 0x40, 0, 64, 6, 0xb6, 0xdf, 192, 0, 2, 1, 192, 0, 2, 2, 7];
    assert_eq!(packet(&[7]), want);
}

#[test]
fn parse_trailing_padding_is_cut_off() {
    let mut bytes = packet(&[7]);
    let len = bytes.len();
    bytes.resize(46, 0xee);
    let parsed = Packet::parse(&bytes).unwrap();
    assert_eq!((parsed.payload, parsed.bytes), (&[7][..], &bytes[..len]));
    assert_eq!((parsed.src, parsed.dst), (SRC.into(), DST.into()));
    assert_eq!((parsed.protocol, parsed.ttl, parsed.tos, parsed.ident), (6, 64, 0, 0));
}

// RFC 9293 3.9.2 (MUST-50): whatever they are, TCP comes behind them.
#[test]
fn parse_options_are_skipped() {
    let bytes = changed(&[7; 10], |bytes| bytes[0] = 0x46);
    assert_eq!(Packet::parse(&bytes).unwrap().payload, &[7; 6]);
}

// RFC 7126 4.3 and 4.4: a recorded deviation from RFC 9293 3.9.2.1.
#[test]
fn parse_source_routes_are_dropped_and_other_options_are_not() {
    let with =
        |options: [u8; 8]| changed(&[&options[..], &[7; 4]].concat(), |bytes| bytes[0] = 0x47);
    for route in [
        [131, 7, 4, 10, 0, 0, 9, 0],
        [137, 7, 4, 10, 0, 0, 9, 0],
        [1, 131, 7, 4, 10, 0, 0, 9],
        // Behind an option that is passed over by its length.
        [7, 3, 4, 137, 3, 4, 0, 0],
    ] {
        dropped(&with(route), DropReason::DropSourceRoute);
    }
    // Record route, timestamp, what lies behind the end, and nonsense.
    for other in [
        [7, 7, 4, 0, 0, 0, 0, 0],
        [68, 8, 5, 0, 0, 0, 0, 0],
        [0, 131, 7, 4, 10, 0, 0, 9],
        [148, 131, 0, 0, 0, 0, 0, 0],
        [7, 0, 131, 7, 4, 0, 0, 0],
    ] {
        assert_eq!(Packet::parse(&with(other)).unwrap().payload, &[7; 4], "{other:?}");
    }
}

#[test]
fn parse_fragments_are_dropped() {
    for (high, low) in [(0x20, 0), (0, 1), (0x1f, 0xff), (0x60, 0)] {
        let bytes = changed(&[7; 8], |bytes| bytes[6..8].copy_from_slice(&[high, low]));
        dropped(&bytes, DropReason::DropFragment);
    }
    let whole = changed(&[7; 8], |bytes| bytes[6] = 0);
    assert!(Packet::parse(&whole).is_ok());
}

#[test]
fn parse_malformed_header_is_dropped() {
    for first in [0x44, 0x40, 0x55, 0x65, 0x4f] {
        dropped(&changed(&[7; 8], |bytes| bytes[0] = first), DropReason::DropIpHeader);
    }
    for total_len in [0, 19, 29, 255] {
        dropped(&changed(&[7; 8], |bytes| bytes[3] = total_len), DropReason::DropIpHeader);
    }
    // The total length ends within the options.
    let bytes = changed(&[7; 8], |bytes| {
        bytes[0] = 0x46;
        bytes[3] = 20;
    });
    dropped(&bytes, DropReason::DropIpHeader);
}

#[test]
fn parse_any_flipped_bit_of_the_header_is_dropped() {
    let mut bytes = packet(&[7; 8]);
    for bit in 0..HEADER_LEN * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Packet::parse(&bytes).is_err(), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

// CM-7.k: RFC 9293 3.9.2.3 (MUST-63).
#[test]
fn martian_ranges_are_known() {
    // RFC 1122 3.2.1.3; RFC 9293 3.9.2.3 (MUST-57).
    for martian in [
        [0, 0, 0, 0],
        [0, 1, 2, 3],
        [127, 0, 0, 1],
        [127, 255, 255, 255],
        [224, 0, 0, 1],
        [239, 255, 255, 255],
        [240, 0, 0, 1],
        [255, 255, 255, 255],
    ] {
        let addr = Addr::from(Ipv4Addr::from(martian));
        assert!(is_martian_source(&addr) && !is_unicast(&addr), "{addr}");
    }
    for host in [[1, 0, 0, 1], [10, 0, 0, 1], [126, 255, 255, 255], [128, 0, 0, 1], [223, 1, 1, 1]]
    {
        let addr = Addr::from(Ipv4Addr::from(host));
        assert!(!is_martian_source(&addr) && is_unicast(&addr), "{addr}");
    }
    assert!(is_martian_source(&Addr([0x20; 16])));
}

proptest! {
    #[test]
    fn parse_any_bytes_never_panics(mut bytes: Vec<u8>, first in 0x40u8..0x50) {
        let _ = Packet::parse(&bytes);
        let _ = Quote::parse(&bytes);
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        let _ = Packet::parse(&bytes);
        let _ = Quote::parse(&bytes);
    }

    #[test]
    fn parse_what_was_emitted_is_the_same(
        addrs: [[u8; 4]; 2], protocol: u8, payload: Vec<u8>, padding in 0usize..50,
    ) {
        let (src, dst) = (Ipv4Addr::from(addrs[0]).into(), Ipv4Addr::from(addrs[1]).into());
        let mut bytes = vec![0; HEADER_LEN];
        emit_header(&mut bytes, &src, &dst, protocol, payload.len());
        bytes.extend_from_slice(&payload);
        let padded = [&bytes[..], &vec![0xee; padding]].concat();
        let want = Packet {
            src, dst, protocol, ttl: TTL, tos: 0, ident: 0, bytes: &bytes, payload: &payload,
        };
        prop_assert_eq!(Packet::parse(&padded), Ok(want));
    }
}
