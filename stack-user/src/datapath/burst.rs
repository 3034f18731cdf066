//! Runs of full segments that leave as one packet, which the kernel cuts again where it leaves.
//!
//! In copy mode each frame of a transmit ring passes the kernel by itself, and on veth the receiver
//! runs once for each. A packet socket takes a packet of up to 64 KiB with the length of its segments
//! (`PACKET_VNET_HDR`), as the kernel's own TCP hands them down: what is below is paid for once in a
//! run. Owns the socket and the run that is being gathered; frames that do not fit into a run, and
//! those of a run that the kernel refused, go to the ring, which is somebody else's.

use core::mem;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::net::if_::if_nametoindex;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::frame::{Frame, Tx};
use super::syscalls;
use super::umem::Memory;
use crate::wire::checksum;

/// What of a frame decides about runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    /// Octets of all headers.
    head: usize,
    /// Octets of text.
    text: usize,
    seq: u32,
    is_pushed: bool,
}

impl Segment {
    /// Reads a frame; `None` for all but text over IPv4, untagged, without options of IP.
    fn read(frame: &[u8]) -> Option<Self> {
        let bare = frame.first_chunk::<MIN_HEAD>()?;
        let is_tcp = bare[12..15] == [0x08, 0x00, 0x45] && bare[IP + 9] == libc::IPPROTO_TCP as u8;
        let flags = bare[FLAGS];
        let head = TCP + usize::from(bare[OFFSET] >> 4) * 4;
        let text = frame.len().checked_sub(head)?;
        let is_plain = flags & !PSH == ACK && bare[OFFSET] & 0xf == 0;
        let seq = u32::from_be_bytes([bare[SEQ], bare[SEQ + 1], bare[SEQ + 2], bare[SEQ + 3]]);
        let is_pushed = flags & PSH != 0;
        (is_tcp && is_plain && text > 0).then_some(Self { head, text, seq, is_pushed })
    }
}

/// The run that is being gathered.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Its first segment: all but the last are as long.
    first: Segment,
    /// The sequence number after its last segment.
    next: u32,
    /// Octets of text.
    text: usize,
    /// Whether nothing can follow.
    is_over: bool,
}

impl Run {
    /// A run that begins with this segment, where one can.
    fn of(first: Segment) -> Option<Self> {
        let can = first.text >= LEAST_TEXT && !first.is_pushed;
        let next = first.seq.wrapping_add(first.text as u32);
        can.then_some(Self { first, next, text: first.text, is_over: false })
    }

    /// The run with this segment behind it, where it continues the run.
    fn with(self, next: Segment) -> Option<Self> {
        let Self { first, text, .. } = self;
        let continues = !self.is_over
            && next.seq == self.next
            && next.head == first.head
            && next.text <= first.text
            && first.head + text + next.text <= LONGEST;
        continues.then_some(Self {
            first,
            next: self.next.wrapping_add(next.text as u32),
            text: text + next.text,
            // Only the last one is short, or pushed.
            is_over: next.text < first.text || next.is_pushed,
        })
    }
}

/// The packet socket and the run before it.
#[derive(Debug)]
pub(super) struct Bursts {
    fd: OwnedFd,
    run: Option<Run>,
    frames: Vec<Frame<Tx>>,
}

