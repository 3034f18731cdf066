use super::*;
use core::net::Ipv4Addr;
use proptest::prelude::*;

/// RFC 1071 section 4.1, word by word.
fn reference(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn sum_rfc_1071_example_is_as_printed() {
    let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(finish(sum(&bytes)), !0xddf2);
}

#[test]
fn sum_every_length_and_alignment_is_the_reference() {
    let bytes = noise(700);
    for start in 0..17 {
        for end in start..bytes.len() {
            let piece = &bytes[start..end];
            assert_eq!(finish(sum(piece)), reference(piece), "{start}..{end}");
        }
    }
}

#[test]
fn sum_largest_packet_of_ones_does_not_overflow() {
    let bytes = vec![0xff; 1 << 20];
    assert_eq!(finish(sum(&bytes)), reference(&bytes));
    let mut partial = Partial::ZERO;
    for _ in 0..100_000 {
        partial += sum(&bytes[..65_536]);
    }
    assert_eq!(finish(partial), 0);
}

#[test]
fn copy_and_sum_every_length_copies_and_sums() {
    let bytes = noise(600);
    for start in 0..9 {
        for end in start..bytes.len() {
            let src = &bytes[start..end];
            let mut dst = vec![0xaa; src.len() + 2];
            let partial = copy_and_sum(&mut dst[1..=src.len()], src);
            assert_eq!(finish(partial), reference(src), "{start}..{end}");
            assert_eq!(&dst[1..=src.len()], src);
            assert_eq!((dst[0], dst[src.len() + 1]), (0xaa, 0xaa));
        }
    }
}

#[test]
fn pseudo_header_of_ipv4_is_the_twelve_bytes() {
    let (src, dst) = (Ipv4Addr::new(192, 168, 0, 1), Ipv4Addr::new(10, 255, 254, 253));
    for len in [0u16, 20, 1480, 65_515] {
        let [a, b] = len.to_be_bytes();
        let bytes = [&src.octets()[..], &dst.octets(), &[0, 6, a, b]].concat();
        let partial = pseudo_header(&src.into(), &dst.into(), 6, len.into());
        assert_eq!(finish(partial), reference(&bytes));
    }
}

#[test]
fn pseudo_header_of_ipv6_is_the_forty_bytes() {
    let (src, dst) = (Addr(*noise(16).first_chunk().unwrap()), Addr([0xfe; 16]));
    for len in [0u32, 20, 0x0012_3456] {
        let bytes = [&src.0[..], &dst.0, &len.to_be_bytes(), &[0, 0, 0, 58]].concat();
        assert_eq!(finish(pseudo_header(&src, &dst, 58, len as usize)), reference(&bytes));
    }
}

proptest! {
    #[test]
    fn sum_of_pieces_is_the_sum_of_the_whole(bytes: Vec<u8>, cut: prop::sample::Index) {
        let cut = cut.index(bytes.len() + 1);
        let (head, tail) = bytes.split_at(cut);
        let tail_sum = if cut % 2 == 0 { sum(tail) } else { sum(tail).at_odd_offset() };
        prop_assert_eq!(finish(sum(head) + tail_sum), reference(&bytes));
    }

    #[test]
    fn finish_over_a_filled_in_checksum_is_zero(mut bytes in prop::collection::vec(any::<u8>(), 2..200)) {
        bytes[..2].fill(0);
        let sum_of_all = finish(sum(&bytes));
        bytes[..2].copy_from_slice(&sum_of_all.to_be_bytes());
        prop_assert_eq!(finish(sum(&bytes)), 0);
    }

    #[test]
    fn word_is_the_sum_of_its_bytes(value: u16) {
        prop_assert_eq!(finish(Partial::word(value)), !value);
    }
}

proptest! {
    // RFC 1071: what is right is told in fewer steps, and alike; also with a checksum that makes it right.
    #[test]
    fn right_is_what_finishes_at_zero(mut bytes in proptest::collection::vec(any::<u8>(), 2..200), is_made in any::<bool>()) {
        if is_made {
            bytes[..2].fill(0);
            let made = finish(sum(&bytes));
            bytes[..2].copy_from_slice(&made.to_be_bytes());
        }
        prop_assert_eq!(is_right(sum(&bytes)), finish(sum(&bytes)) == 0);
        prop_assert!(!is_made || is_right(sum(&bytes)) || bytes.iter().all(|byte| *byte == 0));
    }
}

#[test]
fn sums_at_the_edges_are_right_or_not_as_their_ends_say() {
    for value in [0, 1, 0xfffe, 0xffff, 0x1_0000, 0x1_fffe, u64::MAX - 1, u64::MAX] {
        assert_eq!(is_right(Partial(value)), finish(Partial(value)) == 0, "{value:x}");
    }
}
