//! One direction of a path: when each frame arrives, if it does.

use sluice::time::Instant;
use sluice::wire::ethernet::{ETHERTYPE_IPV4, HEADER_LEN};

use crate::impairment::Impairment;
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
        frame: Vec<u8>,
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
        // Three lost ARP requests make a host unreachable, rightly: that is a scenario of its own.
        if (is_lost && is_ipv4(&frame)) || frame.len() > HEADER_LEN + mtu {
            self.lost += 1;
            return;
        }
        self.damaged += u64::from(is_corrupt && is_ipv4(&frame)) * (1 + u64::from(is_twice));
        let frame = if is_corrupt { inverted(frame, bit) } else { frame };
        if is_twice {
            let at = self.arrival(left);
            arrive(at, frame.clone());
        }
        let at = self.arrival(left);
        arrive(at, frame);
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

/// The frame with one bit of its IP packet inverted. Ethernet's own header is left alone, and so is
/// ARP: only the link's frame check, which is not simulated, protects them.
fn inverted(mut frame: Vec<u8>, bit: u64) -> Vec<u8> {
    if is_ipv4(&frame) {
        let bits = (frame.len() - HEADER_LEN) as u64 * 8;
        let at = HEADER_LEN * 8 + (bit % bits) as usize;
        frame[at / 8] ^= 1 << (at % 8);
    }
    frame
}

fn is_ipv4(frame: &[u8]) -> bool {
    frame[12..HEADER_LEN] == ETHERTYPE_IPV4.to_be_bytes()
}
