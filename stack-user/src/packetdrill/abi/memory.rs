//! The caller's memory: addresses, buffers, messages.

use core::ffi::{c_int, c_uint, c_void};
use core::mem;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use core::ptr;
use core::slice;

use libc::{iovec, msghdr, sockaddr, socklen_t};

use crate::packetdrill::clock::Library;
use crate::packetdrill::transfer::{Into, Received};
use crate::packetdrill::{Answer, Errno};

/// An address of the socket families; `None` for AF_UNSPEC.
pub(super) unsafe fn read_addr(
    addr: *const sockaddr,
    len: socklen_t,
) -> Answer<Option<SocketAddr>> {
    if addr.is_null() {
        return Err(Errno(libc::EFAULT));
    }
    if (len as usize) < mem::size_of::<libc::sa_family_t>() {
        return Err(Errno(libc::EINVAL));
    }
    // SAFETY: the address has at least its family, and `len` bytes in all.
    unsafe {
        match c_int::from((*addr).sa_family) {
            libc::AF_UNSPEC => Ok(None),
            libc::AF_INET if len as usize >= mem::size_of::<libc::sockaddr_in>() => {
                let v4 = &*addr.cast::<libc::sockaddr_in>();
                let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
                Ok(Some((ip, u16::from_be(v4.sin_port)).into()))
            }
            libc::AF_INET6 if len as usize >= mem::size_of::<libc::sockaddr_in6>() => {
                let v6 = &*addr.cast::<libc::sockaddr_in6>();
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                Ok(Some((ip, u16::from_be(v6.sin6_port)).into()))
            }
            libc::AF_INET | libc::AF_INET6 => Err(Errno(libc::EINVAL)),
            _ => Err(Errno(libc::EAFNOSUPPORT)),
        }
    }
}

/// Writes as much of an address as there is room for, and its whole length.
pub(super) unsafe fn write_addr(from: SocketAddr, addr: *mut sockaddr, len: *mut socklen_t) {
    if addr.is_null() || len.is_null() {
        return;
    }
    // SAFETY: `len` is the room at `addr`; the structures are plain data, and zero is a value of each.
    unsafe {
        let put = |bytes: *const u8, size: usize| {
            ptr::copy_nonoverlapping(bytes, addr.cast(), size.min(len.read() as usize));
            len.write(size as socklen_t);
        };
        match from {
            SocketAddr::V4(v4) => {
                let mut raw: libc::sockaddr_in = mem::zeroed();
                raw.sin_family = libc::AF_INET as libc::sa_family_t;
                raw.sin_port = v4.port().to_be();
                raw.sin_addr.s_addr = u32::from(*v4.ip()).to_be();
                put((&raw const raw).cast(), mem::size_of_val(&raw));
            }
            SocketAddr::V6(v6) => {
                let mut raw: libc::sockaddr_in6 = mem::zeroed();
                raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                raw.sin6_port = v6.port().to_be();
                raw.sin6_addr.s6_addr = v6.ip().octets();
                put((&raw const raw).cast(), mem::size_of_val(&raw));
            }
        }
    }
}

pub(super) unsafe fn iovecs<'a>(parts: *const iovec, count: c_int) -> Answer<&'a [iovec]> {
    let count = usize::try_from(count).map_err(|_| Errno(libc::EINVAL))?;
    if count > MOST_PARTS {
        return Err(Errno(libc::EINVAL));
    }
    match (count, parts.is_null()) {
        (0, _) => Ok(&[]),
        (_, true) => Err(Errno(libc::EFAULT)),
        // SAFETY: `parts` has `count` entries.
        (_, false) => Ok(unsafe { slice::from_raw_parts(parts, count) }),
    }
}

pub(super) unsafe fn destination<'a>(buffer: *mut c_void, count: usize, flags: c_int) -> Into<'a> {
    match (buffer.is_null(), count) {
        // Linux's TCP throws away with MSG_TRUNC, and needs no buffer then.
        _ if flags & libc::MSG_TRUNC != 0 => Into::Nowhere(count),
        (_, 0) => Into::Nowhere(0),
        (true, _) => Into::Fault(count),
        // SAFETY: `buffer` has `count` bytes.
        (false, _) => Into::Buffer(unsafe { slice::from_raw_parts_mut(buffer.cast(), count) }),
    }
}

pub(super) unsafe fn receive_parts(
    library: &Library,
    fd: c_int,
    parts: &[iovec],
    flags: c_int,
) -> Answer<Received> {
    let count = parts.iter().map(|part| part.iov_len).sum();
    if parts.iter().any(|part| part.iov_base.is_null() && part.iov_len > 0) {
        return library.receive(fd, Into::Fault(count), flags);
    }
    if flags & libc::MSG_TRUNC != 0 {
        return library.receive(fd, Into::Nowhere(count), flags);
    }
    let mut whole = vec![0; count];
    let got = library.receive(fd, Into::Buffer(&mut whole), flags)?;
    let mut rest = &whole[..got.len];
    for part in parts {
        let (now, later) = rest.split_at(part.iov_len.min(rest.len()));
        // SAFETY: each part has its length of bytes.
        unsafe { ptr::copy_nonoverlapping(now.as_ptr(), part.iov_base.cast(), now.len()) };
        rest = later;
    }
    Ok(got)
}

pub(super) unsafe fn send_parts(
    library: &Library,
    fd: c_int,
    parts: &[iovec],
    flags: c_int,
) -> Answer<i64> {
    let mut whole = Vec::new();
    for part in parts.iter().filter(|part| part.iov_len > 0) {
        if part.iov_base.is_null() {
            // The socket's own state is answered first.
            return library.send(fd, &[], flags).and(Err(Errno(libc::EFAULT)));
        }
        // SAFETY: each part has its length of bytes.
        whole.extend_from_slice(unsafe {
            slice::from_raw_parts(part.iov_base.cast(), part.iov_len)
        });
    }
    library.send(fd, &whole, flags).map(|sent| sent as i64)
}

/// Writes the control message that tells how much is left (TCP_INQ), where it was asked for.
pub(super) unsafe fn write_left(head: &mut msghdr, got: Received) {
    // SAFETY: the message's control buffer has `msg_controllen` bytes, and CMSG_FIRSTHDR checks that
    // a header fits.
    unsafe {
        let space = libc::CMSG_SPACE(mem::size_of::<c_int>() as c_uint) as usize;
        if !got.tells_left || head.msg_control.is_null() || head.msg_controllen < space {
            head.msg_controllen = 0;
            return;
        }
        head.msg_controllen = space;
        let first = libc::CMSG_FIRSTHDR(head);
        (*first).cmsg_level = libc::SOL_TCP;
        (*first).cmsg_type = TCP_CM_INQ;
        (*first).cmsg_len = libc::CMSG_LEN(mem::size_of::<c_int>() as c_uint) as usize;
        libc::CMSG_DATA(first).cast::<c_int>().write_unaligned(got.left as c_int);
    }
}

/// IOV_MAX.
const MOST_PARTS: usize = 1024;
/// linux/tcp.h: TCP_CM_INQ is TCP_INQ.
const TCP_CM_INQ: c_int = 36;
