//! The system calls on an AF_XDP socket that xsk-rs hides or does not have.
//!
//! Each is one call with its errors told apart; what follows from them is decided elsewhere.

use core::mem;
use core::ptr;
use std::io;
use std::os::fd::RawFd;

/// `XDP_MAX_TX_SKB_BUDGET` of linux/if_xdp.h, newer than the libc crate.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;

/// What the kernel said to a wake-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kick {
    /// It sent all it was asked to.
    Done,
    /// It stopped early (budget or memory) and wants to be asked again.
    Again,
    /// The interface is down.
    Down,
    /// The socket has lost its interface.
    Gone,
    /// Another error, by its number.
    Failed(i32),
}

impl Kick {
    fn of(result: isize) -> Self {
        if result >= 0 {
            return Self::Done;
        }
        match io::Error::last_os_error().raw_os_error().unwrap_or(0) {
            libc::EAGAIN | libc::EBUSY | libc::ENOBUFS | libc::EINTR => Self::Again,
            libc::ENETDOWN => Self::Down,
            libc::ENXIO | libc::ENODEV => Self::Gone,
            errno => Self::Failed(errno),
        }
    }
}

/// Asks the kernel to send what is on the transmit ring.
pub(super) fn kick_tx(fd: RawFd) -> Kick {
    // SAFETY: a null buffer of length 0 and no address; the kernel reads no memory of ours.
    Kick::of(unsafe { libc::sendto(fd, ptr::null(), 0, libc::MSG_DONTWAIT, ptr::null(), 0) })
}

/// Tells the kernel that there are new frames on the fill ring.
pub(super) fn kick_rx(fd: RawFd) -> Kick {
    let (none, len) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: a null buffer of length 0 and no address; the kernel writes no memory of ours.
    Kick::of(unsafe { libc::recvfrom(fd, ptr::null_mut(), 0, libc::MSG_DONTWAIT, none, len) })
}

/// Reads back whether the socket is bound without copies.
pub(super) fn is_zero_copy(fd: RawFd) -> io::Result<bool> {
    let flags: u32 = option(fd, libc::SOL_XDP, libc::XDP_OPTIONS)?;
    Ok(flags & libc::XDP_OPTIONS_ZEROCOPY != 0)
}

/// Takes the socket's pending error: 0 when there is none.
pub(super) fn pending_error(fd: RawFd) -> io::Result<i32> {
    option(fd, libc::SOL_SOCKET, libc::SO_ERROR)
}

/// Lets more frames leave per wake-up than the kernel's default of 32; older kernels refuse.
pub(super) fn allow_frames_per_kick(fd: RawFd, frames: u32) -> io::Result<()> {
    set_option(fd, libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, frames)
}

/// Lets more bytes wait in the device for their completion than the default of 208 KiB.
pub(super) fn allow_send_memory(fd: RawFd, bytes: i32) -> io::Result<()> {
    set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, bytes)
}

fn option<T: Copy + Default>(fd: RawFd, level: i32, name: i32) -> io::Result<T> {
    let mut value = T::default();
    let mut len = mem::size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` and `len` are live for the call, and `len` is the size of `value`; the callers
    // use it for u32 and i32 alone, for which every bit pattern is a value.
    let done = unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut len) };
    if done == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

fn set_option<T: Copy>(fd: RawFd, level: i32, name: i32, value: T) -> io::Result<()> {
    let len = mem::size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is live for the call and `len` is its size.
    let done = unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), len) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
