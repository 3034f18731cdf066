//! Loading and attaching the XDP program, its maps, and what netlink knows.

pub mod attached;
pub mod error;
pub mod maps;
pub mod program;
mod sys;
