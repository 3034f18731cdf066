//! What frames hold: templates with everything that is not drawn.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use stack_ebpf::generate::{ROOM, Sink, Template, V4_TCP, V4_UDP, V6_TCP, V6_UDP};

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// SYNs with the options of Linux.
    Syn,
    /// ACKs of no connection.
    Ack,
    /// RSTs of no connection.
    Rst,
    /// FINs with ACK, of no connection.
    Fin,
    /// The four above, by chance.
    Mixed,
    /// Data of UDP.
    Udp,
    /// Data of TCP, of no connection.
    Tcp,
    /// TCP headers that cannot be: a data offset of four words.
    Bad,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("?", |value| value.get_name()))
    }
}

/// One of the segments of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// TCP's flags, data offset in words, options, and whether data fills the frame.
    Tcp { flags: u8, words: u8, options: &'static [u8], fills: bool },
    /// Data fills the frame.
    Udp,
}

const SYN: Segment = Segment::Tcp { flags: 0x02, words: 10, options: &OPTIONS, fills: false };
const ACK: Segment = Segment::Tcp { flags: 0x10, words: 5, options: &[], fills: false };
const RST: Segment = Segment::Tcp { flags: 0x04, words: 5, options: &[], fills: false };
const FIN: Segment = Segment::Tcp { flags: 0x11, words: 5, options: &[], fills: false };
const DATA: Segment = Segment::Tcp { flags: 0x18, words: 5, options: &[], fills: true };
const BAD: Segment = Segment::Tcp { flags: 0x10, words: 4, options: &[], fills: true };

/// MSS 1460, SACK permitted, timestamps, window scale 7: as Linux lays them.
const OPTIONS: [u8; 20] = [2, 4, 5, 180, 4, 2, 8, 10, 0, 1, 226, 64, 0, 0, 0, 0, 1, 3, 3, 7];

impl Kind {
    pub(super) fn segments(self) -> &'static [Segment] {
        match self {
            Self::Syn => &[SYN],
            Self::Ack => &[ACK],
            Self::Rst => &[RST],
            Self::Fin => &[FIN],
            Self::Mixed => &[SYN, ACK, RST, FIN],
            Self::Udp => &[Segment::Udp],
            Self::Tcp => &[DATA],
            Self::Bad => &[BAD],
        }
    }

    /// Bytes of the shortest frames of this kind; none is shorter than Ethernet's without its checksum.
    pub(super) fn least_length(self, is_v4: bool) -> usize {
        let headers = self.segments().iter().map(|segment| segment.header()).max().unwrap_or(0);
        (ethernet_and_ip(is_v4) + headers).max(60)
    }
}

impl Segment {
    /// Bytes of the transport header.
    fn header(self) -> usize {
        match self {
            Self::Tcp { options, .. } => 20 + options.len(),
            Self::Udp => 8,
        }
    }
}

fn ethernet_and_ip(is_v4: bool) -> usize {
    if is_v4 { 14 + 20 } else { 14 + 40 }
}

/// Bytes of the longest frame: an MTU of 1500.
pub(super) const fn most_length() -> usize {
    14 + 1500
}

/// All that templates of a run share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spec {
    /// The receiver's and the sender's.
    pub(super) macs: [[u8; 6]; 2],
    pub(super) from: Prefix,
    pub(super) to: SocketAddr,
    /// Bytes of a frame.
    pub(super) length: usize,
}

impl Spec {
    /// The template of `segment`; what a short packet leaves of the frame is padding.
    pub(super) fn template(&self, segment: Segment) -> Template {
        let is_v4 = self.to.is_ipv4();
        let fills = matches!(segment, Segment::Udp | Segment::Tcp { fills: true, .. });
        let begin = ethernet_and_ip(is_v4);
        let transport = if fills { self.length - begin } else { segment.header() };
        let ip = self.ip_header(segment, transport);
        let transport = self.transport(segment, transport);
        let mut bytes = [0; ROOM];
        bytes[..6].copy_from_slice(&self.macs[0]);
        bytes[6..12].copy_from_slice(&self.macs[1]);
        let ethertype: u16 = if is_v4 { 0x0800 } else { 0x86dd };
        bytes[12..14].copy_from_slice(&ethertype.to_be_bytes());
        bytes[14..begin].copy_from_slice(&ip);
        bytes[begin..begin + transport.len()].copy_from_slice(&transport);
        let length = transport.len() as u32;
        // The last four bytes of the source are added when the frame is finished.
        let (header, addresses) = match is_v4 {
            true => (sum(&ip[..12]) + sum(&ip[16..]), sum(&ip[16..])),
            false => (0, sum(&ip[8..20]) + sum(&ip[24..])),
        };
        Template {
            bytes,
            source: self.from.last_word(),
            header_sum: header,
            transport_sum: addresses + u32::from(protocol(segment)) + length + sum(&transport),
            kind: match (is_v4, segment) {
                (true, Segment::Tcp { .. }) => V4_TCP,
                (true, Segment::Udp) => V4_UDP,
                (false, Segment::Tcp { .. }) => V6_TCP,
                (false, Segment::Udp) => V6_UDP,
            },
        }
    }

