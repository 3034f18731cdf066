use super::*;
use core::net::Ipv4Addr;
use proptest::prelude::*;

const SRC: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const DST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().map(|c| c.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

/// A segment of bare options, padded with zeros as a header would be.
fn segment_with(options: &[u8]) -> Vec<u8> {
    let mut raw = options.to_vec();
    raw.resize(options.len().next_multiple_of(4), 0);
    let mut bytes = vec![0; HEADER_LEN + raw.len()];
    Header::default().emit(&raw, &mut bytes);
    bytes
}

fn options_of(options: &[u8]) -> Result<Options, DropReason> {
    Packet::parse(&segment_with(options)).map(|packet| packet.options)
}

/// Parses, checks the re-emission byte for byte, and gives the packet.
fn captured(text: &str, check: impl FnOnce(Packet<'_>)) {
    let bytes = hex(text);
    let (header, raw_options, payload) = split(&bytes).unwrap();
    assert!(payload.is_empty());
    let mut again = vec![0xaa; bytes.len()];
    assert_eq!(header.emit(raw_options, &mut again), bytes.len());
    assert_eq!(again, bytes);
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!(packet.header(), header);
    check(packet);
}

// CM-11.a.
#[test]
fn capture_syn_is_read_and_written_back() {
    captured("e1bc01bb01fae4a0000000008002faf0752e0000020405b40103030801010402", |syn| {
        assert_eq!((syn.src_port, syn.dst_port), (57_788, 443));
        assert_eq!((syn.seq, syn.ack, syn.flags), (33_219_744, 0, Flags::SYN));
        assert_eq!((syn.window, syn.checksum, syn.urgent), (64_240, 0x752e, 0));
        let want = Options {
            mss: Some(1460),
            window_scale: Some(8),
            sack_permitted: true,
            ..Options::NONE
        };
        assert_eq!(syn.options, want);
        assert_eq!(syn.sequence_len(), 1);
    });
}

// CM-11.a.
#[test]
fn capture_syn_ack_is_read_and_written_back() {
    captured("01bbe1bca114d4f901fae4a18012200099ed0000020405a00103030501010402", |syn_ack| {
        assert_eq!((syn_ack.src_port, syn_ack.dst_port), (443, 57_788));
        assert_eq!((syn_ack.seq, syn_ack.ack), (2_702_497_017, 33_219_745));
        assert_eq!(syn_ack.flags, Flags::SYN | Flags::ACK);
        assert_eq!((syn_ack.window, syn_ack.checksum), (8192, 0x99ed));
        let want = Options {
            mss: Some(1440),
            window_scale: Some(5),
            sack_permitted: true,
            ..Options::NONE
        };
        assert_eq!(syn_ack.options, want);
    });
}

// CM-11.a.
#[test]
fn capture_acks_and_fins_are_read_and_written_back() {
    let fin_ack = Flags::FIN | Flags::ACK;
    let client = (57_788, 443);
    let server = (443, 57_788);
    let all = [
        (
            "e1bc01bb01fae4a1a114d4fa5010020575220000",
            client,
            (33_219_745, 2_702_497_018),
            Flags::ACK,
            517,
        ),
        (
            "01bbe1bca114dfe901fafc98501105ccd1f60000",
            server,
            (2_702_499_817, 33_225_880),
            fin_ack,
            1484,
        ),
        (
            "e1bc01bb01fafc98a114dfea5010020275220000",
            client,
            (33_225_880, 2_702_499_818),
            Flags::ACK,
            514,
        ),
        (
            "e1bc01bb01fafc98a114dfea5011020275220000",
            client,
            (33_225_880, 2_702_499_818),
            fin_ack,
            514,
        ),
    ];
    for (text, ports, numbers, flags, window) in all {
        captured(text, |packet| {
            assert_eq!((packet.src_port, packet.dst_port), ports);
            assert_eq!((packet.seq, packet.ack), numbers);
            assert_eq!((packet.flags, packet.window), (flags, window));
            assert_eq!(packet.options, Options::NONE);
        });
    }
}

#[test]
fn parse_impossible_data_offset_is_dropped() {
    let good = segment_with(&[]);
    for offset in [0, 1, 4, 6, 15] {
        let mut bytes = good.clone();
        bytes[DATA_OFFSET_AT] = offset << 4;
        assert_eq!(Packet::parse(&bytes), Err(DropReason::DropTcpHeader), "{offset}");
    }
    for len in 0..HEADER_LEN {
        assert_eq!(Packet::parse(&good[..len]), Err(DropReason::DropTcpHeader));
    }
    let mut reserved = good.clone();
    reserved[DATA_OFFSET_AT] |= 0x0f;
    assert_eq!(Packet::parse(&reserved), Packet::parse(&good));
}

// CM-4.i.
#[test]
fn parse_option_with_impossible_length_is_dropped() {
    // RFC 9293 3.1 (MUST-7): zero, one, beyond the header, and no length at all.
    for raw in [
        &[99, 0, 0, 0][..],
        &[99, 1, 0, 0],
        &[99, 5, 0, 0],
        &[2, 255, 5, 180],
        &[1, 1, 1, 99],
        &[1, 1, 1, 2],
    ] {
        assert_eq!(options_of(raw), Err(DropReason::DropTcpOption), "{raw:?}");
    }
}

#[test]
fn parse_known_option_with_wrong_length_is_dropped() {
    for raw in [
        &[2, 3, 5, 0][..],
        &[2, 5, 5, 180, 0],
        &[3, 2],
        &[3, 4, 7, 7],
        &[4, 3, 0],
        &[8, 9, 0, 0, 0, 0, 0, 0, 0],
        &[8, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[5, 2],
        &[5, 6, 0, 0, 0, 0],
        &[5, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[28, 3, 0],
    ] {
        assert_eq!(options_of(raw), Err(DropReason::DropTcpOption), "{raw:?}");
    }
}

// CM-4.h.
#[test]
fn parse_unknown_options_are_passed_over() {
    // RFC 9293 3.1 (MUST-6): whatever their length, what follows them is still read.
    for unknown in [&[99, 2][..], &[99, 3, 8], &[34, 10, 1, 2, 3, 4, 5, 6, 7, 8], &[254, 4, 2, 4]] {
        let raw = [unknown, &[2, 4, 5, 180]].concat();
        assert_eq!(options_of(&raw).unwrap().mss, Some(1460), "{raw:?}");
    }
}

#[test]
fn parse_end_of_options_ends_them() {
    // RFC 9293 3.1 (MUST-5): end of list and no-operation, whatever lies behind the end.
    assert_eq!(options_of(&[1, 0, 2, 4, 5, 180]), Ok(Options::NONE));
    assert_eq!(options_of(&[0, 99, 0]), Ok(Options::NONE));
    assert_eq!(options_of(&[1, 2, 4, 5, 180, 1, 0]).unwrap().mss, Some(1460));
}

#[test]
fn parse_options_at_any_alignment_and_order_are_the_same() {
    // RFC 9293 3.1 (MUST-4, MUST-64): the receiver relies on no alignment.
    let pieces: [&[u8]; 4] =
        [&[2, 4, 5, 180], &[3, 3, 7], &[4, 2], &[8, 10, 0, 0, 0, 1, 0, 0, 0, 2]];
    let want = Options {
        mss: Some(1460),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some(Timestamps { value: 1, echo: 2 }),
        ..Options::NONE
    };
    for first in 0..4 {
        for nops in 0..5 {
            let mut raw = vec![1; nops];
            (0..4).for_each(|n| raw.extend_from_slice(pieces[(first + n) % 4]));
            assert_eq!(options_of(&raw), Ok(want), "{raw:?}");
        }
    }
}

#[test]
fn parse_timestamps_of_the_fast_path_need_the_very_length() {
    let stamps = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
    let want = Options { timestamps: Some(Timestamps { value: 1, echo: 2 }), ..Options::NONE };
    assert_eq!(options_of(&stamps), Ok(want));
    let with_sack = [&stamps[..], &[1, 1, 5, 10, 0, 0, 0, 3, 0, 0, 0, 4]].concat();
    let want = Options { sack: [(3, 4)].into_iter().collect(), ..want };
    assert_eq!(options_of(&with_sack), Ok(want));
}

// RFC 9293 3.1 (MUST-68, MUST-69), CM-4.j: whole words, every byte accounted for.
#[test]
fn emit_syn_options_stand_in_linux_order() {
    let mut options = Options {
        mss: Some(1460),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some(Timestamps { value: 0x0102_0304, echo: 0 }),
        ..Options::NONE
    };
    let mut buf = [0xaa; 40];
    assert_eq!(options.emit(&mut buf), 20);
    assert_eq!(buf[..20], hex("020405b40402080a010203040000000001030307"));
    options.timestamps = None;
    assert_eq!(options.emit(&mut buf), 12);
    assert_eq!(buf[..12], hex("020405b40101040201030307"));
    options.sack_permitted = false;
    assert_eq!(options.emit(&mut buf), 8);
    assert_eq!(buf[..8], hex("020405b401030307"));
}

// CM-4.j.
#[test]
fn emit_data_options_stand_in_linux_order() {
    let options = Options {
        timestamps: Some(Timestamps { value: 1, echo: 2 }),
        sack: [(3, 4), (5, 6)].into_iter().collect(),
        ..Options::NONE
    };
    let mut buf = [0xaa; 40];
    assert_eq!(options.emit(&mut buf), 32);
    assert_eq!(buf[..32], hex("0101080a00000001000000020101051200000003000000040000000500000006"));
}

#[test]
fn emit_sack_blocks_without_room_leave_the_last_out() {
    let all: SackBlocks = (0..5).map(|n| (n, n + 1)).collect();
    assert_eq!(all.len(), 4);
    let mut options = Options { sack: all, ..Options::NONE };
    assert_eq!(options.len(), 36);
    options.timestamps = Some(Timestamps::default());
    assert_eq!(options.len(), 40);
    let mut buf = [0; 40];
    assert_eq!(options.emit(&mut buf), 40);
    let parsed = Options::parse(&buf).unwrap();
    assert_eq!(parsed.sack.as_slice(), &all.as_slice()[..3]);
}

#[test]
fn emit_sack_blocks_beside_any_other_options_fit_the_header() {
    for bits in 0..32 {
        let options = Options {
            mss: (bits & 1 != 0).then_some(1460),
            window_scale: (bits & 2 != 0).then_some(7),
            sack_permitted: bits & 4 != 0,
            timestamps: (bits & 8 != 0).then_some(Timestamps::default()),
            user_timeout: (bits & 16 != 0).then_some(60),
            sack: (0..4).map(|n| (n, n + 1)).collect(),
        };
        let mut buf = [0; HEADER_LEN + MAX_OPTIONS_LEN];
        let len = emit(&Header::default(), &options, &mut buf);
        let parsed = Packet::parse(&buf[..len]).unwrap().options;
        assert!(!parsed.sack.is_empty(), "{options:?}");
        assert_eq!(Options { sack: options.sack, ..parsed }, options);
    }
}

#[test]
#[should_panic(expected = "whole words")]
fn emit_raw_options_of_a_broken_word_panic() {
    Header::default().emit(&[1; 3], &mut [0; 40]);
}

// RFC 9293 3.1 (MUST-2, MUST-3), CM-9.d: made by the sender, checked by the receiver.
#[test]
fn verify_known_segment_is_right_and_any_flipped_bit_wrong() {
    // Computed by hand over pseudo-header and segment.
    let mut bytes = [&segment_with(&[]), &b"odd"[..]].concat();
    let payload = checksum::sum(b"odd");
    fill_checksum(&mut bytes, &SRC.into(), &DST.into(), payload);
    let sum = 2 * 0xc000 + 2 * 0x0200 + 3 + 6 + 23 + 0x5000 + 0x6f64 + 0x6400u32;
    let sum = (sum & 0xffff) + (sum >> 16);
    assert_eq!(bytes[16..18], (!(sum as u16)).to_be_bytes());
    // RFC 9293 3.1 (MUST-3): a receiver notices.
    assert!(verify(&bytes, &SRC.into(), &DST.into()));
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(!verify(&bytes, &SRC.into(), &DST.into()), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(!verify(&bytes, &SRC.into(), &SRC.into()));
}

#[test]
fn flags_are_named_in_debug_output() {
    assert_eq!(format!("{:?}", Flags::SYN | Flags::ACK), "SYN|ACK");
    assert_eq!(format!("{:?}", Flags::NONE), "NONE");
    assert!(Flags(0x12).contains(Flags::ACK) && !Flags(0x12).contains(Flags::ACK | Flags::FIN));
    assert!(Flags(0x12).has(Flags::ACK | Flags::FIN) && !Flags(0x12).has(Flags::FIN));
    assert_eq!(Flags(0x12).without(Flags::SYN), Flags::ACK);
}

prop_compose! {
    fn any_header()(
        ports: (u16, u16), numbers: (u32, u32), flags: u8, rest: (u16, u16, u16),
    ) -> Header {
        Header {
            src_port: ports.0, dst_port: ports.1, seq: numbers.0, ack: numbers.1,
            flags: Flags(flags), window: rest.0, checksum: rest.1, urgent: rest.2,
        }
    }
}

prop_compose! {
    /// Options that fit in 40 bytes.
    fn any_options()(
        mss: Option<u16>, window_scale: Option<u8>, sack_permitted: bool,
        stamps: Option<(u32, u32)>, user_timeout: Option<u16>,
        mut sack in prop::collection::vec(any::<(u32, u32)>(), 0..5),
    ) -> Options {
        let timestamps = stamps.map(|(value, echo)| Timestamps { value, echo });
        let rest = Options { mss, window_scale, sack_permitted, timestamps, user_timeout, ..Options::NONE };
        let room = MAX_OPTIONS_LEN - rest.len();
        sack.truncate(room.saturating_sub(4) / 8);
        Options { sack: sack.into_iter().collect(), ..rest }
    }
}

proptest! {
    #[test]
    fn parse_any_bytes_never_panics(mut bytes: Vec<u8>, offset in 4u8..16) {
        let _ = Packet::parse(&bytes);
        if let Some(byte) = bytes.get_mut(DATA_OFFSET_AT) {
            *byte = offset << 4;
        }
        let _ = Packet::parse(&bytes);
        let _ = verify(&bytes, &SRC.into(), &DST.into());
        let _ = ports(&bytes);
    }

    #[test]
    fn parse_any_options_never_panics(bytes in prop::collection::vec(0u8..32, 0..=40)) {
        let _ = Options::parse(&bytes);
    }

    #[test]
    fn parse_what_was_emitted_is_the_same(header in any_header(), options in any_options(), payload: Vec<u8>) {
        let mut bytes = vec![0xaa; HEADER_LEN + MAX_OPTIONS_LEN];
        let len = emit(&header, &options, &mut bytes);
        prop_assert_eq!(len, HEADER_LEN + options.len());
        bytes.truncate(len);
        bytes.extend_from_slice(&payload);
        let zero = Header { checksum: 0, ..header };
        let packet = Packet::parse(&bytes).unwrap();
        prop_assert_eq!(packet.header(), zero);
        prop_assert_eq!(packet.options, options);
        prop_assert_eq!(packet.payload, &payload[..]);

        fill_checksum(&mut bytes, &SRC.into(), &DST.into(), checksum::sum(&payload));
        prop_assert!(verify(&bytes, &SRC.into(), &DST.into()));
    }

    #[test]
    fn split_and_emit_keep_every_byte(header in any_header(), raw in prop::collection::vec(any::<[u8; 4]>(), 0..=10)) {
        let raw = raw.concat();
        let mut bytes = vec![0; HEADER_LEN + raw.len()];
        prop_assert_eq!(header.emit(&raw, &mut bytes), bytes.len());
        prop_assert_eq!(split(&bytes), Ok((header, &raw[..], &[][..])));
    }
}
