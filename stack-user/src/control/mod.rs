//! Loading and attaching the XDP program, its maps, and what netlink knows.

pub mod attached;
pub mod blocks;
pub mod config;
pub mod error;
pub mod front;
pub mod guard;
pub mod maps;
pub mod netlink;
pub mod ports;
pub mod prefix;
pub mod probe;
pub mod program;
pub mod receive_hash;
mod refusal;
mod sys;
pub mod sysctl;

pub use refusal::Refusal;
