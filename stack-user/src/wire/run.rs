//! Runs: segments that follow each other, as one packet with one set of headers. Whoever sends it
//! cuts it, which is either below the datapath or here.
//!
//! Owns the form of such a packet and how it is cut. Knows neither what makes a run nor who sends it.

use super::checksum;

/// How a packet of TCP in IPv4, without options of IP and without a tag, is to be cut. Its headers
/// are those of its first segment, but for the length, which is that of the whole, for PSH, which is
/// the last one's, and for the checksum of TCP, which is left open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Octets of all headers, that of the link included.
    pub head: usize,
    /// Octets of text in each segment but the last, which has as many at most.
    pub size: usize,
}

impl Run {
    /// Into how many segments a frame of `len` octets is cut.
    pub const fn count(self, len: usize) -> usize {
        len.saturating_sub(self.head).div_ceil(self.size)
    }

    /// Leaves the checksum of TCP in the headers of a frame of `len` octets as those want it who finish
    /// it: the sum of the pseudo-header alone.
    pub fn begin_sum(frame: &mut [u8], len: usize) {
        let len = len.saturating_sub(TCP);
        let Some(head) = frame.first_chunk_mut::<{ SUM + 2 }>() else { return };
        let sum = !checksum::finish(pseudo(head, len));
        head[SUM..].copy_from_slice(&sum.to_be_bytes());
    }

    /// Writes the `n`th segment of a whole packet to the start of `out`, its checksums made; its length.
    /// `None` where there is no such segment, or no room.
    pub fn cut(self, whole: &[u8], n: usize, out: &mut [u8]) -> Option<usize> {
        let (head, text) = whole.split_at_checked(self.head)?;
        let (start, is_last) = (n * self.size, (n + 1) * self.size >= text.len());
        let text =
            text.get(start..text.len().min(start + self.size)).filter(|text| !text.is_empty())?;
        let len = self.head + text.len();
        let out = out.get_mut(..len)?;
        out[..self.head].copy_from_slice(head);
        out[self.head..].copy_from_slice(text);
        out[IP + 2..IP + 4].copy_from_slice(&((len - IP) as u16).to_be_bytes());
        out[IP + 10..IP + 12].fill(0);
        let sum = checksum::finish(checksum::sum(&out[IP..TCP]));
        out[IP + 10..IP + 12].copy_from_slice(&sum.to_be_bytes());
        let seq = u32::from_be_bytes([out[SEQ], out[SEQ + 1], out[SEQ + 2], out[SEQ + 3]]);
        out[SEQ..SEQ + 4].copy_from_slice(&seq.wrapping_add(start as u32).to_be_bytes());
        if !is_last {
            out[FLAGS] &= !PSH;
        }
        out[SUM..SUM + 2].fill(0);
        // RFC 9293 3.1 (MUST-2): no segment leaves without it.
        let sum = checksum::finish(pseudo(out, len - TCP) + checksum::sum(&out[TCP..]));
        out[SUM..SUM + 2].copy_from_slice(&sum.to_be_bytes());
        Some(len)
    }
}

/// The sum of the pseudo-header of a segment of `len` octets, from the frame's headers.
fn pseudo(frame: &[u8], len: usize) -> checksum::Partial {
    let mut pseudo = [0; 12];
    pseudo[..8].copy_from_slice(&frame[IP + 12..TCP]);
    pseudo[9] = super::PROTOCOL_TCP;
    pseudo[10..].copy_from_slice(&(len as u16).to_be_bytes());
    checksum::sum(&pseudo)
}

/// Where IP, TCP and its fields begin.
const IP: usize = 14;
/// Where the header of TCP begins.
pub const TCP: usize = IP + 20;
const SEQ: usize = TCP + 4;
const FLAGS: usize = TCP + 13;
/// Where the checksum of TCP lies.
pub const SUM: usize = TCP + 16;
const PSH: u8 = 0x08;
/// The most octets of text in a run: what the length of IP can say, behind the longest header of TCP.
pub const MOST_TEXT: usize = 0xffff - 20 - 60;
/// The most segments of a run: what `MOST_TEXT` holds at an MTU of 1500, and as many as a veth takes.
pub const MOST_SEGMENTS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ipv4::{self, Delivery};
    use crate::wire::tcp::{Flags, Header, Options, Packet, emit, verify};
    use crate::wire::{Addr, PROTOCOL_TCP};

    fn addr(last: u8) -> Addr {
        core::net::Ipv4Addr::new(10, 0, 0, last).into()
    }

    /// A frame with `text` octets from sequence number 2^32 - 1000 on, pushed.
    fn whole(text: usize) -> (Vec<u8>, Run) {
        let mut frame = vec![0; TCP + 60 + text];
        let header = Header {
            src_port: 80,
            dst_port: 4000,
            seq: u32::MAX - 999,
            ack: 7,
            flags: Flags::ACK.union(Flags::PSH),
            window: 9,
            checksum: 0,
            urgent: 0,
        };
        let head = TCP + emit(&header, &Options::NONE, &mut frame[TCP..]);
        frame.truncate(head + text);
        for (n, octet) in frame[head..].iter_mut().enumerate() {
            *octet = (n % 251) as u8;
        }
        frame[12..14].copy_from_slice(&[8, 0]);
        let names = (&addr(1), &addr(2), PROTOCOL_TCP);
        let len = frame.len() - TCP;
        ipv4::emit_header_for(&mut frame[..TCP], names, Delivery::default(), len);
        (frame, Run { head, size: 1000 })
    }

    #[test]
    fn segments_of_a_run_follow_each_other_and_the_last_is_pushed() {
        let (frame, run) = whole(2500);
        assert_eq!(run.count(frame.len()), 3);
        let mut text = Vec::new();
        for n in 0..3 {
            let mut out = [0xee; 1600];
            let len = run.cut(&frame, n, &mut out).unwrap();
            let packet = ipv4::Packet::parse(&out[IP..len]).unwrap();
            assert!(verify(packet.payload, &addr(1), &addr(2)), "segment {n}");
            let segment = Packet::parse(packet.payload).unwrap();
            assert_eq!(segment.seq, (u32::MAX - 999).wrapping_add(1000 * n as u32));
            assert_eq!(segment.flags.contains(Flags::PSH), n == 2);
            text.extend_from_slice(segment.payload);
        }
        assert_eq!(text, frame[run.head..]);
        assert!(run.cut(&frame, 3, &mut [0; 1600]).is_none());
        assert!(run.cut(&frame, 0, &mut [0; 1000]).is_none(), "no room");
        assert_eq!(run.count(run.head), 0);
    }

    #[test]
    fn sum_that_was_begun_is_right_once_the_rest_is_summed() {
        let (mut frame, _) = whole(700);
        let len = frame.len();
        Run::begin_sum(&mut frame[..66], len);
        // What the kernel does: it sums segment and field, and has the checksum.
        let sum = checksum::finish(checksum::sum(&frame[TCP..]));
        frame[SUM..SUM + 2].copy_from_slice(&sum.to_be_bytes());
        assert!(verify(&frame[TCP..], &addr(1), &addr(2)));
    }
}
