//! Raw calls into the kernel that no library makes the way it is needed here.
//!
//! Owns the `unsafe` of the control plane; each function is safe to call.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::AtomicU64;
use std::{ptr, slice};

use nix::libc;

use crate::tables::words::Words;

/// Attaches an XDP program to an interface by a bpf_link, which ends with the last descriptor.
///
/// aya falls back to netlink where the kernel refuses a link; what netlink attaches would stay after
/// a SIGKILL, hence the call is made here.
pub(super) fn link_xdp(program: BorrowedFd<'_>, ifindex: u32, flags: u32) -> io::Result<OwnedFd> {
    let mut attr = LinkCreate {
        prog_fd: program.as_raw_fd(),
        target_ifindex: ifindex,
        attach_type: BPF_XDP,
        flags,
        rest: [0; 12],
    };
    // SAFETY: `attr` begins as the kernel's `union bpf_attr` does for BPF_LINK_CREATE, its size is
    // given, and the kernel only reads it.
    let fd = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_LINK_CREATE, &raw mut attr, size_of::<LinkCreate>())
    };
    match i32::try_from(fd) {
        // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Maps the first `len` words of an array map that allows it, for the rest of the process's life.
pub(super) fn map_array(map: BorrowedFd<'_>, len: usize) -> io::Result<Words> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let size = len * size_of::<u64>();
    // SAFETY: a new mapping at a place of the kernel's choice replaces none that exists.
    let base = unsafe {
        libc::mmap(ptr::null_mut(), size, protection, libc::MAP_SHARED, map.as_raw_fd(), 0)
    };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping holds `len` words from `base` on, aligned to a page, and is never unmapped; it
    // keeps the map alive, whose size is fixed. Programs in the kernel read the words at any time, which
    // atomics allow.
    Ok(Words::mapped(unsafe { slice::from_raw_parts(base.cast::<AtomicU64>(), len) }))
}

/// The part of `union bpf_attr` that BPF_LINK_CREATE takes for XDP.
#[repr(C)]
struct LinkCreate {
    prog_fd: i32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
    rest: [u32; 12],
}

const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_XDP: u32 = 37;
