use proptest::prelude::*;

use super::*;
use crate::counters::DropReason;
use crate::wire::ethernet::{ETHERTYPE_IPV4, Frame};
use crate::wire::tcp::{Header, Options, Packet};
use crate::wire::{Addr, ethernet, ipv4, tcp};

/// A frame: its receiver and its sender on the link, the other headers, and the text.
type Whole<'a> = ([MacAddr; 2], Fields, &'a [u8]);

fn whole(bytes: &[u8], verifies: bool) -> Option<Whole<'_>> {
    Usual::read(bytes, verifies)
        .map(|usual| ([usual.to(), usual.from()], usual.fields(), usual.text()))
}

/// What the parsers of each layer make of a frame, where it has the usual form.
fn layer_by_layer(bytes: &[u8], verifies: bool) -> Result<Option<Whole<'_>>, DropReason> {
    let frame = Frame::parse(bytes, None)?;
    if frame.ethertype != ETHERTYPE_IPV4 {
        return Ok(None);
    }
    let packet = ipv4::Packet::parse(frame.payload)?;
    let has_options = packet.payload.as_ptr() as usize - packet.bytes.as_ptr() as usize != IP;
    if packet.protocol != PROTOCOL_TCP || has_options {
        return Ok(None);
    }
    let segment = Packet::parse(packet.payload)?;
    if verifies && !tcp::verify(packet.payload, &packet.src, &packet.dst) {
        return Err(DropReason::DropChecksum);
    }
    let is_usual = packet.payload.len() - segment.payload.len() == 32
        && packet.payload[20..24] == STAMPS
        && segment.options == Options { timestamps: segment.options.timestamps, ..Options::NONE };
    let Some(stamps) = segment.options.timestamps.filter(|_| is_usual) else { return Ok(None) };
    let fields = Fields {
        src: ipv4::octets(&packet.src),
        dst: ipv4::octets(&packet.dst),
        src_port: segment.src_port,
        dst_port: segment.dst_port,
        seq: segment.seq,
        ack: segment.ack,
        flags: segment.flags,
        window: segment.window,
        urgent: segment.urgent,
        stamps,
    };
    Ok(Some(([frame.dst, frame.src], fields, segment.payload)))
}

fn frame(header: Header, stamps: Timestamps, text: &[u8], padding: usize) -> Vec<u8> {
    let (src, dst): (Addr, Addr) = ([192, 0, 2, 7], [198, 51, 100, 9]).into_addrs();
    let mut bytes = vec![0; LEN];
    let options = Options { timestamps: Some(stamps), ..Options::NONE };
    assert_eq!(tcp::emit(&header, &options, &mut bytes[ETHERNET + IP..]), 32);
    bytes.extend_from_slice(text);
    let len = bytes.len() - ETHERNET - IP;
    let (before, segment) = bytes.split_at_mut(ETHERNET + IP);
    tcp::fill_checksum(segment, &src, &dst, checksum::sum(text));
    ipv4::emit_header(before, &src, &dst, PROTOCOL_TCP, len);
    let (to, from) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
    ethernet::emit(&mut before[..ETHERNET], to, from, ETHERTYPE_IPV4, None);
    bytes.resize(bytes.len() + padding, 0xaa);
    bytes
}

/// Writes it to one address on the link from another.
fn write(fields: &Fields, (to, from): (MacAddr, MacAddr), delivery: Delivery, out: &mut [u8; LEN]) {
    let start = Start::new(from, delivery);
    let checksum = start.checksum((fields.src, fields.dst));
    fields.write((&start, checksum), &to, out);
}

trait IntoAddrs {
    fn into_addrs(self) -> (Addr, Addr);
}

impl IntoAddrs for ([u8; 4], [u8; 4]) {
    fn into_addrs(self) -> (Addr, Addr) {
        (core::net::Ipv4Addr::from(self.0).into(), core::net::Ipv4Addr::from(self.1).into())
    }
}

#[test]
fn read_usual_frame_is_what_the_layers_say() {
    let header = Header { src_port: 7, dst_port: 80, seq: 1, ack: 2, ..Header::default() };
    let stamps = Timestamps { value: 3, echo: 4 };
    let bytes = frame(header, stamps, b"text", 6);
    let usual = Usual::read(&bytes, true).unwrap();
    let dst = [198, 51, 100, 9];
    assert_eq!((usual.text(), usual.stamps(), usual.addrs().1), (&b"text"[..], stamps, dst));
    assert_eq!(layer_by_layer(&bytes, true), Ok(whole(&bytes, true)));
}