impl Bursts {
    /// Opens a packet socket on an interface.
    ///
    /// # Errors
    /// What the kernel says where it has no such sockets, or not for us.
    pub(super) fn open(interface: &str) -> io::Result<Self> {
        let index = if_nametoindex(interface)?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        // No protocol: it receives nothing.
        let fd = socket(AddressFamily::Packet, SockType::Raw, flags, None)?;
        // SAFETY: all zeroes is a valid address of this plain C type.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = libc::AF_PACKET as libc::sa_family_t;
        address.sll_ifindex = index.cast_signed();
        let len = mem::size_of_val(&address) as libc::socklen_t;
        // SAFETY: `address` is live for the call and `len` is its size.
        if unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), len) } < 0 {
            return Err(io::Error::last_os_error());
        }
        syscalls::take_virtual_headers(fd.as_raw_fd())?;
        // As for the ring: only raises the ceiling.
        let _ = syscalls::allow_send_memory(fd.as_raw_fd(), SEND_MEMORY);
        Ok(Self { fd, run: None, frames: Vec::with_capacity(MOST) })
    }

    /// Whether no frame waits.
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether the run is worth a packet of its own.
    pub(super) fn is_worth_it(&self) -> bool {
        self.frames.len() >= WORTH
    }

    /// Takes the frame into the run, which it continues.
    ///
    /// # Errors
    /// The frame, where it does not.
    pub(super) fn gather(&mut self, frame: Frame<Tx>, memory: &Memory) -> Result<(), Frame<Tx>> {
        let (Some(run), Some(first)) = (&mut self.run, self.frames.first()) else {
            return Err(frame);
        };
        let (bytes, first) = (memory.outgoing(&frame), memory.outgoing(first));
        let next = Segment::read(bytes)
            .filter(|next| self.frames.len() < MOST && is_alike(bytes, first, next.head))
            .and_then(|next| run.with(next));
        let Some(next) = next else { return Err(frame) };
        *run = next;
        self.frames.push(frame);
        Ok(())
    }

    /// Begins a run with the frame. The last one has left.
    ///
    /// # Errors
    /// The frame, where no run begins with it.
    pub(super) fn begin(&mut self, frame: Frame<Tx>, memory: &Memory) -> Result<(), Frame<Tx>> {
        debug_assert!(self.frames.is_empty(), "the last run has left");
        let first = Segment::read(memory.outgoing(&frame));
        let Some(run) = first.and_then(Run::of) else { return Err(frame) };
        self.run = Some(run);
        self.frames.push(frame);
        Ok(())
    }

    /// Sends the run as one packet, where that is worth it; whether the kernel took it. The frames are
    /// to be taken in either case.
    pub(super) fn send(&mut self, memory: &Memory) -> bool {
        let Some(run) = self.run.take() else { return false };
        let [Some(first), Some(last)] = [self.frames.first(), self.frames.last()] else {
            return false;
        };
        if !self.is_worth_it() {
            return false;
        }
        let headers = headers(memory.outgoing(first), memory.outgoing(last), &run);
        let preface = preface(&run);
        let mut parts = [EMPTY; MOST + 2];
        parts[0] = part(&preface);
        parts[1] = part(&headers[..run.first.head]);
        for (part, frame) in parts[2..].iter_mut().zip(&self.frames) {
            *part = self::part(&memory.outgoing(frame)[run.first.head..]);
        }
        syscalls::send_parts(self.fd.as_raw_fd(), &parts[..self.frames.len() + 2])
    }

    /// The frames of a run that was sent, or will not be as one.
    pub(super) fn take(&mut self) -> Vec<Frame<Tx>> {
        mem::take(&mut self.frames)
    }

    /// Takes the place of the frames back, empty.
    pub(super) fn keep(&mut self, place: Vec<Frame<Tx>>) {
        debug_assert!(place.is_empty() && self.frames.is_empty(), "all frames have gone");
        self.frames = place;
    }
}

/// Makes the checksum of a segment whose checksum was left zero.
pub(super) fn fill_sum(frame: &mut [u8]) {
    if Segment::read(frame).is_none() || frame[SUM..SUM + 2] != [0, 0] {
        return;
    }
    let sum = pseudo(&frame[..TCP], frame.len() - TCP) + checksum::sum(&frame[TCP..]);
    frame[SUM..SUM + 2].copy_from_slice(&checksum::finish(sum).to_be_bytes());
}

/// The sum of the pseudo-header of a segment of `len` octets, from the frame's headers.
fn pseudo(frame: &[u8], len: usize) -> checksum::Partial {
    let mut pseudo = [0; 12];
    pseudo[..8].copy_from_slice(&frame[IP + 12..TCP]);
    pseudo[9] = libc::IPPROTO_TCP as u8;
    pseudo[10..].copy_from_slice(&(len as u16).to_be_bytes());
    checksum::sum(&pseudo)
}

/// Whether a frame has the same headers as the first of the run, but for what counts up.
fn is_alike(frame: &[u8], first: &[u8], head: usize) -> bool {
    let same = |range: core::ops::Range<usize>| frame.get(range.clone()) == first.get(range);
    // Length, identification and sum of IP, then number, flags and sum of TCP go their own ways.
    same(0..IP + 2)
        && same(IP + 6..IP + 10)
        && same(IP + 12..SEQ)
        && same(SEQ + 4..FLAGS)
        && same(FLAGS + 1..SUM)
        && same(SUM + 2..head)
}

