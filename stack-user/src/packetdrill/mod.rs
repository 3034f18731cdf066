//! The library for packet scripts: the stack behind the plug-in interface of Google's packetdrill
//! (its `--so_filename` mode).
//!
//! Owns sockets as a C program sees them, over one shard in virtual time. Knows no device: IP packets
//! come by `netdev_send` and go by `netdev_receive`. `abi` alone holds the C interface and the
//! `unsafe` that goes with it; [`clock`] moves the time and parks calls that block; `world` ties the
//! shard to the sockets; the other files are the system calls by subject.
//!
//! One clock serves `usleep`, `gettimeofday` and the time stamps of `netdev_receive`. It stands
//! still but for the calls that move it, so that a script gives the same result on every run.
//! What may be set from outside stands at [`flags::Flags`].
#![deny(unsafe_code)]

#[allow(unsafe_code)]
pub mod abi;
mod clock;
mod close;
mod descriptor;
mod epoll;
mod flags;
mod info;
mod open;
mod options;
mod poll;
mod socket;
mod sysctl;
mod transfer;
mod world;

/// An error number of the C library, as `errno` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(i32);

/// What a system call gives back.
type Answer<T> = Result<T, Errno>;
