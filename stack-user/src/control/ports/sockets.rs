//! Who has a port: the kernel's tables of TCP sockets, and the processes that own them.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// A socket of the kernel's, as /proc/net/tcp shows it. Sockets that are only bound are not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KernelSocket {
    /// The local address; IPv4 where IPv6 has it mapped.
    pub(super) addr: IpAddr,
    /// The local port.
    pub(super) port: u16,
    /// Whether it is the rest of a connection that is closed.
    pub(super) is_time_wait: bool,
    /// Whether it listens.
    pub(super) is_listening: bool,
    /// The number that its process knows it by.
    inode: u64,
}

/// The TCP sockets with `port` in this thread's network namespace.
pub(super) fn with_port(port: u16) -> Vec<KernelSocket> {
    let tables = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
    let tables = tables.map(|path| fs::read_to_string(path).unwrap_or_default());
    let sockets = tables.iter().flat_map(|table| table.lines().filter_map(parse));
    sockets.filter(|socket| socket.port == port).collect()
}

/// `name (pid n)` of a process that has `port`; `a kernel socket` where that cannot be seen.
pub(super) fn owner(port: u16) -> String {
    let sockets = with_port(port).into_iter().filter(|socket| !socket.is_time_wait);
    let mut owners = sockets.filter_map(|socket| process(socket.inode));
    owners.next().unwrap_or_else(|| "a kernel socket".to_owned())
}

/// One line of /proc/net/tcp: number, local address, remote address, state, queues, timer,
/// retransmits, user, timeout, inode.
fn parse(line: &str) -> Option<KernelSocket> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (addr, port) = fields.get(1)?.split_once(':')?;
    Some(KernelSocket {
        addr: parse_addr(addr)?,
        port: u16::from_str_radix(port, 16).ok()?,
        is_time_wait: *fields.get(3)? == TIME_WAIT,
        is_listening: *fields.get(3)? == LISTEN,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// An address is printed as 32-bit words of the host's byte order.
fn parse_addr(hex: &str) -> Option<IpAddr> {
    let word = |index: usize| {
        let digits = hex.get(8 * index..8 * index + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            Some(Ipv6Addr::from_octets(words.concat().try_into().ok()?).to_canonical())
        }
        _ => None,
    }
}

/// The process that has the socket `inode` open.
fn process(inode: u64) -> Option<String> {
    let link = format!("socket:[{inode}]");
    let has_it = |process: &Path| {
        let Ok(descriptors) = fs::read_dir(process.join("fd")) else { return false };
        descriptors.flatten().any(|descriptor| {
            fs::read_link(descriptor.path()).is_ok_and(|target| target.as_os_str() == &*link)
        })
    };
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        if !has_it(&entry.path()) {
            return None;
        }
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        Some(format!("{} (pid {pid})", name.trim_end()))
    })
}

/// TCP_TIME_WAIT, in hexadecimal.
const TIME_WAIT: &str = "06";
/// TCP_LISTEN.
const LISTEN: &str = "0A";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn line_of_the_kernels_table_is_read() {
        let line = "   1: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000 \
                    0 0 4711 1 0000000000000000 100 0 0 10 0";
        let addr = IpAddr::from(Ipv4Addr::LOCALHOST);
        let listening =
            KernelSocket { addr, port: 22, is_time_wait: false, is_listening: true, inode: 4711 };
        assert_eq!(parse(line), Some(listening));
        let mapped = line.replace("0100007F", "0000000000000000FFFF00000100007F");
        assert_eq!(parse(&mapped), Some(listening));
        let closed = KernelSocket { is_time_wait: true, is_listening: false, ..listening };
        assert_eq!(parse(&line.replace(" 0A ", " 06 ")), Some(closed));
        assert_eq!(parse("  sl  local_address rem_address   st tx_queue rx_queue"), None);
        assert_eq!(parse(""), None);
    }
}
