//! One direction of a path: when each frame arrives, if it does.

use sluice::time::Instant;
use sluice::wire::ethernet::{ETHERTYPE_ARP, HEADER_LEN};
use sluice::wire::tcp::{Flags, Options, split};
use sluice::wire::{Addr, PROTOCOL_ICMPV6, PROTOCOL_TCP, checksum, ipv4, ipv6, tcp};

use crate::FAMILY;
use crate::impairment::{Impairment, Strips};
use crate::node::Family;
use crate::seed::Rng;

/// One direction of a path.
pub(crate) struct Link {
    pub(crate) impairment: Impairment,
    rng: Rng,
    /// When the frame before has left the sender's end.
    free: Instant,
    /// When the last frame that was not overtaken arrives.
    newest: Instant,
    /// Frames that did not arrive.
    pub(crate) lost: u64,
    /// IP packets that arrive damaged, each copy for itself.
    pub(crate) damaged: u64,
}

impl Link {
    pub(crate) fn new(impairment: Impairment, seed: u64) -> Self {
        let rng = Rng::new(seed);
        let (free, newest) = (Instant::ZERO, Instant::ZERO);
        Self { impairment, rng, free, newest, lost: 0, damaged: 0 }
    }

    /// Takes a frame at `now`; gives each copy that arrives to `arrive` with its time.
    pub(crate) fn carry(
        &mut self,
        mut frame: Vec<u8>,
        now: Instant,
        arrive: &mut dyn FnMut(Instant, Vec<u8>),
    ) {
        let Impairment { loss, duplicate, corrupt, mtu, .. } = self.impairment;
        // The draws are the same for every frame, so that one fault does not shift the others.
        let (is_lost, is_twice) = (self.rng.chance(loss), self.rng.chance(duplicate));
        let (is_corrupt, bit) = (self.rng.chance(corrupt), self.rng.next());
        let Some(left) = self.leave(frame.len(), now) else {
            self.lost += 1;
            return;
        };
        // Three lost questions make a host unreachable, rightly: that is a scenario of its own.
        if (is_lost && !is_discovery(&frame)) || frame.len() > HEADER_LEN + mtu {
            self.lost += 1;
            return;
        }
        let is_damaged = is_corrupt && !is_discovery(&frame);
        self.damaged += u64::from(is_damaged) * (1 + u64::from(is_twice));
        self.strip(&mut frame);
        let frame = if is_corrupt { inverted(frame, bit) } else { frame };
        if is_twice {
            let at = self.arrival(left);
            arrive(at, frame.clone());
        }
        let at = self.arrival(left);
        arrive(at, frame);
    }

    /// Takes options out of a SYN, as some boxes do: no-operations stand in their place.
    fn strip(&self, frame: &mut [u8]) {
        let Strips { mss, window_scale, sack, timestamps } = self.impairment.strips;
        if !(mss || window_scale || sack || timestamps) || is_discovery(frame) {
            return;
        }
        let (src, dst, protocol) = names(&frame[HEADER_LEN..]);
        let at = HEADER_LEN + FAMILY.headers() - tcp::HEADER_LEN;
        let is_tcp = protocol == PROTOCOL_TCP;
        let Some((mut header, options, text)) = is_tcp.then(|| split(&frame[at..]).ok()).flatten()
        else {
            return;
        };
        if !header.flags.contains(Flags::SYN) {
            return;
        }
        header.checksum = 0;
        let sum = checksum::sum(text);
        let mut rest = options.to_vec();
        let mut options = Options::parse(options).expect("nodes send sound options");
        options.mss = options.mss.filter(|_| !mss);
        options.window_scale = options.window_scale.filter(|_| !window_scale);
        options.sack_permitted &= !sack;
        options.timestamps = options.timestamps.filter(|_| !timestamps);
        rest.fill(NO_OPERATION);
        options.emit(&mut rest[..options.len()]);
        header.emit(&rest, &mut frame[at..]);
        tcp::fill_checksum(&mut frame[at..], &src, &dst, sum);
    }

    /// When a frame of `len` octets has left at the path's rate; `None` if the queue is full.
    fn leave(&mut self, len: usize, now: Instant) -> Option<Instant> {
        let Some(rate) = self.impairment.rate else { return Some(now) };
        let start = self.free.max(now);
        if start.since(now) > self.impairment.queue {
            return None;
        }
        let nanos = len as u64 * 8 * 1_000_000_000 / rate;
        self.free = start + std::time::Duration::from_nanos(nanos);
        Some(self.free)
    }

    fn arrival(&mut self, left: Instant) -> Instant {
        let Impairment { delay, jitter, reorder, lateness, .. } = self.impairment;
        let nanos = |d: std::time::Duration| d.as_nanos() as u64;
        let jitter = std::time::Duration::from_nanos(self.rng.below(nanos(jitter)));
        let late = std::time::Duration::from_nanos(self.rng.below(nanos(lateness)));
        let at = (left + delay + jitter).max(self.newest);
        if self.rng.chance(reorder) {
            return at + late;
        }
        self.newest = at;
        at
    }
}

/// The addresses of a node's packet, and its protocol.
fn names(packet: &[u8]) -> (Addr, Addr, u8) {
    match FAMILY {
        Family::V4 => {
            let packet = ipv4::Packet::parse(packet).expect("nodes send sound packets");
            (packet.src, packet.dst, packet.protocol)
        }
        Family::V6 => {
            let packet = ipv6::Packet::parse(packet).expect("nodes send sound packets");
            (packet.src, packet.dst, packet.next_header)
        }
    }
}

/// The frame with one bit of its IP packet inverted. Ethernet's own header is left alone, and so is
/// what asks for neighbours: only the link's frame check, which is not simulated, protects them. The
/// header of IPv6 has no checksum.
fn inverted(mut frame: Vec<u8>, bit: u64) -> Vec<u8> {
    let unprotected = HEADER_LEN + if FAMILY == Family::V4 { 0 } else { ipv6::HEADER_LEN };
    if !is_discovery(&frame) {
        let bits = (frame.len() - unprotected) as u64 * 8;
        let at = unprotected * 8 + (bit % bits) as usize;
        frame[at / 8] ^= 1 << (at % 8);
    }
    frame
}

/// Whether a frame is ARP, or a neighbour's solicitation or advertisement.
pub(crate) fn is_discovery(frame: &[u8]) -> bool {
    let packet = &frame[HEADER_LEN..];
    match FAMILY {
        Family::V4 => frame[12..HEADER_LEN] == ETHERTYPE_ARP.to_be_bytes(),
        Family::V6 => packet[6] == PROTOCOL_ICMPV6 && matches!(packet[ipv6::HEADER_LEN], 135 | 136),
    }
}

/// The option of kind 1 (RFC 9293, 3.2).
const NO_OPERATION: u8 = 1;
