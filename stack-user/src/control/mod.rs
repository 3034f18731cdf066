//! Loading and attaching the XDP program, its maps, and what netlink knows.

pub mod attached;
pub mod blocks;
pub mod config;
pub mod error;
pub mod front;
pub mod maps;
pub mod netlink;
pub mod ports;
pub mod prefix;
pub mod probe;
pub mod program;
mod refusal;
mod sys;

pub use refusal::Refusal;
