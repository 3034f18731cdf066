//! Raw calls into the kernel that no library makes the way it is needed here.
//!
//! Owns the `unsafe` of the control plane; each function is safe to call.

use std::io;
use std::mem::{self, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::AtomicU64;
use std::{ptr, slice};

use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

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

/// What `ETHTOOL_GRSSH` tells of how an interface spreads packets over its queues.
#[derive(Clone, Debug, Default)]
pub(super) struct ReceiveHash {
    /// `ETH_RSS_HASH_*`; zero where the driver does not say.
    pub(super) function: u8,
    /// `RXH_XFRM_*`: what is done to the input first. Kernels before 6.8 know of nothing.
    pub(super) transform: u8,
    /// The indirection table: queues.
    pub(super) table: Vec<u32>,
    pub(super) key: Vec<u8>,
}

/// Asks for the receive hash of an interface.
pub(super) fn receive_hash(interface: &str) -> io::Result<ReceiveHash> {
    // `struct ethtool_rxfh` in words: command, context, entries, length of the key, function and
    // transform, nothing; then table and key. Without room for these it tells their lengths.
    let mut head = [0_u32; 6];
    head[0] = ETHTOOL_GRSSH;
    // SAFETY: with both lengths zero the kernel writes the six words alone.
    unsafe { ethtool(interface, &mut head)? };
    let [_, _, entries, key, ..] = head.map(|word| word as usize);
    if entries.max(key) > RECEIVE_HASH_MOST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut all = vec![0_u32; head.len() + entries + key.div_ceil(size_of::<u32>())];
    (all[0], all[2], all[3]) = (ETHTOOL_GRSSH, head[2], head[3]);
    // SAFETY: there is room for a table and a key of these lengths; the kernel refuses where they
    // are not the device's any more.
    unsafe { ethtool(interface, &mut all)? };
    let [function, transform, ..] = all[4].to_ne_bytes();
    let (table, rest) = all[head.len()..].split_at(entries);
    let mut bytes: Vec<u8> = rest.iter().flat_map(|word| word.to_ne_bytes()).collect();
    bytes.truncate(key);
    Ok(ReceiveHash { function, transform, table: table.to_vec(), key: bytes })
}

/// Asks which fields of a kind of packets, one of `*_FLOW`, are hashed: a mask of `RXH_*`.
pub(super) fn hashed_fields(interface: &str, flow: u32) -> io::Result<u64> {
    // `struct ethtool_rxnfc` is 192 bytes, of which these are the first: command, kind, fields.
    let mut request = [0_u32; 64];
    (request[0], request[1]) = (ETHTOOL_GRXFH, flow);
    // SAFETY: the kernel writes the struct at most.
    unsafe { ethtool(interface, &mut request)? };
    let [a, b, c, d] = request[2].to_ne_bytes();
    let [e, f, g, h] = request[3].to_ne_bytes();
    Ok(u64::from_ne_bytes([a, b, c, d, e, f, g, h]))
}

/// Has the driver of an interface carry out a request of ethtool, whose first word is its command.
///
/// # Safety
/// The kernel must not write more for this request than it is long.
unsafe fn ethtool(interface: &str, request: &mut [u32]) -> io::Result<()> {
    // SAFETY: all zeroes is a valid value of this plain C type.
    let mut named: libc::ifreq = unsafe { mem::zeroed() };
    // The last byte ends the name.
    if interface.len() >= named.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in named.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    named.ifr_ifru.ifru_data = request.as_mut_ptr().cast();
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: `named` and the request that it points to are live for the call; that the latter is
    // long enough is the caller's promise.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut named) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
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
/// Of linux/ethtool.h.
const ETHTOOL_GRXFH: u32 = 0x29;
const ETHTOOL_GRSSH: u32 = 0x46;
/// More entries of a table, or bytes of a key, than any device has.
const RECEIVE_HASH_MOST: usize = 1 << 16;
