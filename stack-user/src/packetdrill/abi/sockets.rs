//! The calls on sockets.

use core::ffi::{c_int, c_long, c_ulong, c_void};
use core::ptr;
use core::slice;

use libc::{iovec, msghdr, sockaddr, socklen_t, ssize_t};

use super::memory::{
    destination, iovecs, read_addr, receive_parts, send_parts, write_addr, write_left,
};
use super::{answer, library, nothing};
use crate::packetdrill::Errno;

pub(super) unsafe extern "C" fn socket(
    u: *mut c_void,
    domain: c_int,
    kind: c_int,
    protocol: c_int,
) -> c_int {
    // SAFETY: as the file's head says.
    let library = unsafe { library(u) };
    answer(library.socket(domain, kind, protocol).map(i64::from))
}

pub(super) unsafe extern "C" fn bind(
    u: *mut c_void,
    fd: c_int,
    addr: *const sockaddr,
    len: socklen_t,
) -> c_int {
    // SAFETY: as the file's head says.
    let (library, addr) = unsafe { (library(u), read_addr(addr, len)) };
    nothing(addr.and_then(|addr| library.bind(fd, addr.ok_or(Errno(libc::EAFNOSUPPORT))?)))
}

pub(super) unsafe extern "C" fn listen(u: *mut c_void, fd: c_int, backlog: c_int) -> c_int {
    // SAFETY: as the file's head says.
    nothing(unsafe { library(u) }.listen(fd, backlog))
}

pub(super) unsafe extern "C" fn accept(
    u: *mut c_void,
    fd: c_int,
    addr: *mut sockaddr,
    len: *mut socklen_t,
) -> c_int {
    // SAFETY: as the file's head says.
    let accepted = unsafe { library(u) }.accept(fd);
    if let Ok((_, peer)) = accepted {
        // SAFETY: as the file's head says.
        unsafe { write_addr(peer, addr, len) }
    }
    answer(accepted.map(|(fd, _)| fd.into()))
}

pub(super) unsafe extern "C" fn connect(
    u: *mut c_void,
    fd: c_int,
    addr: *const sockaddr,
    len: socklen_t,
) -> c_int {
    // SAFETY: as the file's head says.
    let (library, addr) = unsafe { (library(u), read_addr(addr, len)) };
    nothing(addr.and_then(|addr| library.connect(fd, addr)))
}

pub(super) unsafe extern "C" fn read(
    u: *mut c_void,
    fd: c_int,
    buffer: *mut c_void,
    count: usize,
) -> ssize_t {
    // SAFETY: as the file's head says.
    unsafe {
        match library(u).is_ours(fd) {
            true => recv(u, fd, buffer, count, 0),
            false => libc::read(fd, buffer, count),
        }
    }
}

pub(super) unsafe extern "C" fn readv(
    u: *mut c_void,
    fd: c_int,
    parts: *const iovec,
    count: c_int,
) -> ssize_t {
    // SAFETY: as the file's head says.
    unsafe {
        if !library(u).is_ours(fd) {
            return libc::readv(fd, parts, count);
        }
        answer(match iovecs(parts, count) {
            Ok(parts) => receive_parts(library(u), fd, parts, 0).map(|got| got.len as i64),
            Err(error) => Err(error),
        })
    }
}

pub(super) unsafe extern "C" fn recv(
    u: *mut c_void,
    fd: c_int,
    buffer: *mut c_void,
    count: usize,
    flags: c_int,
) -> ssize_t {
    // SAFETY: as the file's head says.
    let (library, into) = unsafe { (library(u), destination(buffer, count, flags)) };
    answer(library.receive(fd, into, flags).map(|got| got.len as i64))
}

pub(super) unsafe extern "C" fn recvfrom(
    u: *mut c_void,
    fd: c_int,
    buffer: *mut c_void,
    count: usize,
    flags: c_int,
    _addr: *mut sockaddr,
    len: *mut socklen_t,
) -> ssize_t {
    // SAFETY: as the file's head says. A connected socket gives no address, as on Linux.
    unsafe {
        if !len.is_null() {
            len.write(0);
        }
        recv(u, fd, buffer, count, flags)
    }
}

pub(super) unsafe extern "C" fn recvmsg(
    u: *mut c_void,
    fd: c_int,
    message: *mut msghdr,
    flags: c_int,
) -> ssize_t {
    if message.is_null() {
        return answer(Err(Errno(libc::EFAULT)));
    }
    // SAFETY: as the file's head says.
    let outcome = unsafe {
        let head = &mut *message;
        iovecs(head.msg_iov, head.msg_iovlen as c_int).and_then(|parts| {
            let got = receive_parts(library(u), fd, parts, flags)?;
            head.msg_flags = 0;
            head.msg_namelen = 0;
            write_left(head, got);
            Ok(got.len as i64)
        })
    };
    answer(outcome)
}

pub(super) unsafe extern "C" fn write(
    u: *mut c_void,
    fd: c_int,
    buffer: *const c_void,
    count: usize,
) -> ssize_t {
    // SAFETY: as the file's head says.
    unsafe {
        match library(u).is_ours(fd) {
            true => send(u, fd, buffer, count, 0),
            false => libc::write(fd, buffer, count),
        }
    }
}

