//! Where a stack's frames go: buffers that are there before anything is measured.

/// Frames in the order in which they were sent.
pub struct Outbox {
    buffers: Vec<[u8; LEN]>,
    /// Where each frame lies in its buffer, as far as they were sent.
    places: Vec<(usize, usize)>,
    /// How many were sent.
    sent: usize,
}

impl Outbox {
    /// Room for `frames` frames.
    pub fn new(frames: usize) -> Self {
        Self { buffers: vec![[0; LEN]; frames], places: vec![(0, 0); frames], sent: 0 }
    }

    /// The next buffer; `None` when there is none.
    #[inline]
    pub fn next(&mut self) -> Option<&mut [u8]> {
        self.buffers.get_mut(self.sent).map(|buffer| &mut buffer[..])
    }

    /// Sends what lies there in the next buffer.
    #[inline]
    pub fn commit(&mut self, start: usize, len: usize) {
        self.places[self.sent] = (start, len);
        self.sent += 1;
    }

    /// What was sent.
    pub fn frames(&self) -> impl Iterator<Item = &[u8]> {
        let lain = self.buffers.iter().zip(&self.places[..self.sent]);
        lain.map(|(buffer, (start, len))| &buffer[*start..start + len])
    }

    /// Forgets what was sent.
    pub fn clear(&mut self) {
        self.sent = 0;
    }
}

/// The length of a buffer: that of a UMEM frame without its headroom.
const LEN: usize = sluice::shard::FRAME_LEN;
