//! The bench's generator: which frame is sent next, when, and what is written where.
//!
//! Owns the pace, the draw and the arithmetic of checksums, and how orders lie in maps. The frames'
//! templates are made by user space; maps and packets are the program's.

use core::mem::size_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, transmute};

use crate::contract::{AddressKey, mapped};
use crate::frame::{self, Ethernet, Frame, Ipv4, Ipv6, Tcp};

/// The program that writes frames and sends them.
pub const PROGRAM: &str = "sluice_generate";
/// The program that counts what answers spoofed frames and drops it, and passes the rest.
pub const SINK_PROGRAM: &str = "sluice_sink";
/// Array of one [`Order`].
pub const ORDER: &str = "GENERATE_ORDER";
/// Array of [`MAX_TEMPLATES`] [`Template`]s.
pub const TEMPLATES: &str = "GENERATE_FRAMES";
/// Array of one [`State`].
pub const STATE: &str = "GENERATE_STATE";
/// Array of one [`Sink`].
pub const SINK: &str = "GENERATE_SINK";
/// Per-CPU array of [`ANSWERS_LEN`] counts, by [`Answer`].
pub const ANSWERS: &str = "GENERATE_ANSWERS";

/// The most templates of an order.
pub const MAX_TEMPLATES: u32 = 4;
/// The longest frame.
pub const ROOM: usize = 2048;
/// Rounds of a batch, where frames are paced: after each the kernel hands over what was sent.
pub const PACED_BATCH: u32 = 16;
/// Intervals are counted in parts of a nanosecond.
pub const PARTS: u64 = 1024;

/// What is to be sent. All zero sends nothing.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Order {
    /// The time between two frames, in 1/[`PARTS`] ns; 0 sends without a pause.
    pub interval: u64,
    /// By how much a frame may be early after others were late, in 1/[`PARTS`] ns: what a burst holds.
    pub burst: u64,
    /// The most frames.
    pub frames: u64,
    /// The length of every frame, in bytes.
    pub length: u32,
    /// How many templates there are; frames take one by chance.
    pub templates: u32,
    /// The bits of the source address's last four bytes that are drawn.
    pub mask: u32,
    /// Zero.
    pub pad: u32,
}

/// The generator's own: written by the program alone once the order began.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct State {
    /// The state of the pseudo-random sequence: the seed at first, never 0.
    pub random: u64,
    /// When the next frame is due, in 1/[`PARTS`] ns since `first`.
    pub due: u64,
    /// Frames that were sent.
    pub sent: u64,
    /// Rounds in which no frame was due.
    pub held: u64,
    /// When the first frame was sent, in ns of the kernel's monotonic clock.
    pub first: u64,
    /// When the last one was, where frames are paced; else about.
    pub last: u64,
    /// Nanoseconds in which no frame was due, nor was one that had been sent still worked at on this CPU.
    /// Only where frames are paced.
    pub waited: u64,
    /// When the last round was, in ns of the same clock, if nothing was due in it; else zero.
    pub idle_since: u64,
    /// Not zero: a frame was sent in this batch, and is handed over at its end.
    pub is_sending: u64,
}

/// A frame but for what is drawn, which is zero in it, with the sums that its checksums are made of.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Template {
    /// The frame, from its Ethernet header on.
    pub bytes: [u8; ROOM],
    /// The last four bytes of the source address, the drawn bits zero.
    pub source: u32,
    /// The sum of the IP header's words but those four bytes; of no meaning for IPv6.
    pub header_sum: u32,
    /// The sum of the words of pseudo header, transport header and payload, but for what is drawn and
    /// those four bytes.
    pub transport_sum: u32,
    /// [`V4_TCP`] or one of the others.
    pub kind: u32,
}

/// [`Template::kind`]: TCP over IPv4.
pub const V4_TCP: u32 = 1;
/// [`Template::kind`]: UDP over IPv4.
pub const V4_UDP: u32 = 2;
/// [`Template::kind`]: TCP over IPv6.
pub const V6_TCP: u32 = 3;
/// [`Template::kind`]: UDP over IPv6.
pub const V6_UDP: u32 = 4;

/// What is drawn for one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// The index of its template.
    pub template: u32,
    /// The drawn bits of the source address.
    pub source: u32,
    /// The source port, 1024 or above.
    pub port: u16,
    /// TCP's sequence number.
    pub sequence: u32,
}