pub(super) unsafe extern "C" fn writev(
    u: *mut c_void,
    fd: c_int,
    parts: *const iovec,
    count: c_int,
) -> ssize_t {
    // SAFETY: as the file's head says.
    unsafe {
        if !library(u).is_ours(fd) {
            return libc::writev(fd, parts, count);
        }
        answer(iovecs(parts, count).and_then(|parts| send_parts(library(u), fd, parts, 0)))
    }
}

pub(super) unsafe extern "C" fn send(
    u: *mut c_void,
    fd: c_int,
    buffer: *const c_void,
    count: usize,
    flags: c_int,
) -> ssize_t {
    let part = iovec { iov_base: buffer.cast_mut(), iov_len: count };
    // SAFETY: as the file's head says.
    answer(unsafe { send_parts(library(u), fd, &[part], flags) })
}

pub(super) unsafe extern "C" fn sendto(
    u: *mut c_void,
    fd: c_int,
    buffer: *const c_void,
    count: usize,
    flags: c_int,
    _addr: *const sockaddr,
    _len: socklen_t,
) -> ssize_t {
    // SAFETY: as the file's head says. A connected socket looks at no address, as on Linux; an open
    // with data (MSG_FASTOPEN) is refused by its flag.
    unsafe { send(u, fd, buffer, count, flags) }
}

pub(super) unsafe extern "C" fn sendmsg(
    u: *mut c_void,
    fd: c_int,
    message: *const msghdr,
    flags: c_int,
) -> ssize_t {
    if message.is_null() {
        return answer(Err(Errno(libc::EFAULT)));
    }
    // SAFETY: as the file's head says.
    unsafe {
        let head = &*message;
        if head.msg_controllen > 0 {
            return answer(Err(Errno(libc::EOPNOTSUPP)));
        }
        answer(
            iovecs(head.msg_iov, head.msg_iovlen as c_int)
                .and_then(|parts| send_parts(library(u), fd, parts, flags)),
        )
    }
}

pub(super) unsafe extern "C" fn fcntl(
    u: *mut c_void,
    fd: c_int,
    command: c_int,
    word: c_long,
) -> c_int {
    // SAFETY: as the file's head says; the word is what `new_interface` says of it.
    unsafe {
        match library(u).is_ours(fd) {
            true => answer(library(u).fcntl(fd, command, word as c_int).map(i64::from)),
            false => libc::fcntl(fd, command, word),
        }
    }
}

pub(super) unsafe extern "C" fn ioctl(
    u: *mut c_void,
    fd: c_int,
    request: c_ulong,
    at: *mut c_void,
) -> c_int {
    // SAFETY: as the file's head says; the word is what `new_interface` says of it. The requests that
    // the library knows take a pointer to an int.
    unsafe {
        if !library(u).is_ours(fd) {
            return libc::ioctl(fd, request, at);
        }
        // The tool's request is an int: its upper half is of no meaning.
        let outcome = library(u).ioctl(fd, request as u32, || at.cast::<c_int>().read());
        nothing(outcome.and_then(|value| match value {
            Some(_) if at.is_null() => Err(Errno(libc::EFAULT)),
            Some(value) => {
                at.cast::<c_int>().write(value);
                Ok(())
            }
            None => Ok(()),
        }))
    }
}

pub(super) unsafe extern "C" fn close(u: *mut c_void, fd: c_int) -> c_int {
    // SAFETY: as the file's head says.
    unsafe {
        match library(u).close(fd) {
            true => 0,
            false => libc::close(fd),
        }
    }
}

pub(super) unsafe extern "C" fn shutdown(u: *mut c_void, fd: c_int, how: c_int) -> c_int {
    // SAFETY: as the file's head says.
    nothing(unsafe { library(u) }.shutdown(fd, how))
}

pub(super) unsafe extern "C" fn getsockopt(
    u: *mut c_void,
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    len: *mut socklen_t,
) -> c_int {
    if value.is_null() || len.is_null() {
        return answer(Err(Errno(libc::EFAULT)));
    }
    // SAFETY: as the file's head says: `len` is the size of `value`.
    unsafe {
        let room = len.read();
        if room > c_int::MAX as socklen_t {
            return answer(Err(Errno(libc::EINVAL)));
        }
        nothing(library(u).option(fd, level, name).map(|bytes| {
            let count = bytes.len().min(room as usize);
            ptr::copy_nonoverlapping(bytes.as_ptr(), value.cast(), count);
            len.write(count as socklen_t);
        }))
    }
}

pub(super) unsafe extern "C" fn setsockopt(
    u: *mut c_void,
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    len: socklen_t,
) -> c_int {
    if len > c_int::MAX as socklen_t {
        return answer(Err(Errno(libc::EINVAL)));
    }
    if value.is_null() {
        return answer(Err(Errno(libc::EFAULT)));
    }
    // SAFETY: as the file's head says: `value` has `len` bytes.
    unsafe {
        let value = slice::from_raw_parts(value.cast(), len as usize);
        nothing(library(u).set_option(fd, level, name, value))
    }
}
