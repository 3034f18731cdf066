//! The memory that frames lie in, and the only way to their bytes.
//!
//! The UMEM is cut into a part for reception and a fixed part for transmission ([`Pool`]). Access
//! needs the frame's token, which is what makes it exclusive.

use core::num::NonZeroU32;
use core::ptr;

use xsk_rs::config::{FrameSize, UmemConfig};
use xsk_rs::umem::Umem;
use xsk_rs::umem::frame::FrameDesc;

use super::Error;
use super::frame::{Frame, Free, Pool, Rx, Size, Tx};
use crate::shard::{AHEAD, Ahead};

/// Bytes that the kernel leaves before the data of a received frame (`XDP_PACKET_HEADROOM`), for
/// programs that put something in front.
pub(super) const HEADROOM: usize = 256;

/// Bytes of a line of the cache.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// The frame sizes that aligned mode offers for Ethernet: both hold one packet each.
const SMALL: usize = 2048;
const LARGE: usize = 4096;
/// What a frame needs beside its IP packet (see [`crate::shard::FRAME_LEN`]), in bytes.
const BESIDE: usize = 128;
/// The largest MTU that is served: a program without fragments is refused above it (the limit is
/// 3506 on veth, of which two VLAN tags are the frame's).
pub const MTU_MAX: u16 = 3498;

/// Size of the frames for an interface of this MTU, in bytes; `None` when no size holds it.
pub(super) fn frame_size_for(mtu: u16) -> Option<usize> {
    let needed = usize::from(mtu) + BESIDE;
    match needed {
        n if n <= SMALL - HEADROOM => Some(SMALL),
        _ if mtu <= MTU_MAX => Some(LARGE),
        _ => None,
    }
}

/// A UMEM and the address of its memory.
#[derive(Debug)]
pub(super) struct Memory {
    umem: Umem,
    /// Address of the first frame in this process.
    base: usize,
    size: Size,
}

/// The two parts that a UMEM is cut into.
#[derive(Debug)]
pub(super) struct Parts {
    /// Frames for the fill ring.
    pub(super) rx: Pool,
    /// Frames kept for transmission.
    pub(super) tx: Pool,
}

impl Memory {
    /// Maps and registers `rx + tx` frames of `frame_size` bytes.
    pub(super) fn new(config: UmemConfig, rx: u32, tx: u32) -> Result<(Self, Parts), Error> {
        let count = NonZeroU32::new(rx + tx).ok_or(Error::NoFrames)?;
        let (umem, descs) = Umem::new(config, count, false).map_err(Error::umem)?;
        let size = Size::new(config.frame_size().get() as usize);
        // SAFETY: the default descriptor names the first frame, which no ring and no token has yet.
        let base = unsafe { umem.data(&FrameDesc::default()) }.contents().as_ptr().addr();
        let mut frames: Vec<Frame<Free>> =
            descs.into_iter().map(|desc| Frame::adopt(desc, size)).collect();
        let tx_frames = frames.split_off(rx as usize);
        let parts = Parts { rx: Pool::new(frames), tx: Pool::new(tx_frames) };
        Ok((Self { umem, base, size }, parts))
    }

    /// Size of a frame, headroom included.
    #[inline]
    pub(super) fn size(&self) -> Size {
        self.size
    }

    /// The UMEM, for the sockets that are bound with it.
    pub(super) fn umem(&self) -> &Umem {
        &self.umem
    }

    /// The received packet.
    #[inline]
    pub(super) fn packet<'a>(&'a self, frame: &'a Frame<Rx>) -> &'a [u8] {
        let offset = self.size.offset(frame.addr());
        let len = frame.data_len().min(self.size.bytes() - offset);
        let at = self.base + frame.chunk() as usize * self.size.bytes() + offset;
        // SAFETY: the token is of this UMEM (one worker has one UMEM), so the range lies in one of
        // its frames, mapped as long as `umem` lives. The kernel gave the frame up when it put it on
        // the receive ring, and the token borrowed here is the only right to it. The mapping's
        // address went to the kernel through foreign code, so its provenance is exposed.
        unsafe { core::slice::from_raw_parts(ptr::with_exposed_provenance(at), len) }
    }

