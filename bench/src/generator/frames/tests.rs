//! Whole frames, as the program finishes them, under the parsers of the stack.

use sluice::wire::{Addr, checksum, ipv4, ipv6, tcp};
use stack_ebpf::generate::{Draw, Room};

use super::*;

/// A frame in memory.
struct Slice<'a>(&'a mut [u8]);

impl Room for Slice<'_> {
    fn put<const N: usize>(&mut self, at: usize, bytes: [u8; N]) -> Option<()> {
        self.0.get_mut(at..at + N)?.copy_from_slice(&bytes);
        Some(())
    }
}

fn spec(is_v4: bool, length: usize) -> Spec {
    let (from, to) = match is_v4 {
        true => ("198.18.0.0/15", "10.77.0.1:80"),
        false => ("2001:db8:1::/96", "[2001:db8::1]:80"),
    };
    let macs = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
    Spec { macs, from: from.parse().unwrap(), to: to.parse().unwrap(), length }
}

fn draws(mask: u32) -> impl Iterator<Item = Draw> {
    let mut rng = crate::rng::Rng::new(3);
    (0..1_000).map(move |_| {
        let (one, two) = (rng.bits(), rng.bits());
        let (source, port) = (one as u32 & mask, two as u16 | 1024);
        Draw { template: 0, source, port, sequence: (two >> 32) as u32 }
    })
}

fn finished(spec: &Spec, segment: Segment, draw: &Draw) -> Vec<u8> {
    let template = spec.template(segment);
    let mut frame = template.bytes[..spec.length].to_vec();
    template.finish(draw, &mut Slice(&mut frame)).unwrap();
    frame
}

/// Whether the transport's checksum holds, UDP's too.
fn is_sound(transport: &[u8], protocol: u8, [from, to]: [&Addr; 2]) -> bool {
    let pseudo = checksum::pseudo_header(from, to, protocol, transport.len());
    checksum::finish(pseudo + checksum::sum(transport)) == 0
}

#[test]
fn frames_of_every_kind_and_size_hold_under_the_parsers() {
    for kind in Kind::value_variants() {
        let least = kind.least_length(true);
        for length in [least, least + 1, 128, 1500, 1514] {
            let spec = spec(true, length);
            for (segment, draw) in
                kind.segments().iter().flat_map(|s| draws(spec.from.drawn()).map(move |d| (s, d)))
            {
                let frame = finished(&spec, *segment, &draw);
                let ip = ipv4::Packet::parse(&frame[14..]).unwrap();
                let is_tcp = *kind != Kind::Udp;
                assert!(is_sound(ip.payload, if is_tcp { 6 } else { 17 }, [&ip.src, &ip.dst]));
                let source = 0xc612_0000 | draw.source;
                assert_eq!(frame[26..30], source.to_be_bytes());
                assert_eq!(frame[34..36], draw.port.to_be_bytes());
                if is_tcp && *kind != Kind::Bad {
                    let packet = tcp::Packet::parse(ip.payload).unwrap();
                    assert_eq!(packet.seq, draw.sequence);
                    assert!(tcp::verify(ip.payload, &ip.src, &ip.dst));
                }
            }
        }
    }
}

#[test]
fn frames_of_the_other_family_hold_too() {
    for kind in [Kind::Mixed, Kind::Udp, Kind::Tcp] {
        let spec = spec(false, kind.least_length(false) + 3);
        for (segment, draw) in
            kind.segments().iter().flat_map(|s| draws(spec.from.drawn()).map(move |d| (s, d)))
        {
            let frame = finished(&spec, *segment, &draw);
            let ip = ipv6::Packet::parse(&frame[14..]).unwrap();
            let protocol = if kind == Kind::Udp { 17 } else { 6 };
            assert!(is_sound(ip.payload, protocol, [&ip.src, &ip.dst]), "{segment:?}");
            assert_eq!(frame[34..38], draw.source.to_be_bytes());
        }
    }
}

#[test]
fn syn_offers_what_linux_offers_and_bad_is_refused() {
    let spec = spec(true, 74);
    let draw = Draw { template: 0, source: 5, port: 2_000, sequence: 9 };
    let frame = finished(&spec, SYN, &draw);
    let ip = ipv4::Packet::parse(&frame[14..]).unwrap();
    let options = tcp::Packet::parse(ip.payload).unwrap().options;
    assert_eq!((options.mss, options.window_scale), (Some(1460), Some(7)));
    assert!(options.sack_permitted && options.timestamps.is_some());
    let frame = finished(&spec, BAD, &draw);
    assert!(tcp::Packet::parse(ipv4::Packet::parse(&frame[14..]).unwrap().payload).is_err());
}

#[test]
fn prefixes_are_read_and_nonsense_is_refused() {
    let prefix: Prefix = "198.18.0.0/15".parse().unwrap();
    assert_eq!((prefix.drawn(), prefix.to_string().as_str()), (0x1_ffff, "198.18.0.0/15"));
    assert_eq!(prefix.sink(), Sink::v4([198, 18, 0, 0], [255, 254, 0, 0]));
    let one: Prefix = "10.0.0.7/32".parse().unwrap();
    assert_eq!((one.drawn(), one.sink().mask), (0, [u8::MAX; 16]));
    let prefix: Prefix = "2001:db8::/64".parse().unwrap();
    assert_eq!(prefix.drawn(), u32::MAX);
    let (sink, IpAddr::V6(address)) = (prefix.sink(), prefix.address) else { panic!() };
    // Only the last four bytes are drawn.
    assert_eq!(
        (sink.prefix, sink.mask[8..].to_vec()),
        (address.octets(), [[255; 4], [0; 4]].concat())
    );
    for text in ["10.0.0.1", "10.0.0.1/24", "10.0.0.0/0", "10.0.0.0/33", "x/8", "::1/64"] {
        assert!(text.parse::<Prefix>().is_err(), "{text}");
    }
}

#[test]
fn link_layer_addresses_are_read_and_nonsense_is_refused() {
    let mac: Mac = "02:00:00:00:0a:ff".parse().unwrap();
    assert_eq!((mac.0, mac.to_string().as_str()), ([2, 0, 0, 0, 10, 255], "02:00:00:00:0a:ff"));
    for text in ["", "02:00:00:00:00", "02:00:00:00:00:1", "02:00:00:00:00:0g", "1:2:3:4:5:6:7"] {
        assert!(text.parse::<Mac>().is_err(), "{text}");
    }
}