/// The headers of the packet that a run becomes.
fn headers(first: &[u8], last: &[u8], run: &Run) -> [u8; MAX_HEAD] {
    let head = run.first.head;
    let mut headers = [0; MAX_HEAD];
    headers[..head].copy_from_slice(&first[..head]);
    headers[FLAGS] = last[FLAGS];
    let total = (head - IP + run.text) as u16;
    headers[IP + 2..IP + 4].copy_from_slice(&total.to_be_bytes());
    headers[IP + 10..IP + 12].fill(0);
    let sum = checksum::finish(checksum::sum(&headers[IP..TCP]));
    headers[IP + 10..IP + 12].copy_from_slice(&sum.to_be_bytes());
    // What is left of the checksum is for the kernel, or the device: here stands the pseudo-header's.
    let sum = !checksum::finish(pseudo(&headers[..TCP], head - TCP + run.text));
    headers[SUM..SUM + 2].copy_from_slice(&sum.to_be_bytes());
    headers
}

/// `struct virtio_net_hdr` of linux/virtio_net.h: how the packet is to be cut and summed.
fn preface(run: &Run) -> [u8; 10] {
    const NEEDS_CSUM: u8 = 1;
    const GSO_TCPV4: u8 = 1;
    let mut preface = [0; 10];
    preface[0] = NEEDS_CSUM;
    preface[1] = GSO_TCPV4;
    let words = [run.first.head, run.first.text, TCP, SUM - TCP];
    for (place, word) in preface[2..].chunks_exact_mut(2).zip(words) {
        place.copy_from_slice(&(word as u16).to_ne_bytes());
    }
    preface
}

