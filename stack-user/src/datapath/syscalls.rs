//! The system calls on an AF_XDP socket that xsk-rs hides or does not have.
//!
//! Each is one call with its errors told apart; what follows from them is decided elsewhere.

use core::mem;
use core::ptr;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// `XDP_MAX_TX_SKB_BUDGET` of linux/if_xdp.h, newer than the libc crate.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;

/// `PACKET_VNET_HDR` of linux/if_packet.h, which the libc crate lacks.
const PACKET_VNET_HDR: libc::c_int = 15;

/// `ETHTOOL_GTXCSUM` of linux/ethtool.h.
const ETHTOOL_GTXCSUM: u32 = 0x16;

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

/// Whether an interface leaves the checksums of what it sends to software: then no packet goes out
/// without one, whoever receives it. One that does not say is held to have an offload.
pub(super) fn sums_in_software(name: &str) -> bool {
    #[repr(C)]
    struct Value {
        cmd: u32,
        data: u32,
    }
    let mut value = Value { cmd: ETHTOOL_GTXCSUM, data: 1 };
    // SAFETY: all zeroes is a valid value of this plain C type.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return false;
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    let flags = SockFlag::SOCK_CLOEXEC;
    let Ok(fd) = socket(AddressFamily::Inet, SockType::Datagram, flags, None) else { return false };
    // SAFETY: `request` and the value that it points to are live for the call, which writes `data`.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    done == 0 && value.data == 0
}

/// Has a packet socket take a `virtio_net_hdr` before each packet.
pub(super) fn take_virtual_headers(fd: RawFd) -> io::Result<()> {
    set_option(fd, libc::SOL_PACKET, PACKET_VNET_HDR, 1)
}

/// Sends the pieces as one packet; whether the kernel took all of it.
pub(super) fn send_parts(fd: RawFd, parts: &[libc::iovec]) -> bool {
    // SAFETY: all zeroes is a valid value of this plain C type.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = parts.as_ptr().cast_mut();
    message.msg_iovlen = parts.len();
    // SAFETY: the pieces are live for the call, which only reads them.
    unsafe { libc::sendmsg(fd, &raw const message, libc::MSG_DONTWAIT) >= 0 }
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