    /// The IP header, its checksum zero.
    fn ip_header(&self, segment: Segment, transport: usize) -> Vec<u8> {
        let mut ip = Vec::new();
        match (self.from.address, self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                ip.extend([0x45, 0]);
                ip.extend((20 + transport as u16).to_be_bytes());
                ip.extend([0, 0, 0x40, 0, 64, protocol(segment), 0, 0]);
                ip.extend(from.octets());
                ip.extend(to.octets());
            }
            (from, to) => {
                ip.extend([0x60, 0, 0, 0]);
                ip.extend((transport as u16).to_be_bytes());
                ip.extend([protocol(segment), 64]);
                for address in [from, to] {
                    let address = match address {
                        IpAddr::V6(address) => address,
                        IpAddr::V4(address) => address.to_ipv6_mapped(),
                    };
                    ip.extend(address.octets());
                }
            }
        }
        ip
    }

    /// Transport header and data, with zeros where something is drawn or summed.
    fn transport(&self, segment: Segment, length: usize) -> Vec<u8> {
        let mut bytes = vec![0, 0];
        bytes.extend(self.to.port().to_be_bytes());
        match segment {
            Segment::Tcp { flags, words, options, .. } => {
                // RFC 9293, 3.1: without ACK the field means nothing.
                let ack: u32 = if flags & 0x10 == 0 { 0 } else { 0x0102_0304 };
                bytes.extend([0; 4]);
                bytes.extend(ack.to_be_bytes());
                bytes.extend([words << 4, flags, 0xfa, 0xf0, 0, 0, 0, 0]);
                bytes.extend(options);
            }
            Segment::Udp => {
                bytes.extend((length as u16).to_be_bytes());
                bytes.extend([0; 2]);
            }
        }
        bytes.resize(length, b'x');
        bytes
    }
}

fn protocol(segment: Segment) -> u8 {
    match segment {
        Segment::Tcp { .. } => 6,
        Segment::Udp => 17,
    }
}

/// The sum of the words in network byte order, an odd byte the upper half of its word.
fn sum(bytes: &[u8]) -> u32 {
    let word = |pair: &[u8]| match *pair {
        [upper, lower] => u32::from(u16::from_be_bytes([upper, lower])),
        [upper] => u32::from(upper) << 8,
        _ => 0,
    };
    bytes.chunks(2).map(word).sum()
}

/// A prefix of addresses, written `ADDR/LEN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Its first address.
    pub address: IpAddr,
    /// How many bits belong to it.
    pub length: u8,
}

impl Prefix {
    /// The bits of the last four bytes that do not belong to it.
    pub(super) fn drawn(self) -> u32 {
        let whole = if self.address.is_ipv4() { 32 } else { 128 };
        let free = whole - u32::from(self.length);
        if free >= 32 { u32::MAX } else { (1 << free) - 1 }
    }

    /// The last four bytes of its first address.
    fn last_word(self) -> u32 {
        match self.address {
            IpAddr::V4(address) => u32::from(address),
            IpAddr::V6(address) => u128::from(address) as u32,
        }
    }

    /// What counts as an answer.
    pub(super) fn sink(self) -> Sink {
        let mask = (!self.drawn()).to_be_bytes();
        match self.address {
            IpAddr::V4(address) => Sink::v4(address.octets(), mask),
            IpAddr::V6(address) => {
                let mut all = [u8::MAX; 16];
                all[12..].copy_from_slice(&mask);
                Sink { prefix: address.octets(), mask: all }
            }
        }
    }
}

impl FromStr for Prefix {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (address, length) = text.split_once('/').context("a prefix is written ADDR/LEN")?;
        let address: IpAddr =
            address.parse().with_context(|| format!("`{address}` is no address"))?;
        let length: u8 = length.parse().with_context(|| format!("`{length}` is no length"))?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        ensure!((1..=whole).contains(&length), "a prefix has 1 to {whole} bits");
        let prefix = Self { address, length };
        ensure!(
            prefix.last_word() & prefix.drawn() == 0,
            "{address} is not the first of a /{length}"
        );
        Ok(prefix)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// A link-layer address, written `02:00:00:00:00:01`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl FromStr for Mac {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let bytes: Option<Vec<u8>> = text
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16).ok().filter(|_| byte.len() == 2))
            .collect();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).with_context(|| format!("`{text}` is no link-layer address"))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.map(|byte| format!("{byte:02x}"));
        f.write_str(&bytes.join(":"))
    }
}

#[cfg(test)]
mod tests;
