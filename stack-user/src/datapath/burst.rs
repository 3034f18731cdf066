//! Runs of full segments that leave as one packet, which the kernel cuts again where it leaves.
//!
//! In copy mode each frame of a transmit ring passes the kernel by itself, and on veth the receiver
//! runs once for each. A packet socket takes a packet of up to 64 KiB with the length of its segments
//! (`PACKET_VNET_HDR`), as the kernel's own TCP hands them down: what is below is paid for once in a
//! run. Owns the socket and the room for its headers; where the segments of a run go that the kernel
//! refused is somebody else's to say.

use core::mem;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::net::if_::if_nametoindex;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::syscalls;
use crate::shard::RUN_HEAD;
use crate::tcp::MOST_PIECES;
use crate::wire::run::{Run, SUM, TCP};

/// The packet socket and the room of a run.
#[derive(Debug)]
pub(super) struct Bursts {
    fd: OwnedFd,
    room: Box<[u8]>,
}

impl Bursts {
    /// Opens a packet socket on an interface.
    ///
    /// # Errors
    /// What the kernel says where it has no such sockets, or not for us.
    pub(super) fn open(interface: &str) -> io::Result<Self> {
        let index = if_nametoindex(interface)?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        // No protocol: it receives nothing.
        let fd = socket(AddressFamily::Packet, SockType::Raw, flags, None)?;
        // SAFETY: all zeroes is a valid address of this plain C type.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = libc::AF_PACKET as libc::sa_family_t;
        address.sll_ifindex = index.cast_signed();
        let len = mem::size_of_val(&address) as libc::socklen_t;
        // SAFETY: `address` is live for the call and `len` is its size.
        if unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), len) } < 0 {
            return Err(io::Error::last_os_error());
        }
        syscalls::take_virtual_headers(fd.as_raw_fd())?;
        // As for the ring: only raises the ceiling.
        let _ = syscalls::allow_send_memory(fd.as_raw_fd(), SEND_MEMORY);
        Ok(Self { fd, room: vec![0; RUN_HEAD].into() })
    }

    /// Where the headers of a run are written.
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.room
    }

    /// Sends the headers that lie at `start`, and the text, as one packet; whether the kernel took it.
    pub(super) fn send(&mut self, start: usize, text: &[&[u8]], run: Run) -> bool {
        let Some(head) = self.room.get_mut(start..start + run.head) else { return false };
        let len = text.iter().fold(run.head, |len, piece| len + piece.len());
        Run::begin_sum(head, len);
        let preface = preface(run, len);
        let mut parts = [EMPTY; MOST_PIECES + 2];
        parts[0] = part(&preface);
        parts[1] = part(head);
        let Some(places) = parts.get_mut(2..text.len() + 2) else { return false };
        for (place, piece) in places.iter_mut().zip(text) {
            *place = part(piece);
        }
        syscalls::send_parts(self.fd.as_raw_fd(), &parts[..text.len() + 2])
    }

    /// The whole packet, for whoever cuts it where the kernel did not take it.
    pub(super) fn whole(&self, start: usize, text: &[&[u8]], run: Run) -> Vec<u8> {
        let head = &self.room[start..start + run.head];
        [&[head], text].concat().concat()
    }
}

/// `struct virtio_net_hdr` of linux/virtio_net.h: how the packet is to be cut and summed.
fn preface(run: Run, len: usize) -> [u8; 10] {
    const NEEDS_CSUM: u8 = 1;
    const GSO_TCPV4: u8 = 1;
    let mut preface = [0; 10];
    preface[0] = NEEDS_CSUM;
    // One segment alone is not cut.
    let is_cut = run.count(len) > 1;
    preface[1] = if is_cut { GSO_TCPV4 } else { 0 };
    let words = [run.head, if is_cut { run.size } else { 0 }, TCP, SUM - TCP];
    for (place, word) in preface[2..].chunks_exact_mut(2).zip(words) {
        place.copy_from_slice(&(word as u16).to_ne_bytes());
    }
    preface
}

/// A piece of what `sendmsg` gathers. It is read while the call lasts, and never written.
fn part(bytes: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

/// Memory that packets may hold until they have left, in bytes.
const SEND_MEMORY: i32 = 8 << 20;
const EMPTY: libc::iovec = libc::iovec { iov_base: core::ptr::null_mut(), iov_len: 0 };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preface_says_how_to_cut_and_where_to_sum() {
        let run = Run { head: 66, size: 1448 };
        for (text, kind, size) in [(1448, 0, 0), (1449, 1, 1448)] {
            let mut bytes = vec![1, kind];
            for word in [66u16, size, 34, 16] {
                bytes.extend(word.to_ne_bytes());
            }
            assert_eq!(preface(run, 66 + text), bytes[..]);
        }
    }
}
