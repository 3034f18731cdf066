//! The atomics of the tables that other threads read, in one place so that loom's can take theirs
//! under `cfg(loom)`.

pub(crate) use core::sync::atomic::{AtomicU64, Ordering, fence};
