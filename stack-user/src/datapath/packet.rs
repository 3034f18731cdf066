//! A packet socket on one interface, for the few frames that are sent before a worker runs.
//!
//! Used by the control plane to probe and announce an address; never on the packet path.

use core::mem;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::wire::MacAddr;

/// An `AF_PACKET` socket that sees the frames of one ethertype on one interface.
#[derive(Debug)]
pub struct PacketSocket {
    fd: OwnedFd,
}

impl PacketSocket {
    /// Opens a socket for `ethertype` on the interface with number `index`.
    ///
    /// # Errors
    /// `EPERM` without CAP_NET_RAW, `ENODEV` when there is no such interface.
    pub fn open(index: u32, ethertype: u16) -> io::Result<Self> {
        let protocol = ethertype.to_be();
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: no pointer is passed.
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind, i32::from(protocol)) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: all zeroes is a valid address of this plain C type.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = libc::AF_PACKET as libc::sa_family_t;
        address.sll_protocol = protocol;
        address.sll_ifindex = i32::try_from(index).unwrap_or(0);
        let len = mem::size_of_val(&address) as libc::socklen_t;
        // SAFETY: `address` is live for the call and `len` is its size.
        let bound = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), len) };
        if bound < 0 { Err(io::Error::last_os_error()) } else { Ok(Self { fd }) }
    }

    /// Has the interface with number `index` take frames for a group, as long as this socket lives.
    ///
    /// # Errors
    /// `ENODEV` when there is no such interface.
    pub fn join(&self, index: u32, group: MacAddr) -> io::Result<()> {
        let mut request = libc::packet_mreq {
            mr_ifindex: i32::try_from(index).unwrap_or(0),
            mr_type: libc::PACKET_MR_MULTICAST as libc::c_ushort,
            mr_alen: group.0.len() as libc::c_ushort,
            mr_address: [0; 8],
        };
        request.mr_address[..group.0.len()].copy_from_slice(&group.0);
        let len = mem::size_of_val(&request) as libc::socklen_t;
        let (level, option) = (libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP);
        let request = (&raw const request).cast();
        // SAFETY: `request` is live for the call and `len` is its size.
        let set = unsafe { libc::setsockopt(self.fd.as_raw_fd(), level, option, request, len) };
        if set < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Sends one whole frame.
    ///
    /// # Errors
    /// `ENETDOWN` when the interface is down, `ENOBUFS` when its queue is full.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: the buffer is live for the call and the length is its own.
        let sent =
            unsafe { libc::send(self.fd.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Takes a waiting frame; returns its length, at most `buffer.len()`.
    ///
    /// # Errors
    /// `WouldBlock` when none waits.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.as_mut_ptr().cast();
        // SAFETY: the buffer is live and ours alone for the call; the length is its own.
        let n = unsafe { libc::recv(self.fd.as_raw_fd(), room, buffer.len(), 0) };
        usize::try_from(n).map_err(|_| io::Error::last_os_error())
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
