use super::*;
use crate::wire::FourTuple;
use crate::wire::icmp::Answer;
use core::net::Ipv6Addr;
use proptest::prelude::*;

fn addr(last: u16) -> Addr {
    Addr(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).octets())
}

fn carried() -> Carried {
    Carried { src: addr(7), dst: addr(1), hop_limit: 64, is_fragment: false }
}

/// A message with its checksum.
fn message(kind: u8, code: u8, rest: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = [&[kind, code, 0, 0][..], &rest.to_be_bytes(), body].concat();
    let Carried { src, dst, .. } = carried();
    let sum = checksum::pseudo_header(&src, &dst, 58, bytes.len()) + checksum::sum(&bytes);
    bytes[2..4].copy_from_slice(&checksum::finish(sum).to_be_bytes());
    bytes
}

fn parse(bytes: &[u8]) -> Result<Message<'_>, DropReason> {
    Message::parse(bytes, &carried())
}

/// The first bytes of a segment of ours from port 80 to port 5000, sequence number 0x01020304.
fn quoted_segment(next_header: u8) -> Vec<u8> {
    let mut bytes = vec![0; ipv6::HEADER_LEN];
    ipv6::emit_header(&mut bytes, &addr(1), &addr(2), next_header, 1440);
    bytes.extend_from_slice(&[0, 80, 0x13, 0x88, 1, 2, 3, 4]);
    bytes
}

fn quoted() -> Quoted {
    let tuple = FourTuple { local: addr(1), remote: addr(2), local_port: 80, remote_port: 5000 };
    Quoted { tuple, seq: 0x0102_0304 }
}

#[test]
fn parse_errors_name_the_quoted_flow_as_ours_in_the_words_of_ipv4() {
    for (kind, code, error) in [
        (1, 0, Error::DestinationUnreachable { code: 0 }),
        (1, 1, Error::DestinationUnreachable { code: 13 }),
        (1, 3, Error::DestinationUnreachable { code: 1 }),
        (1, 4, Error::DestinationUnreachable { code: 3 }),
        (1, 77, Error::DestinationUnreachable { code: 255 }),
        (2, 0, Error::FragmentationNeeded { mtu: 1400 }),
        (3, 0, Error::TimeExceeded { code: 0 }),
        (4, 1, Error::ParameterProblem { code: 1 }),
    ] {
        let bytes = message(kind, code, 1400, &quoted_segment(6));
        assert_eq!(parse(&bytes), Ok(Message::Error(error, quoted())));
    }
}

// RFC 8201 4.
#[test]
fn parse_packet_too_big_below_what_every_link_carries_is_dropped() {
    let claim = |mtu| {
        let bytes = message(2, 0, mtu, &quoted_segment(6));
        match parse(&bytes) {
            Ok(Message::Error(Error::FragmentationNeeded { mtu }, _)) => Ok(mtu),
            other => Err(other.map(|_| ())),
        }
    };
    assert_eq!(claim(1280), Ok(1280));
    assert_eq!(claim(u32::MAX), Ok(u16::MAX));
    for mtu in [0, 68, 1279] {
        assert_eq!(claim(mtu), Err(Err(DropReason::DropIcmp)));
    }
}

#[test]
fn parse_error_without_eight_bytes_of_tcp_is_dropped() {
    let segment = quoted_segment(6);
    let mut old = segment.clone();
    old[0] = 0x40;
    for body in [&segment[..47], &segment[..39], &[], &quoted_segment(17), &old] {
        assert_eq!(parse(&message(1, 4, 0, body)), Err(DropReason::DropIcmp));
    }
}

// RFC 4443 2.3: with other addresses it is another sum.
#[test]
fn parse_checksum_covers_the_addresses() {
    let bytes = message(128, 0, 0x0001_0002, b"ping");
    let echo = Echo { ident: 1, seq: 2, payload: b"ping" };
    assert_eq!(parse(&bytes), Ok(Message::EchoRequest(echo)));
    let elsewhere = Carried { dst: addr(9), ..carried() };
    assert_eq!(Message::parse(&bytes, &elsewhere), Err(DropReason::DropChecksum));
}

#[test]
fn parse_short_message_and_other_types_are_dropped() {
    let short = message(128, 0, 0, &[]);
    // The last three are of routers and of listeners to groups.
    let others = [128, 133, 134, 143].map(|kind| message(kind, u8::from(kind == 128), 0, &[0; 24]));
    for bytes in [&short[..7], &[]].into_iter().chain(others.iter().map(Vec::as_slice)) {
        assert_eq!(parse(bytes), Err(DropReason::DropIcmp));
    }
}

proptest! {
    #[test]
    fn parse_any_bytes_never_panics(bytes: Vec<u8>, kind: u8, code: u8, rest: u32) {
        let _ = parse(&bytes);
        let _ = parse(&message(kind, code, rest, &bytes));
        for kind in [1, 2, 135, 136] {
            let _ = parse(&message(kind, 0, rest, &bytes));
        }
    }

    #[test]
    fn parse_an_emitted_reply_is_the_same_echo(ident: u16, seq: u16, payload: Vec<u8>) {
        let Carried { src, dst, .. } = carried();
        let mut bytes = vec![0; 8 + payload.len()];
        let len = Answer::EchoReply { ident, seq }.emit(Some((&src, &dst)), &payload, &mut bytes);
        prop_assert_eq!(len, bytes.len());
        let echo = Echo { ident, seq, payload: &payload };
        prop_assert_eq!(parse(&bytes), Ok(Message::EchoReply(echo)));
    }
}
