use super::*;
use core::net::Ipv4Addr;
use proptest::prelude::*;

const OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

/// A message with its checksum.
fn message(kind: u8, code: u8, rest: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut bytes = [&[kind, code, 0, 0][..], &rest, body].concat();
    let sum = checksum::finish(checksum::sum(&bytes));
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// The first bytes of a segment of ours from port 80 to port 5000, sequence number 0x01020304.
fn quoted_segment(protocol: u8) -> Vec<u8> {
    let mut bytes = vec![0; ipv4::HEADER_LEN];
    ipv4::emit_header(&mut bytes, &OURS.into(), &PEER.into(), protocol, 1460);
    bytes.extend_from_slice(&[0, 80, 0x13, 0x88, 1, 2, 3, 4]);
    bytes
}

fn quoted() -> Quoted {
    let tuple =
        FourTuple { local: OURS.into(), remote: PEER.into(), local_port: 80, remote_port: 5000 };
    Quoted { tuple, seq: 0x0102_0304 }
}

#[test]
fn parse_errors_name_the_quoted_flow_as_ours() {
    for (kind, code, error) in [
        (3, 1, Error::DestinationUnreachable { code: 1 }),
        (3, 3, Error::DestinationUnreachable { code: 3 }),
        (3, 4, Error::FragmentationNeeded { mtu: 1400 }),
        (4, 0, Error::SourceQuench),
        (11, 0, Error::TimeExceeded { code: 0 }),
        (12, 0, Error::ParameterProblem { code: 0 }),
    ] {
        let bytes = message(kind, code, [0, 0, 0x05, 0x78], &quoted_segment(6));
        assert_eq!(Message::parse(&bytes), Ok(Message::Error(error, quoted())));
    }
}

#[test]
fn parse_error_without_eight_bytes_of_tcp_is_dropped() {
    let segment = quoted_segment(6);
    let mut fragment = segment.clone();
    fragment[7] = 1;
    let mut overlong = segment.clone();
    overlong[0] = 0x48;
    for body in [&segment[..27], &segment[..19], &[], &quoted_segment(17), &fragment, &overlong] {
        let bytes = message(3, 1, [0; 4], body);
        assert_eq!(Message::parse(&bytes), Err(DropReason::DropIcmp));
    }
}

#[test]
fn parse_error_quoting_options_finds_the_segment_behind_them() {
    let mut segment = quoted_segment(6);
    segment[0] = 0x46;
    segment.splice(20..20, [1, 1, 1, 0]);
    let bytes = message(3, 1, [0; 4], &segment);
    let want = Message::Error(Error::DestinationUnreachable { code: 1 }, quoted());
    assert_eq!(Message::parse(&bytes), Ok(want));
}

#[test]
fn parse_wrong_checksum_is_dropped() {
    let mut bytes = message(8, 0, [0, 1, 0, 2], b"ping");
    bytes[9] ^= 1;
    assert_eq!(Message::parse(&bytes), Err(DropReason::DropChecksum));
}

#[test]
fn parse_short_message_and_other_types_are_dropped() {
    let short = message(8, 0, [0; 4], &[]);
    for bytes in [&short[..7], &[], &message(13, 0, [0; 4], &[0; 12]), &message(8, 1, [0; 4], &[])]
    {
        assert_eq!(Message::parse(bytes), Err(DropReason::DropIcmp));
    }
}

#[test]
fn emit_reply_is_the_request_with_another_type() {
    let request = message(8, 0, [0x12, 0x34, 0, 9], b"odd");
    let Ok(Message::EchoRequest(echo)) = Message::parse(&request) else {
        panic!("no echo request");
    };
    let mut reply = [0xaa; 20];
    let len = echo.emit_reply(&mut reply);
    assert_eq!(reply[..len], message(0, 0, [0x12, 0x34, 0, 9], b"odd"));
}

proptest! {
    #[test]
    fn parse_any_bytes_never_panics(bytes: Vec<u8>, kind: u8, code: u8, rest: [u8; 4]) {
        let _ = Message::parse(&bytes);
        let _ = Message::parse(&message(kind, code, rest, &bytes));
        let _ = Message::parse(&message(3, code, rest, &bytes));
    }

    #[test]
    fn parse_any_cut_quote_never_panics(mut body: Vec<u8>, len in 0usize..40) {
        let mut quote = quoted_segment(6);
        quote.append(&mut body);
        quote.truncate(len);
        let _ = Message::parse(&message(11, 0, [0; 4], &quote));
    }

    #[test]
    fn parse_an_emitted_reply_is_the_same_echo(ident: u16, seq: u16, payload: Vec<u8>) {
        let echo = Echo { ident, seq, payload: &payload };
        let mut bytes = vec![0; echo.reply_len()];
        prop_assert_eq!(echo.emit_reply(&mut bytes), bytes.len());
        prop_assert_eq!(Message::parse(&bytes), Ok(Message::EchoReply(echo)));
    }
}
