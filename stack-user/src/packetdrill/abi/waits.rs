//! The calls on packets, time and readiness.

use core::ffi::{c_int, c_long, c_longlong, c_uint, c_ulong, c_void};
use core::ptr;
use core::slice;

use libc::{epoll_event, loff_t, pollfd, ssize_t, timeval, timezone};

use super::{answer, library, nothing};
use crate::packetdrill::Errno;
use crate::packetdrill::poll::Asked;

pub(super) unsafe extern "C" fn poll(
    u: *mut c_void,
    fds: *mut pollfd,
    count: c_ulong,
    timeout: c_int,
) -> c_int {
    if fds.is_null() && count > 0 {
        return answer(Err(Errno(libc::EFAULT)));
    }
    // SAFETY: as the file's head says: `fds` has `count` entries.
    unsafe {
        let fds = match count {
            0 => &mut [],
            _ => slice::from_raw_parts_mut(fds, count as usize),
        };
        let entry = |fd: &pollfd| Asked { fd: fd.fd, events: fd.events, revents: 0 };
        let mut asked: Vec<Asked> = fds.iter().map(entry).collect();
        let ready = library(u).poll(&mut asked, timeout, &kernel_readiness);
        for (fd, asked) in fds.iter_mut().zip(&asked) {
            fd.revents = asked.revents;
        }
        answer(Ok(ready as i64))
    }
}

/// What the kernel says of a descriptor that is not ours, now.
fn kernel_readiness(fd: i32, events: i16) -> i16 {
    let mut entry = pollfd { fd, events, revents: 0 };
    // SAFETY: one entry, and no wait.
    unsafe { libc::poll(&mut entry, 1, 0) };
    entry.revents
}

pub(super) unsafe extern "C" fn netdev_send(
    u: *mut c_void,
    packet: *const c_void,
    count: usize,
) -> c_int {
    // SAFETY: as the file's head says: `packet` has `count` bytes.
    unsafe {
        let packet = slice::from_raw_parts(packet.cast(), count);
        library(u).call(|world| world.inject(packet));
    }
    0
}

pub(super) unsafe extern "C" fn netdev_receive(
    u: *mut c_void,
    buffer: *mut c_void,
    count: *mut usize,
    time: *mut c_longlong,
) -> c_int {
    // SAFETY: as the file's head says: `buffer` has `count` bytes.
    unsafe {
        let Some((packet, micros)) = library(u).next_packet() else {
            count.write(0);
            return 0;
        };
        let len = packet.len().min(count.read());
        ptr::copy_nonoverlapping(packet.as_ptr(), buffer.cast(), len);
        count.write(len);
        time.write(micros as c_longlong);
    }
    0
}

pub(super) unsafe extern "C" fn usleep(u: *mut c_void, micros: c_uint) -> c_int {
    // SAFETY: as the file's head says.
    unsafe { library(u) }.sleep(micros.into());
    0
}

pub(super) unsafe extern "C" fn gettimeofday(
    u: *mut c_void,
    time: *mut timeval,
    _zone: *mut timezone,
) -> c_int {
    // SAFETY: as the file's head says.
    unsafe {
        let micros = library(u).micros();
        if !time.is_null() {
            let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
            time.write(timeval { tv_sec: seconds as c_long, tv_usec: rest as c_long });
        }
    }
    0
}

pub(super) unsafe extern "C" fn epoll_create(u: *mut c_void, size: c_int) -> c_int {
    // SAFETY: as the file's head says.
    answer(unsafe { library(u) }.epoll_create(size).map(i64::from))
}

pub(super) unsafe extern "C" fn epoll_ctl(
    u: *mut c_void,
    epoll: c_int,
    op: c_int,
    fd: c_int,
    event: *mut epoll_event,
) -> c_int {
    // SAFETY: as the file's head says.
    unsafe {
        let event = (!event.is_null()).then(|| event.read());
        let event = event.map(|event| (event.events, event.u64));
        nothing(library(u).epoll_ctl(epoll, op, fd, event))
    }
}

pub(super) unsafe extern "C" fn epoll_wait(
    u: *mut c_void,
    epoll: c_int,
    events: *mut epoll_event,
    most: c_int,
    timeout: c_int,
) -> c_int {
    // SAFETY: as the file's head says: `events` has room for `most`.
    unsafe {
        let found = library(u).epoll_wait(epoll, most, timeout);
        if let Ok(found) = &found {
            for (at, (bits, data)) in found.iter().enumerate() {
                events.add(at).write(epoll_event { events: *bits, u64: *data });
            }
        }
        answer(found.map(|found| found.len() as i64))
    }
}

pub(super) unsafe extern "C" fn pipe(_u: *mut c_void, ends: *mut c_int) -> c_int {
    // SAFETY: as the file's head says: `ends` has room for two.
    unsafe { libc::pipe(ends) }
}

pub(super) unsafe extern "C" fn splice(
    _u: *mut c_void,
    _from: c_int,
    _from_at: *mut loff_t,
    _to: c_int,
    _to_at: *mut loff_t,
    _count: usize,
    _flags: c_uint,
) -> ssize_t {
    answer(Err(Errno(libc::EOPNOTSUPP)))
}
