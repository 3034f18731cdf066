//! Frames of a UMEM as move-only tokens, and the ledger that proves none is lost or used twice.
//!
//! A frame is `Free -> in the fill ring -> Rx -> Free` or `Free -> Tx -> in the transmit ring ->
//! Free`. xsk-rs's descriptors are `Copy` and may be given to the kernel twice; they stay inside
//! this module and [`super::rings`], so that the compiler keeps the rule. Knows no memory and no
//! ring.

use core::marker::PhantomData;

use xsk_rs::umem::frame::FrameDesc;

/// The frame holds nothing.
#[derive(Debug)]
pub(super) struct Free;
/// The frame holds a received packet.
#[derive(Debug)]
pub(super) struct Rx;
/// The frame holds a packet to be sent.
#[derive(Debug)]
pub(super) struct Tx;

/// The size of frames. A power of two: where an address lies is told by its bits, without a division.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(u32);

impl Size {
    /// So many bytes.
    ///
    /// # Panics
    /// When they are no power of two.
    pub(super) fn new(bytes: usize) -> Self {
        assert!(bytes.is_power_of_two(), "frames lie at multiples of their size");
        Self(bytes.trailing_zeros())
    }

    /// In bytes.
    #[inline]
    pub(super) const fn bytes(self) -> usize {
        1 << self.0
    }

    /// The number of the frame in which an address lies, counted from the start of the UMEM.
    #[inline]
    const fn chunk(self, addr: usize) -> usize {
        addr >> self.0
    }

    /// Where in its frame an address lies.
    #[inline]
    pub(super) const fn offset(self, addr: usize) -> usize {
        addr & (self.bytes() - 1)
    }
}

/// The right to use one frame, of which there is never a second one.
#[derive(Debug)]
pub(super) struct Frame<S> {
    /// Number of the frame in its UMEM.
    chunk: u32,
    /// Where the data begins and how long it is, as the rings know it.
    desc: FrameDesc,
    state: PhantomData<S>,
}

impl<S> Frame<S> {
    /// Takes over a descriptor that a ring or the UMEM gave.
    #[inline]
    pub(super) fn adopt(desc: FrameDesc, size: Size) -> Self {
        let chunk = u32::try_from(size.chunk(desc.addr())).unwrap_or(u32::MAX);
        Self { chunk, desc, state: PhantomData }
    }

    /// Gives up the token for the descriptor, which goes to a ring next.
    pub(super) fn into_desc(self) -> FrameDesc {
        self.desc
    }

    /// The descriptor, to be written by the UMEM.
    pub(super) fn desc_mut(&mut self) -> &mut FrameDesc {
        &mut self.desc
    }

    /// Number of the frame in its UMEM.
    pub(super) fn chunk(&self) -> u32 {
        self.chunk
    }

    /// Where the data begins, in bytes from the start of the UMEM.
    pub(super) fn addr(&self) -> usize {
        self.desc.addr()
    }

    /// Length of the data in bytes.
    pub(super) fn data_len(&self) -> usize {
        self.desc.lengths().data()
    }

    fn become_state<T>(self) -> Frame<T> {
        Frame { chunk: self.chunk, desc: self.desc, state: PhantomData }
    }
}

impl Frame<Free> {
    /// The frame now holds a packet to be sent, as written by the UMEM.
    pub(super) fn filled(self) -> Frame<Tx> {
        self.become_state()
    }
}

impl Frame<Rx> {
    /// The packet has been dealt with.
    fn emptied(self) -> Frame<Free> {
        self.become_state()
    }
}

/// Who holds a frame; kept per frame in debug builds alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(debug_assertions), allow(dead_code))]
enum Holder {
    Pool,
    Kernel,
    Hand,
}

/// One part of a UMEM, for reception or for transmission: its free frames and its ledger.
///
/// The parts never exchange frames, so that reception cannot starve transmission.
#[derive(Debug)]
pub(super) struct Pool {
    free: Vec<Frame<Free>>,
    /// Frames of this part.
    total: usize,
    /// Frames in a ring or inside the kernel.
    in_kernel: usize,
    /// Frames held as tokens outside the pool.
    in_hand: usize,
    /// Number of this part's first frame.
    first: u32,
    #[cfg(debug_assertions)]
    holders: Vec<Holder>,
}

impl Pool {
    /// A pool of `free`, whose numbers follow each other.
    pub(super) fn new(free: Vec<Frame<Free>>) -> Self {
        Self {
            total: free.len(),
            in_kernel: 0,
            in_hand: 0,
            first: free.iter().map(Frame::chunk).min().unwrap_or(0),
            #[cfg(debug_assertions)]
            holders: vec![Holder::Pool; free.len()],
            free,
        }
    }

    /// Frames that nobody holds.
    pub(super) fn free(&self) -> usize {
        self.free.len()
    }