/// A frame that is written to.
pub trait Room {
    /// Writes `bytes` at an offset from the frame's start; `None` where the frame ends before.
    fn put<const N: usize>(&mut self, at: usize, bytes: [u8; N]) -> Option<()>;
}

impl Order {
    /// The interval of a number of frames in a second; 0 is without a pause.
    pub const fn interval_of(rate: u64) -> u64 {
        match (1_000_000_000 * PARTS).checked_div(rate) {
            Some(interval) => interval,
            None => 0,
        }
    }
}

impl State {
    /// What is sent at `now`, in ns; `None` where nothing is due.
    #[inline(always)]
    pub fn turn(&mut self, order: &Order, now: impl Fn() -> u64) -> Option<Draw> {
        if self.sent >= order.frames {
            return None;
        }
        if self.sent == 0 {
            self.first = now();
            self.last = self.first;
        }
        if order.interval > 0 {
            let time = now();
            self.wait(time);
            if !self.take((time - self.first) * PARTS, order) {
                self.held += 1;
                self.idle_since = time;
                return None;
            }
            (self.last, self.idle_since, self.is_sending) = (time, 0, 1);
        } else if self.sent.is_multiple_of(1024) {
            self.last = now();
        }
        self.sent += 1;
        Some(self.draw(order))
    }

    /// Counts the time since the last round where that was waiting. At the end of a batch in which a frame
    /// was sent the kernel hands it over, and may do all of the receiver's work; a long pause is somebody
    /// else's.
    #[inline(always)]
    fn wait(&mut self, time: u64) {
        let is_end = (self.held + self.sent).is_multiple_of(PACED_BATCH as u64);
        let pause = time - self.idle_since;
        if self.idle_since != 0 && pause < LONGEST_ROUND && !(is_end && self.is_sending != 0) {
            self.waited += pause;
        }
        if is_end {
            self.is_sending = 0;
        }
    }

    /// Takes a token of the bucket, if there is one: what was missed is made up for within the burst.
    #[inline(always)]
    fn take(&mut self, time: u64, order: &Order) -> bool {
        if time < self.due {
            return false;
        }
        let earliest = time.saturating_sub(order.burst);
        self.due = if self.due > earliest { self.due } else { earliest } + order.interval;
        true
    }

    #[inline(always)]
    fn draw(&mut self, order: &Order) -> Draw {
        let (one, two) = (self.next(), self.next());
        Draw {
            template: (((two >> 16) as u32 & 0xffff) * order.templates) >> 16,
            source: (one >> 32) as u32 & order.mask,
            port: two as u16 | 1024,
            sequence: one as u32 ^ (two >> 32) as u32,
        }
    }

    /// xorshift64*.
    #[inline(always)]
    fn next(&mut self) -> u64 {
        let mut x = self.random;
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.random = x;
        x.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

impl Template {
    /// Writes what was drawn, and the checksums that go with it, over a copy of the template.
    #[inline(always)]
    pub fn finish(&self, draw: &Draw, room: &mut impl Room) -> Option<()> {
        let source = self.source | draw.source;
        let words = (source >> 16) + (source & 0xffff);
        let is_v6 = self.kind == V6_TCP || self.kind == V6_UDP;
        let is_tcp = self.kind == V4_TCP || self.kind == V6_TCP;
        let mut sum = self.transport_sum + words + draw.port as u32;
        if is_tcp {
            sum += (draw.sequence >> 16) + (draw.sequence & 0xffff);
        }
        let mut checksum = !fold(sum);
        if !is_tcp && checksum == 0 {
            // RFC 768: zero says that there is none.
            checksum = 0xffff;
        }
        if is_v6 {
            room.put(V6_SOURCE, source.to_be_bytes())?;
            return match is_tcp {
                true => tcp::<V6_TRANSPORT>(room, draw, checksum),
                false => udp::<V6_TRANSPORT>(room, draw, checksum),
            };
        }
        room.put(V4_SOURCE, source.to_be_bytes())?;
        room.put(V4_CHECKSUM, (!fold(self.header_sum + words)).to_be_bytes())?;
        match is_tcp {
            true => tcp::<V4_TRANSPORT>(room, draw, checksum),
            false => udp::<V4_TRANSPORT>(room, draw, checksum),
        }
    }
}

#[inline(always)]
fn tcp<const AT: usize>(room: &mut impl Room, draw: &Draw, checksum: u16) -> Option<()> {
    room.put(AT, draw.port.to_be_bytes())?;
    room.put(AT + 4, draw.sequence.to_be_bytes())?;
    room.put(AT + 16, checksum.to_be_bytes())
}

#[inline(always)]
fn udp<const AT: usize>(room: &mut impl Room, draw: &Draw, checksum: u16) -> Option<()> {
    room.put(AT, draw.port.to_be_bytes())?;
    room.put(AT + 6, checksum.to_be_bytes())
}

/// A sum of words with its carries added in (RFC 1071).
#[inline(always)]
const fn fold(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    ((once & 0xffff) + (once >> 16)) as u16
}

/// Whose answers are counted. All zero counts none.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Sink {
    /// The spoofed sources' first address as a key, those bits zero that do not belong to the prefix.
    pub prefix: AddressKey,
    /// The bits that belong to the prefix.
    pub mask: AddressKey,
}

/// What came back for a spoofed source; the discriminant is its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Answer {
    /// A SYN with an acknowledgment.
    SynAck = 0,
    /// A reset.
    Reset = 1,
    /// Anything else.
    Other = 2,
}

