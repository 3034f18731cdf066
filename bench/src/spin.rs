//! A process that keeps a CPU awake: run at idle priority, it takes only what nobody wants.
//!
//! An idle virtual CPU wakes slowly, so that a stack which spins would win by not halting alone.

use std::hint::black_box;
use std::os::fd::AsFd;

use anyhow::Result;
use clap::Args;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::load::pin;

/// The options of the spinner.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// The CPU it runs on.
    #[arg(long, value_name = "CPU")]
    pub cpu: usize,
}

/// Spins until standard input ends.
///
/// # Errors
/// Where there is no such CPU.
pub fn run(options: &Options) -> Result<()> {
    pin(options.cpu)?;
    let stdin = std::io::stdin();
    let mut count = 0_u64;
    loop {
        for _ in 0..TURN {
            // Plain work: the processor's pause instruction makes some hypervisors take the CPU away.
            count = black_box(count.wrapping_add(1));
        }
        let mut ended = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ended, PollTimeout::ZERO)? > 0 {
            return Ok(());
        }
    }
}

/// Steps between two looks at standard input: about a millisecond.
const TURN: u32 = 1_000_000;