#[test]
fn write_and_read_is_the_same_with_the_largest_and_the_smallest_words() {
    for octet in [0, 0xff] {
        let word = u32::from_be_bytes([octet; 4]);
        let half = u16::from_be_bytes([octet; 2]);
        let fields = Fields {
            src: [octet; 4],
            dst: [octet; 4],
            src_port: half,
            dst_port: half,
            seq: word,
            ack: word,
            flags: Flags(octet),
            window: half,
            urgent: half,
            stamps: Timestamps { value: word, echo: word },
        };
        let mut out = [0; LEN];
        let mac = MacAddr([octet; 6]);
        let delivery = Delivery { traffic_class: octet, hop_limit: octet };
        write(&fields, (mac, mac), delivery, &mut out);
        assert_eq!(whole(&out, true), Some(([mac; 2], fields, &[][..])));
    }
}

#[test]
fn read_wrong_checksum_is_for_the_layers() {
    let bytes = frame(Header::default(), Timestamps::default(), b"text", 0);
    for place in ETHERNET..bytes.len() {
        let mut wrong = bytes.clone();
        wrong[place] ^= 0x10;
        assert_eq!(whole(&wrong, true), None, "octet {place}");
    }
}

proptest! {
    // Octet for octet.
    #[test]
    fn write_any_is_what_the_layers_write(
        words in any::<(u16, u16, u32, u32, u8, u16, u16)>(), stamps in any::<(u32, u32)>(),
    ) {
        let (src_port, dst_port, seq, ack, flags, window, urgent) = words;
        let header = Header {
            src_port, dst_port, seq, ack, flags: Flags(flags), window, checksum: 0, urgent,
        };
        let stamps = Timestamps { value: stamps.0, echo: stamps.1 };
        let bytes = frame(header, stamps, &[], 0);
        let usual = Usual::read(&bytes, true).unwrap();
        let mut out = [0xaa; LEN];
        let macs = (usual.to(), usual.from());
        write(&usual.fields(), macs, Delivery::default(), &mut out);
        prop_assert_eq!(&out[..], &bytes[..]);
    }

    // What one form takes, both take alike; and what has that form is taken.
    #[test]
    fn read_any_frame_is_what_the_layers_say(
        words in any::<(u16, u16, u32, u32, u8, u16, u16)>(), stamps in any::<(u32, u32)>(),
        text in prop::collection::vec(any::<u8>(), 0..200), padding in 0usize..20,
        verifies: bool,
        wrong in prop::collection::vec((0usize..80, any::<u8>()), 0..3),
        mends in any::<bool>(), cut in prop_oneof![4 => Just(0usize), 1 => 0usize..40],
    ) {
        let (src_port, dst_port, seq, ack, flags, window, urgent) = words;
        let header = Header {
            src_port, dst_port, seq, ack, flags: Flags(flags), window, checksum: 0, urgent,
        };
        let stamps = Timestamps { value: stamps.0, echo: stamps.1 };
        let mut bytes = frame(header, stamps, &text, padding);
        for (place, octet) in wrong {
            if let Some(old) = bytes.get_mut(place) {
                *old = octet;
            }
        }
        if mends {
            // The header's checksum is right again, so that the fields behind it are looked at.
            bytes[24..26].fill(0);
            let sum = checksum::finish(checksum::sum(&bytes[ETHERNET..ETHERNET + IP]));
            bytes[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        bytes.truncate(bytes.len().saturating_sub(cut));
        if let Some(([to, from], fields, [])) = whole(&bytes, true) {
            // What is not read is written as a sender of ours has it.
            let mut out = [0; LEN];
            let delivery = Delivery { traffic_class: bytes[15], hop_limit: bytes[22] };
            write(&fields, (to, from), delivery, &mut out);
            prop_assert_eq!(whole(&out, true), Some(([to, from], fields, &[][..])));
        }
        let layers = layer_by_layer(&bytes, verifies).unwrap_or(None);
        prop_assert_eq!(whole(&bytes, verifies), layers);
    }
}