    /// Frames in a ring or inside the kernel.
    pub(super) fn in_kernel(&self) -> usize {
        self.in_kernel
    }

    /// Takes a free frame into the hand.
    pub(super) fn take(&mut self) -> Option<Frame<Free>> {
        let frame = self.free.pop()?;
        self.in_hand += 1;
        self.moved(frame.chunk, Holder::Pool, Holder::Hand);
        Some(frame)
    }

    /// Takes back a frame that was in the hand.
    pub(super) fn give_back(&mut self, frame: Frame<Free>) {
        self.in_hand -= 1;
        self.moved(frame.chunk, Holder::Hand, Holder::Pool);
        self.free.push(frame);
    }

    /// Takes back a received frame.
    pub(super) fn release(&mut self, frame: Frame<Rx>) {
        self.give_back(frame.emptied());
    }

    /// Turns a frame in the hand into the descriptor that goes to the kernel.
    pub(super) fn give_kernel<S>(&mut self, frame: Frame<S>) -> FrameDesc {
        self.in_hand -= 1;
        self.in_kernel += 1;
        self.moved(frame.chunk, Holder::Hand, Holder::Kernel);
        frame.into_desc()
    }

    /// Takes into the hand a frame that the kernel gave back through a ring.
    pub(super) fn off_kernel<S>(&mut self, frame: Frame<S>) -> Frame<S> {
        self.in_kernel -= 1;
        self.in_hand += 1;
        self.moved(frame.chunk, Holder::Kernel, Holder::Hand);
        frame
    }

    /// In debug builds: every frame is free, in the kernel or in the hand, and `in_hand` are.
    pub(super) fn assert_whole(&self, in_hand: usize) {
        debug_assert_eq!(self.in_hand, in_hand, "frames in the hand");
        debug_assert_eq!(
            self.free.len() + self.in_kernel + self.in_hand,
            self.total,
            "free + in kernel + in hand is the number of frames"
        );
    }

    #[cfg(debug_assertions)]
    fn moved(&mut self, chunk: u32, from: Holder, to: Holder) {
        let holder = chunk.checked_sub(self.first).and_then(|n| self.holders.get_mut(n as usize));
        let Some(holder) = holder else { panic!("frame {chunk} is not of this part") };
        assert_eq!(*holder, from, "holder of frame {chunk}");
        *holder = to;
    }

    #[cfg(not(debug_assertions))]
    fn moved(&mut self, _chunk: u32, _from: Holder, _to: Holder) {
        let _ = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame<S>(chunk: u32) -> Frame<S> {
        Frame { chunk, desc: FrameDesc::default(), state: PhantomData }
    }

    fn pool(chunks: core::ops::Range<u32>) -> Pool {
        Pool::new(chunks.map(frame).collect())
    }

    #[test]
    fn size_tells_frames_and_places_in_them_apart() {
        let size = Size::new(2048);
        assert_eq!((size.bytes(), size.chunk(2047), size.chunk(2048)), (2048, 0, 1));
        assert_eq!((size.offset(2047), size.offset(3 * 2048 + 256)), (2047, 256));
    }

    #[test]
    fn pool_frame_received_and_released_is_free_again() {
        let mut pool = pool(4..8);
        let taken = pool.take().unwrap();
        let chunk = taken.chunk();
        pool.give_kernel(taken);
        pool.assert_whole(0);
        let received = pool.off_kernel(frame::<Rx>(chunk));
        pool.assert_whole(1);
        pool.release(received);
        pool.assert_whole(0);
        assert_eq!((pool.free(), pool.in_kernel), (4, 0));
    }

    #[test]
    fn pool_empty_take_is_none() {
        let mut pool = pool(0..1);
        let _held = pool.take().unwrap();
        assert!(pool.take().is_none());
    }

    #[test]
    #[should_panic(expected = "frames in the hand")]
    fn pool_token_dropped_is_noticed() {
        let mut pool = pool(0..2);
        let _lost = pool.take();
        pool.assert_whole(0);
    }

    #[test]
    #[should_panic(expected = "holder of frame 0")]
    fn pool_frame_twice_from_kernel_is_noticed() {
        let mut pool = pool(0..2);
        for _ in 0..2 {
            let taken = pool.take().unwrap();
            pool.give_kernel(taken);
        }
        let _first = pool.off_kernel(frame::<Rx>(0));
        let _again = pool.off_kernel(frame::<Rx>(0));
    }

    #[test]
    #[should_panic(expected = "not of this part")]
    fn pool_frame_of_the_other_part_is_noticed() {
        let mut pool = pool(4..8);
        let taken = pool.take().unwrap();
        pool.give_kernel(taken);
        let _stranger = pool.off_kernel(frame::<Rx>(3));
    }
}
