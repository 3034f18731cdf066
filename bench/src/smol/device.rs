//! Frames of the rings as smoltcp's devices: one for what comes, one for what goes.

use sluice::shard::Transmit;
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

/// The frames of one batch, and the replies that smoltcp makes at once: no ring is at hand then.
pub(super) struct Ingress<'a> {
    pub(super) frames: &'a [&'a [u8]],
    pub(super) replies: &'a mut Replies,
    pub(super) mtu: u16,
}

/// Whole frames that wait for the transmit ring.
#[derive(Default)]
pub(super) struct Replies(Vec<Vec<u8>>);

/// The transmit ring.
pub(super) struct Egress<'a> {
    pub(super) tx: &'a mut dyn Transmit,
    /// Whether something was left because the ring was full.
    pub(super) is_full: bool,
    pub(super) mtu: u16,
}

pub(super) struct Received<'a>(&'a [u8]);

pub(super) struct Replying<'a>(&'a mut Replies);

pub(super) struct Sending<'a>(&'a mut dyn Transmit);

impl Replies {
    /// Puts them on the ring; whether all had room.
    pub(super) fn flush(&mut self, tx: &mut dyn Transmit) -> bool {
        let mut sent = 0;
        for reply in &self.0 {
            let Some(frame) = tx.reserve() else { break };
            frame[..reply.len()].copy_from_slice(reply);
            tx.commit(0, reply.len());
            sent += 1;
        }
        self.0.drain(..sent);
        self.0.is_empty()
    }
}

impl RxToken for Received<'_> {
    #[inline]
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(self.0)
    }
}

impl TxToken for Replying<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        let mut frame = vec![0; len];
        let result = fill(&mut frame);
        self.0.0.push(frame);
        result
    }
}

impl TxToken for Sending<'_> {
    #[inline]
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        let frame = self.0.reserve().expect("a token is given only where there is a frame");
        let result = fill(&mut frame[..len]);
        self.0.commit(0, len);
        result
    }
}

impl Device for Ingress<'_> {
    type RxToken<'a>
        = Received<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Replying<'a>
    where
        Self: 'a;

    #[inline]
    fn receive(&mut self, _now: Instant) -> Option<(Received<'_>, Replying<'_>)> {
        if self.replies.0.len() >= MOST_REPLIES {
            // As on any device whose ring is full, what comes then is lost.
            self.frames = &[];
        }
        let (first, rest) = self.frames.split_first()?;
        self.frames = rest;
        Some((Received(first), Replying(self.replies)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Replying<'_>> {
        (self.replies.0.len() < MOST_REPLIES).then_some(Replying(self.replies))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        capabilities(self.mtu)
    }
}

impl Device for Egress<'_> {
    type RxToken<'a>
        = Received<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Sending<'a>
    where
        Self: 'a;

    fn receive(&mut self, _now: Instant) -> Option<(Received<'_>, Sending<'_>)> {
        None
    }

    #[inline]
    fn transmit(&mut self, _now: Instant) -> Option<Sending<'_>> {
        if self.tx.reserve().is_none() {
            self.is_full = true;
            return None;
        }
        Some(Sending(self.tx))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        capabilities(self.mtu)
    }
}

/// Checksums are verified and made in software: that is what is so unless something else is said.
fn capabilities(mtu: u16) -> DeviceCapabilities {
    let mut capabilities = DeviceCapabilities::default();
    capabilities.medium = Medium::Ethernet;
    capabilities.max_transmission_unit = usize::from(mtu) + ETHERNET;
    capabilities
}

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
/// The most replies that wait.
const MOST_REPLIES: usize = 1_024;