/// A piece of what `sendmsg` gathers. It is read while the call lasts, and never written.
fn part(bytes: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

/// Where IP, TCP and its fields begin in an untagged frame.
const IP: usize = 14;
const TCP: usize = IP + 20;
const SEQ: usize = TCP + 4;
const OFFSET: usize = TCP + 12;
const FLAGS: usize = TCP + 13;
const SUM: usize = TCP + 16;
/// Octets of headers, without and with all options of TCP.
const MIN_HEAD: usize = TCP + 20;
const MAX_HEAD: usize = TCP + 60;
const ACK: u8 = 0x10;
const PSH: u8 = 0x08;
/// The most octets of a packet, whose length IP says in 16 bits.
const LONGEST: usize = 0xffff;
/// The most segments of a run: what `LONGEST` holds at an MTU of 1500, and as many as a veth takes.
const MOST: usize = 64;
/// The least text of a run's segments: shorter ones are not what bulk is made of.
const LEAST_TEXT: usize = 512;
/// The fewest frames for which a packet socket is cheaper than a ring.
const WORTH: usize = 3;
/// Memory that packets may hold until they have left, in bytes.
const SEND_MEMORY: i32 = 8 << 20;
const EMPTY: libc::iovec = libc::iovec { iov_base: core::ptr::null_mut(), iov_len: 0 };

#[cfg(test)]
mod tests {
    use super::*;

    /// An untagged frame with a segment of `text` octets from `seq` on, its checksum left zero.
    fn frame(seq: u32, text: usize, flags: u8) -> Vec<u8> {
        let mut frame = vec![0; MIN_HEAD + text];
        frame[12..15].copy_from_slice(&[0x08, 0x00, 0x45]);
        let total = (frame.len() - IP) as u16;
        frame[IP + 2..IP + 4].copy_from_slice(&total.to_be_bytes());
        frame[IP + 9] = libc::IPPROTO_TCP as u8;
        frame[IP + 12..TCP].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        frame[SEQ..SEQ + 4].copy_from_slice(&seq.to_be_bytes());
        frame[OFFSET] = 5 << 4;
        frame[FLAGS] = flags;
        frame[MIN_HEAD..].fill(0xa5);
        frame
    }

    fn segment(seq: u32, text: usize, flags: u8) -> Segment {
        Segment::read(&frame(seq, text, flags)).unwrap()
    }

    fn run() -> Run {
        Run::of(segment(u32::MAX, 1000, ACK)).unwrap()
    }

    #[test]
    fn segment_of_other_kinds_is_none() {
        assert!(Segment::read(&frame(1, 0, ACK)).is_none());
        assert!(Segment::read(&frame(1, 10, ACK | 1)).is_none());
        let mut udp = frame(1, 10, ACK);
        udp[IP + 9] = 17;
        assert!(Segment::read(&udp).is_none());
        assert!(Segment::read(&udp[..20]).is_none());
    }

    #[test]
    fn run_goes_on_with_what_follows_and_ends_with_a_short_or_pushed_one() {
        let two = run().with(segment(999, 1000, ACK)).unwrap();
        assert_eq!((two.next, two.text, two.is_over), (1999, 2000, false));
        assert!(run().with(segment(1000, 1000, ACK)).is_none(), "a gap");
        assert!(run().with(segment(999, 1001, ACK)).is_none(), "longer than the first");
        for last in [segment(999, 999, ACK), segment(999, 1000, ACK | PSH)] {
            let over = run().with(last).unwrap();
            assert!(over.with(segment(over.next, 100, ACK)).is_none());
        }
    }

    #[test]
    fn run_is_no_longer_than_ip_can_say() {
        let mut run = run();
        while let Some(next) = run.with(segment(run.next, 1000, ACK)) {
            run = next;
        }
        assert!(run.first.head + run.text <= LONGEST);
        assert!(run.first.head + run.text + 1000 > LONGEST);
    }

    #[test]
    fn frames_are_alike_but_for_number_sum_and_push() {
        let first = frame(1, 1000, ACK);
        assert!(is_alike(&frame(1001, 900, ACK | PSH), &first, MIN_HEAD));
        for at in [0, 13, IP + 8, IP + 12, TCP, TCP + 3, SEQ + 4, FLAGS + 1, SUM + 2] {
            let mut other = frame(1001, 900, ACK);
            other[at] ^= 1;
            assert!(!is_alike(&other, &first, MIN_HEAD), "octet {at}");
        }
    }

    #[test]
    fn sum_is_filled_where_it_was_left_and_only_there() {
        let mut left = frame(7, 33, ACK);
        fill_sum(&mut left);
        assert!(crate::wire::tcp::verify(&left[TCP..], &addr(1), &addr(2)));
        let mut made = frame(7, 33, ACK);
        made[SUM] = 1;
        let before = made.clone();
        fill_sum(&mut made);
        assert_eq!(made, before);
    }

    fn addr(last: u8) -> crate::wire::Addr {
        let mut octets = [0; 16];
        octets[10..].copy_from_slice(&[0xff, 0xff, 10, 0, 0, last]);
        crate::wire::Addr(octets)
    }

    #[test]
    fn headers_of_a_run_have_its_length_its_end_and_the_sum_of_both_pseudo_and_ip() {
        let (first, last) = (frame(u32::MAX, 1000, ACK), frame(999, 10, ACK | PSH));
        let run = run().with(segment(999, 10, ACK | PSH)).unwrap();
        let headers = headers(&first, &last, &run);
        assert_eq!(headers[FLAGS], ACK | PSH);
        assert_eq!(headers[IP + 2..IP + 4], 1050u16.to_be_bytes());
        assert_eq!(checksum::finish(checksum::sum(&headers[IP..TCP])), 0);
        // What the kernel does: it sums segment and field, and has the checksum.
        let mut packet = headers[..MIN_HEAD].to_vec();
        packet.extend_from_slice(&[0xa5; 1010]);
        let sum = checksum::finish(checksum::sum(&packet[TCP..]));
        packet[SUM..SUM + 2].copy_from_slice(&sum.to_be_bytes());
        assert!(crate::wire::tcp::verify(&packet[TCP..], &addr(1), &addr(2)));
        assert_eq!(preface(&run), expected_preface());
    }

    fn expected_preface() -> [u8; 10] {
        let mut bytes = [1, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        for (n, word) in [54u16, 1000, 34, 16].into_iter().enumerate() {
            bytes[2 + 2 * n..4 + 2 * n].copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }
}
