//! How many frames lie ready for the kernel to receive into.
//!
//! The kernel takes them in the order in which they were given, so that all that lie ready are written
//! in turn: with few of them what is written is still in the cache of the core, with many a stall of the
//! worker loses none. All lie ready at first, after silence, and as soon as frames pile up; few where
//! frames come steadily and are taken as they come. Knows no ring.

/// The number of frames that are to lie ready.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    /// All there are.
    all: usize,
    /// Frames since it was last seen that many are needed.
    steady: usize,
    /// Whether any came since the last look.
    has_some: bool,
}

impl Level {
    /// All of `all` frames.
    pub(super) fn new(all: usize) -> Self {
        Self { all, steady: 0, has_some: false }
    }

    /// The number now.
    pub(super) fn now(&self) -> usize {
        if self.is_few() { FEW.min(self.all) } else { self.all }
    }

    /// Frames were received, and `behind` them others wait.
    pub(super) fn on_received(&mut self, n: usize, behind: usize) {
        self.has_some = true;
        self.steady = if behind > PILE { 0 } else { self.steady.saturating_add(n) };
    }

    /// Another second is over.
    pub(super) fn on_second(&mut self) {
        if !core::mem::take(&mut self.has_some) {
            self.steady = 0;
        }
    }

    /// Whether frames come steadily.
    fn is_few(&self) -> bool {
        self.steady >= STEADY * self.all
    }
}

/// Frames that lie ready where they come steadily: 2 MiB, as a second-level cache holds.
const FEW: usize = 1024;
/// So many waiting frames are a pile: a worker that waits for its core as long again would lose some.
const PILE: usize = FEW / 4;
/// How often all of the frames have to come round before few are enough.
const STEADY: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: usize = 8192;

    fn steady() -> Level {
        let mut level = Level::new(ALL);
        (0..STEADY * ALL / 64).for_each(|_| level.on_received(64, 10));
        level
    }

    #[test]
    fn level_is_low_once_frames_came_steadily() {
        let mut level = Level::new(ALL);
        (1..STEADY * ALL / 64).for_each(|_| level.on_received(64, 10));
        assert_eq!(level.now(), ALL);
        level.on_received(64, 10);
        assert_eq!(level.now(), FEW);
    }

    #[test]
    fn level_is_high_again_as_soon_as_frames_pile_up() {
        let mut level = steady();
        level.on_received(64, PILE);
        assert_eq!(level.now(), FEW);
        level.on_received(64, PILE + 1);
        assert_eq!(level.now(), ALL);
        level.on_received(64, 0);
        assert_eq!(level.now(), ALL);
    }

    #[test]
    fn level_is_high_again_after_a_silent_second() {
        let mut level = steady();
        level.on_second();
        assert_eq!(level.now(), FEW);
        level.on_second();
        assert_eq!(level.now(), ALL);
    }

    #[test]
    fn level_of_fewer_frames_is_no_more_than_they_are() {
        let mut level = Level::new(100);
        level.on_received(STEADY * 100, 0);
        assert_eq!(level.now(), 100);
    }
}
