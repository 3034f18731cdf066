//! The impaired link of the tests: what the program `impair` does to a frame, and the map by which
//! it is told.
//!
//! Owns the draw and its bookkeeping. The maps and the redirection are the program's.

use core::mem::size_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The program that passes frames on, impaired.
pub const PROGRAM: &str = "sluice_impair";
/// The program that takes frames for the kernel.
pub const TAKE: &str = "sluice_take";
/// Hash: interface number to [`Port`].
pub const PORTS: &str = "IMPAIR_PORTS";
/// Device map: [`Port::out`] to interface number.
pub const DEVICES: &str = "IMPAIR_DEVICES";
/// Device maps whose entries all hold the same interface: a frame is sent once for each of them.
/// The first serves ports with [`Port::pair`] 0, the second those with 1.
pub const PAIRS: [&str; 2] = ["IMPAIR_PAIR_0", "IMPAIR_PAIR_1"];
/// The most interfaces that [`PORTS`] and [`DEVICES`] hold.
pub const MAX_PORTS: u32 = 8;

/// An interface whose frames go on to another. All zero passes everything on unimpaired.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Port {
    /// The state of the pseudo-random sequence: the seed at first, never 0 where anything is drawn.
    pub state: u64,
    /// Frames that came in.
    pub frames: u64,
    /// Frames that were dropped.
    pub lost: u64,
    /// Frames that were sent twice.
    pub duplicated: u64,
    /// Frames that took the detour, and so were overtaken.
    pub detoured: u64,
    /// Where frames go: an index of [`DEVICES`].
    pub out: u32,
    /// Where frames that are to be overtaken go: an index of [`DEVICES`].
    pub detour: u32,
    /// Which of [`PAIRS`] holds the way out twice.
    pub pair: u32,
    /// The chance of loss, in 2^-32.
    pub loss: u32,
    /// The chance of duplication, in 2^-32.
    pub duplication: u32,
    /// The chance of a detour, in 2^-32.
    pub reordering: u32,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on.
    Forward,
    /// It is dropped.
    Lose,
    /// It goes on twice.
    Duplicate,
    /// It goes on by a longer way.
    Detour,
}

impl Port {
    /// Draws the fate of the next frame and counts it. What is no packet is never impaired: a lost
    /// question for a neighbour costs its sender a second and tells nothing of TCP.
    #[inline(always)]
    pub fn draw(&mut self, is_packet: bool) -> Fate {
        self.frames += 1;
        if !is_packet || self.state == 0 {
            return Fate::Forward;
        }
        // One draw a question, so that the rates do not depend on each other.
        let (loses, repeats, detours) = (self.next(), self.next(), self.next());
        if loses < self.loss {
            self.lost += 1;
            return Fate::Lose;
        }
        if repeats < self.duplication {
            self.duplicated += 1;
            return Fate::Duplicate;
        }
        if detours < self.reordering {
            self.detoured += 1;
            return Fate::Detour;
        }
        Fate::Forward
    }

    /// xorshift64*: the upper half of each product.
    #[inline(always)]
    fn next(&mut self) -> u32 {
        let mut x = self.state;
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.state = x;
        (x.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    }
}

/// A chance of `per_mille` in a thousand, as the rates of a [`Port`] are given.
pub const fn chance(per_mille: u32) -> u32 {
    (per_mille as u64 * u32::MAX as u64 / 1000) as u32
}

const _: () = assert!(size_of::<Port>() == 64);

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: Port = Port {
        state: 0x5EED,
        frames: 0,
        lost: 0,
        duplicated: 0,
        detoured: 0,
        out: 0,
        detour: 1,
        pair: 0,
        loss: chance(50),
        duplication: chance(50),
        reordering: chance(50),
    };

    #[test]
    fn draw_follows_its_rates_and_counts_each_fate() {
        const FRAMES: u64 = 100_000;
        let mut port = SEED;
        let mut fates = [0_u64; 4];
        for _ in 0..FRAMES {
            fates[port.draw(true) as usize] += 1;
        }
        let [forwarded, lost, duplicated, detoured] = fates;
        assert_eq!(port.frames, FRAMES);
        assert_eq!([port.lost, port.duplicated, port.detoured], [lost, duplicated, detoured]);
        for count in [lost, duplicated, detoured] {
            assert!((4000..6000).contains(&count), "{fates:?}");
        }
        assert!(forwarded > 80_000);
    }

    #[test]
    fn draw_of_the_same_seed_is_the_same() {
        let (mut one, mut other) = (SEED, SEED);
        for _ in 0..1000 {
            assert_eq!(one.draw(true), other.draw(true));
        }
        assert_eq!(one, other);
    }

    #[test]
    fn draw_leaves_other_frames_and_ports_without_a_seed_alone() {
        let mut port = Port { loss: u32::MAX, ..SEED };
        assert_eq!((port.draw(false), port.draw(true)), (Fate::Forward, Fate::Lose));
        port.state = 0;
        assert_eq!(port.draw(true), Fate::Forward);
    }
}
