//! The C interface: `packetdrill_interface_init` and the functions that it hands out.
//!
//! Owns every pointer that comes from or goes to the tool, `errno`, and what is the kernel's: calls
//! for descriptors that are not ours (a pipe's) go to the C library. The structure is that of the
//! tool's `packetdrill.h`, member by member in its order.
//!
//! Every function here is `unsafe` for the same reason, which the comments do not repeat: the tool
//! passes the `userdata` that it was given, valid strings and structures, and buffers of at least the
//! length that it says, as the system calls of the same names demand. A null pointer is answered with
//! EFAULT.

mod memory;
mod sockets;
mod waits;

use core::ffi::{CStr, c_char, c_int, c_long, c_longlong, c_uint, c_ulong, c_void};
use core::mem;

use libc::{
    epoll_event, iovec, loff_t, msghdr, pollfd, sockaddr, socklen_t, ssize_t, timeval, timezone,
};

use self::sockets::*;
use self::waits::*;
use super::clock::Library;
use super::{Answer, Errno};

/// `struct packetdrill_interface`.
#[repr(C)]
#[allow(missing_docs)]
pub struct Interface {
    pub userdata: *mut c_void,
    pub free: unsafe extern "C" fn(*mut c_void),
    pub socket: unsafe extern "C" fn(*mut c_void, c_int, c_int, c_int) -> c_int,
    pub bind: unsafe extern "C" fn(*mut c_void, c_int, *const sockaddr, socklen_t) -> c_int,
    pub listen: unsafe extern "C" fn(*mut c_void, c_int, c_int) -> c_int,
    pub accept: unsafe extern "C" fn(*mut c_void, c_int, *mut sockaddr, *mut socklen_t) -> c_int,
    pub connect: unsafe extern "C" fn(*mut c_void, c_int, *const sockaddr, socklen_t) -> c_int,
    pub read: unsafe extern "C" fn(*mut c_void, c_int, *mut c_void, usize) -> ssize_t,
    pub readv: unsafe extern "C" fn(*mut c_void, c_int, *const iovec, c_int) -> ssize_t,
    pub recv: unsafe extern "C" fn(*mut c_void, c_int, *mut c_void, usize, c_int) -> ssize_t,
    pub recvfrom: unsafe extern "C" fn(
        *mut c_void,
        c_int,
        *mut c_void,
        usize,
        c_int,
        *mut sockaddr,
        *mut socklen_t,
    ) -> ssize_t,
    pub recvmsg: unsafe extern "C" fn(*mut c_void, c_int, *mut msghdr, c_int) -> ssize_t,
    pub write: unsafe extern "C" fn(*mut c_void, c_int, *const c_void, usize) -> ssize_t,
    pub writev: unsafe extern "C" fn(*mut c_void, c_int, *const iovec, c_int) -> ssize_t,
    pub send: unsafe extern "C" fn(*mut c_void, c_int, *const c_void, usize, c_int) -> ssize_t,
    pub sendto: unsafe extern "C" fn(
        *mut c_void,
        c_int,
        *const c_void,
        usize,
        c_int,
        *const sockaddr,
        socklen_t,
    ) -> ssize_t,
    pub sendmsg: unsafe extern "C" fn(*mut c_void, c_int, *const msghdr, c_int) -> ssize_t,
    /// Variadic in C.
    pub fcntl: unsafe extern "C" fn(*mut c_void, c_int, c_int, ...) -> c_int,
    /// Variadic in C.
    pub ioctl: unsafe extern "C" fn(*mut c_void, c_int, c_ulong, ...) -> c_int,
    pub close: unsafe extern "C" fn(*mut c_void, c_int) -> c_int,
    pub shutdown: unsafe extern "C" fn(*mut c_void, c_int, c_int) -> c_int,
    pub getsockopt: unsafe extern "C" fn(
        *mut c_void,
        c_int,
        c_int,
        c_int,
        *mut c_void,
        *mut socklen_t,
    ) -> c_int,
    pub setsockopt:
        unsafe extern "C" fn(*mut c_void, c_int, c_int, c_int, *const c_void, socklen_t) -> c_int,
    pub poll: unsafe extern "C" fn(*mut c_void, *mut pollfd, c_ulong, c_int) -> c_int,
    pub netdev_send: unsafe extern "C" fn(*mut c_void, *const c_void, usize) -> c_int,
    pub netdev_receive:
        unsafe extern "C" fn(*mut c_void, *mut c_void, *mut usize, *mut c_longlong) -> c_int,
    pub usleep: unsafe extern "C" fn(*mut c_void, c_uint) -> c_int,
    pub gettimeofday: unsafe extern "C" fn(*mut c_void, *mut timeval, *mut timezone) -> c_int,
    pub epoll_create: unsafe extern "C" fn(*mut c_void, c_int) -> c_int,
    pub epoll_ctl:
        unsafe extern "C" fn(*mut c_void, c_int, c_int, c_int, *mut epoll_event) -> c_int,
    pub epoll_wait:
        unsafe extern "C" fn(*mut c_void, c_int, *mut epoll_event, c_int, c_int) -> c_int,
    pub pipe: unsafe extern "C" fn(*mut c_void, *mut c_int) -> c_int,
    pub splice: unsafe extern "C" fn(
        *mut c_void,
        c_int,
        *mut loff_t,
        c_int,
        *mut loff_t,
        usize,
        c_uint,
    ) -> ssize_t,
}