/// How many kinds of [`Answer`] there are.
pub const ANSWERS_LEN: u32 = 3;

impl Sink {
    /// Counts what answers the IPv4 address `prefix` with the bits of `mask`.
    pub fn v4(prefix: [u8; 4], mask: [u8; 4]) -> Self {
        let mut all = [u8::MAX; 16];
        all[12..].copy_from_slice(&mask);
        Self { prefix: mapped(prefix), mask: all }
    }

    /// What `frame` answers; `None` where it is not for a spoofed source.
    #[inline(always)]
    pub fn answer<F: Frame + ?Sized>(&self, frame: &F) -> Option<Answer> {
        let ethernet: Ethernet = frame.read(0)?;
        if ethernet.ethertype.get() == frame::ETHERTYPE_IPV4 {
            let ip: Ipv4 = frame.read(size_of::<Ethernet>())?;
            let is_plain = ip.protocol == frame::TCP && ip.header_length() == size_of::<Ipv4>();
            return self.read::<_, V4_TRANSPORT>(frame, ip.destination.mapped(), is_plain);
        }
        if ethernet.ethertype.get() != frame::ETHERTYPE_IPV6 {
            return None;
        }
        let ip: Ipv6 = frame.read(size_of::<Ethernet>())?;
        self.read::<_, V6_TRANSPORT>(frame, ip.destination.key(), ip.next_header == frame::TCP)
    }

    #[inline(always)]
    fn read<F: Frame + ?Sized, const AT: usize>(
        &self,
        frame: &F,
        destination: AddressKey,
        is_plain: bool,
    ) -> Option<Answer> {
        let [to, prefix, mask] = [destination, self.prefix, self.mask].map(words);
        let outside = ((to[0] & mask[0]) ^ prefix[0]) | ((to[1] & mask[1]) ^ prefix[1]);
        if outside != 0 || mask[1] == 0 {
            return None;
        }
        if !is_plain {
            return Some(Answer::Other);
        }
        let tcp: Option<Tcp> = frame.read(AT);
        Some(match tcp {
            Some(tcp) if tcp.is_reset() => Answer::Reset,
            Some(tcp) if tcp.is_syn_ack() => Answer::SynAck,
            _ => Answer::Other,
        })
    }
}

/// A key as two words, of whatever byte order.
#[inline(always)]
fn words(key: AddressKey) -> [u64; 2] {
    transmute!(key)
}

/// No round in which nothing is due takes so many nanoseconds.
const LONGEST_ROUND: u64 = 2_000;
/// Where things lie in an untagged frame without IP options.
const V4_CHECKSUM: usize = 24;
const V4_SOURCE: usize = 26;
const V4_TRANSPORT: usize = 34;
/// The last four bytes of the source.
const V6_SOURCE: usize = 34;
const V6_TRANSPORT: usize = 54;

const _: () = assert!(size_of::<Order>() == 40 && size_of::<State>() == 72);
const _: () = assert!(size_of::<Template>() == ROOM + 16 && size_of::<Sink>() == 32);

#[cfg(test)]
mod tests;