    /// Asks for the first lines of a received packet, which another core has written, so that they are on
    /// the way while those of others are asked for.
    #[inline]
    pub(super) fn prefetch(&self, frame: &Frame<Rx>) {
        #[cfg(target_arch = "x86_64")]
        {
            use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let at = self.base + frame.addr();
            for line in [at, at + LINE] {
                // SAFETY: a prefetch reads nothing that the program could see, and faults at no address.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(ptr::without_provenance(line)) };
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = frame;
    }

    /// What stands ahead of a received packet in its frame: the XDP program's record, or what an earlier
    /// packet has left there.
    #[inline]
    pub(super) fn ahead<'a>(&'a self, frame: &'a Frame<Rx>) -> Ahead<'a> {
        const NOTHING: Ahead<'static> = &[0; AHEAD];
        let offset = self.size.offset(frame.addr());
        if offset < AHEAD {
            return NOTHING;
        }
        let at = self.base + frame.chunk() as usize * self.size.bytes() + offset - AHEAD;
        // SAFETY: so many bytes lie between the frame's beginning and the packet's, as just compared, and
        // they are as much the token's as those of `packet`, and mapped as long; an array of bytes may lie
        // anywhere and be anything.
        unsafe { &*ptr::with_exposed_provenance::<[u8; AHEAD]>(at) }
    }

    /// A free frame's bytes such that the byte at `lead` is where the rings say the data begins.
    ///
    /// `lead` is at most [`HEADROOM`].
    #[inline]
    pub(super) fn buffer<'a>(
        &'a mut self,
        frame: &'a mut Frame<Free>,
        lead: usize,
    ) -> &'a mut [u8] {
        let skipped = self.size.offset(frame.addr()).saturating_sub(lead);
        let at = self.base + frame.chunk() as usize * self.size.bytes() + skipped;
        let len = self.size.bytes() - skipped;
        // SAFETY: as in `packet`; a free frame is in no ring, and both this memory and the token
        // are borrowed mutably for as long as the slice lives.
        unsafe { core::slice::from_raw_parts_mut(ptr::with_exposed_provenance_mut(at), len) }
    }

    /// Makes a packet of the `len` bytes that begin at the frame's data.
    #[inline]
    pub(super) fn finish(&self, mut frame: Frame<Free>, len: usize) -> Frame<Tx> {
        // SAFETY: the token is the only right to this frame, so nothing else looks at it; the
        // cursor only writes the length into the descriptor.
        unsafe { self.umem.data_mut(frame.desc_mut()) }.cursor().set_pos(len);
        frame.filled()
    }
}

/// The configuration of a UMEM whose rings hold all of its frames.
pub(super) fn config(frame_size: usize, rx: u32, tx: u32) -> Result<UmemConfig, Error> {
    let size = u32::try_from(frame_size).unwrap_or(u32::MAX);
    let frame_size = FrameSize::new(size).map_err(|err| Error::Config(err.to_string()))?;
    UmemConfig::builder()
        .frame_size(frame_size)
        .fill_queue_size(super::rings::queue_size(rx)?)
        .comp_queue_size(super::rings::queue_size(tx)?)
        .build()
        .map_err(|err| Error::Config(err.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_size_for_mtu_holds_headroom_link_header_and_packet() {
        assert_eq!(frame_size_for(1500), Some(2048));
        assert_eq!(frame_size_for(1664), Some(2048));
        assert_eq!(frame_size_for(1665), Some(4096));
        assert_eq!(frame_size_for(3498), Some(4096));
        assert_eq!(frame_size_for(3499), None);
    }
}
