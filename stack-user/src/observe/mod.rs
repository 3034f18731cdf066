//! What the counters say, for people and programs.

mod board;
mod published;

pub use board::{Board, Facts, ReadClock, ReadProgram};
pub use published::{DatapathCounter, Published};
