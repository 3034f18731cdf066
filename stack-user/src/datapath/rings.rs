//! The four rings of an AF_XDP socket, wrapped once: tokens in, tokens out.
//!
//! Nothing outside this file calls xsk-rs's `produce` and `consume`. Makes no system call.

use xsk_rs::config::QueueSize;
use xsk_rs::socket::{RxQueue, TxQueue};
use xsk_rs::umem::frame::FrameDesc;
use xsk_rs::umem::{CompQueue, FillQueue};

use super::Error;
use super::frame::{Frame, Pool, Rx, Size, Tx};

/// Descriptors moved in one go.
const CHUNK: usize = 64;

/// Descriptors on their way between a ring and tokens. Kept from call to call, since they are 2 KiB to
/// clear, and most turns move a few.
type Descs = Box<[FrameDesc; CHUNK]>;

fn descs() -> Descs {
    Box::new([FrameDesc::default(); CHUNK])
}

/// A ring size, which has to be a power of two.
pub(super) fn queue_size(size: u32) -> Result<QueueSize, Error> {
    QueueSize::new(size).map_err(|err| Error::Config(err.to_string()))
}

/// Free frames on their way to the kernel, for it to receive into.
#[derive(Debug)]
pub(super) struct FillRing {
    queue: FillQueue,
    descs: Descs,
}

impl FillRing {
    pub(super) fn new(queue: FillQueue) -> Self {
        Self { queue, descs: descs() }
    }

    /// Gives the kernel at most `most` free frames, for which the ring has room; returns how many.
    pub(super) fn refill(&mut self, pool: &mut Pool, most: usize) -> usize {
        let Self { queue, descs } = self;
        let mut given = 0;
        while given < most {
            let room = queue.nb_free(CHUNK as u32) as usize;
            let mut n = 0;
            while n < room.min(CHUNK).min(most - given)
                && let Some(frame) = pool.take()
            {
                descs[n] = pool.give_kernel(frame);
                n += 1;
            }
            if n == 0 {
                break;
            }
            // SAFETY: each descriptor came from a token that was given up for it, of the pool of
            // this ring's UMEM.
            let produced = unsafe { queue.produce(&descs[..n]) };
            debug_assert_eq!(produced, n, "room on the fill ring was asked for");
            given += n;
        }
        given
    }

    /// Whether the kernel waits for a system call before it takes frames.
    pub(super) fn needs_wakeup(&self) -> bool {
        self.queue.needs_wakeup()
    }
}

/// Frames that hold received packets.
#[derive(Debug)]
pub(super) struct RxRing {
    queue: RxQueue,
    descs: Descs,
}

impl RxRing {
    pub(super) fn new(queue: RxQueue) -> Self {
        Self { queue, descs: descs() }
    }

    /// Appends at most `most` (and at most 64) received frames to `out`; returns how many.
    pub(super) fn receive(
        &mut self,
        pool: &mut Pool,
        size: Size,
        out: &mut Vec<Frame<Rx>>,
        most: usize,
    ) -> usize {
        let Self { queue, descs } = self;
        // SAFETY: the frames on this ring are of its own UMEM, and become tokens right here.
        let n = unsafe { queue.consume(&mut descs[..most.min(CHUNK)]) };
        out.extend(descs[..n].iter().map(|&desc| pool.off_kernel(Frame::adopt(desc, size))));
        n
    }

    /// Frames that wait, as far as was seen when the last ones were taken.
    pub(super) fn waiting(&mut self) -> usize {
        self.queue.nb_avail(u32::MAX) as usize
    }

    /// Whether a frame waits.
    pub(super) fn has_frames(&mut self) -> bool {
        self.queue.nb_avail(1) > 0
    }
}

/// Frames that hold packets to be sent.
#[derive(Debug)]
pub(super) struct TxRing {
    queue: TxQueue,
    size: u32,
}

impl TxRing {
    pub(super) fn new(queue: TxQueue, size: u32) -> Self {
        Self { queue, size }
    }

    /// Whether the ring has a free slot.
    pub(super) fn has_room(&mut self) -> bool {
        self.queue.nb_free(1) > 0
    }

    /// Puts `frame` on the ring. The caller has asked [`TxRing::has_room`].
    pub(super) fn submit(&mut self, pool: &mut Pool, frame: Frame<Tx>) {
        let desc = pool.give_kernel(frame);
        // SAFETY: the token was given up for the descriptor, and is of this ring's UMEM.
        let produced = unsafe { self.queue.produce_one(&desc) };
        debug_assert_eq!(produced, 1, "room on the transmit ring was asked for");
    }

    /// Frames that the kernel has not taken from the ring yet.
    pub(super) fn waiting(&mut self) -> u32 {
        self.size - self.queue.nb_free_exact()
    }

    /// Whether the kernel waits for a system call before it sends.
    pub(super) fn needs_wakeup(&self) -> bool {
        self.queue.needs_wakeup()
    }

    /// The socket's descriptor, with which its statistics come.
    pub(super) fn socket(&self) -> &xsk_rs::socket::Fd {
        self.queue.fd()
    }
}

/// Frames whose packet has been sent.
#[derive(Debug)]
pub(super) struct CompletionRing {
    queue: CompQueue,
    descs: Descs,
}

impl CompletionRing {
    pub(super) fn new(queue: CompQueue) -> Self {
        Self { queue, descs: descs() }
    }

    /// Takes every sent frame back into `pool`; returns how many.
    pub(super) fn complete(&mut self, pool: &mut Pool, size: Size) -> usize {
        let Self { queue, descs } = self;
        let mut done = 0;
        loop {
            // SAFETY: the frames on this ring are of its own UMEM, and become tokens right here.
            let n = unsafe { queue.consume(&mut descs[..]) };
            for &desc in &descs[..n] {
                let frame = pool.off_kernel(Frame::adopt(desc, size));
                pool.give_back(frame);
            }
            done += n;
            if n < CHUNK {
                return done;
            }
        }
    }
}