/// Fills `interface` in. `flags` is the tool's `--so_flags`, or null; flags that are unknown or
/// impossible are named on stderr, and the process ends.
///
/// # Safety
/// `flags` is null or a C string; `interface` is one to be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn packetdrill_interface_init(
    flags: *const c_char,
    interface: *mut Interface,
) {
    let text = match flags.is_null() {
        true => String::new(),
        // SAFETY: the caller passes a C string where it is not null.
        false => unsafe { CStr::from_ptr(flags) }.to_string_lossy().into_owned(),
    };
    let flags = text.parse().unwrap_or_else(|error| {
        eprintln!("sluice: --so_flags: {error}");
        std::process::exit(1);
    });
    let library = Box::into_raw(Box::new(Library::new(flags)));
    // SAFETY: the caller passes a structure of this layout to be written.
    unsafe { interface.write(new_interface(library.cast())) }
}

fn new_interface(userdata: *mut c_void) -> Interface {
    Interface {
        userdata,
        free,
        socket,
        bind,
        listen,
        accept,
        connect,
        read,
        readv,
        recv,
        recvfrom,
        recvmsg,
        write,
        writev,
        send,
        sendto,
        sendmsg,
        // SAFETY: stable Rust cannot define a C-variadic function. The variable part of both calls is
        // one word at most, and on the platforms that the library builds for (x86-64 and AArch64
        // Linux, checked below) the first variable argument of integer or pointer type is passed in
        // the register, or the slot, of a fourth named one. Where the caller passed none the word
        // holds whatever was there, and the commands without an argument do not look at it.
        fcntl: unsafe {
            mem::transmute::<
                unsafe extern "C" fn(*mut c_void, c_int, c_int, c_long) -> c_int,
                unsafe extern "C" fn(*mut c_void, c_int, c_int, ...) -> c_int,
            >(fcntl)
        },
        // SAFETY: as above.
        ioctl: unsafe {
            mem::transmute::<
                unsafe extern "C" fn(*mut c_void, c_int, c_ulong, *mut c_void) -> c_int,
                unsafe extern "C" fn(*mut c_void, c_int, c_ulong, ...) -> c_int,
            >(ioctl)
        },
        close,
        shutdown,
        getsockopt,
        setsockopt,
        poll,
        netdev_send,
        netdev_receive,
        usleep,
        gettimeofday,
        epoll_create,
        epoll_ctl,
        epoll_wait,
        pipe,
        splice,
    }
}

const _: () = assert!(
    cfg!(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))),
    "the calling convention of variadic functions is not known here"
);

/// The library behind `userdata`.
pub(super) unsafe fn library<'a>(userdata: *mut c_void) -> &'a Library {
    // SAFETY: `packetdrill_interface_init` made it, and the tool uses it no more after `free`.
    unsafe { &*userdata.cast::<Library>() }
}

/// A C answer: the value, or -1 and `errno`.
pub(super) fn answer<T: TryFrom<i64> + From<i8>>(answer: Answer<i64>) -> T {
    match answer {
        Ok(value) => T::try_from(value).unwrap_or(T::from(-1)),
        Err(Errno(number)) => {
            // SAFETY: the C library's `errno` of this thread.
            unsafe { *libc::__errno_location() = number }
            T::from(-1)
        }
    }
}

pub(super) fn nothing(outcome: Answer<()>) -> c_int {
    answer(outcome.map(|()| 0))
}

pub(super) unsafe extern "C" fn free(userdata: *mut c_void) {
    if userdata.is_null() {
        return;
    }
    // SAFETY: the library was made by `Box::into_raw`, and this is its last use.
    let library = unsafe { Box::from_raw(userdata.cast::<Library>()) };
    library.end();
}
