//! Raw frames on one interface.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, sendto, socket,
};

/// A packet socket bound to one interface.
#[derive(Debug)]
pub struct PacketSocket {
    /// The socket itself, for reading and for its options.
    pub fd: OwnedFd,
    address: LinkAddr,
}

impl PacketSocket {
    /// Opens it on `interface` of the namespace that the calling thread is in, where it stays. It sees
    /// what others send and what comes, not what it sends itself.
    ///
    /// # Errors
    /// `EPERM` without CAP_NET_RAW, `ENODEV` where there is no such interface.
    pub fn open(interface: &str) -> nix::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)?;
        let address = nix::ifaddrs::getifaddrs()?
            .filter(|found| found.interface_name == interface)
            .find_map(|found| found.address?.as_link_addr().copied())
            .ok_or(Errno::ENODEV)?;
        bind(fd.as_raw_fd(), &address)?;
        Ok(Self { fd, address })
    }

    /// Sends a frame as it is; whether the kernel took it.
    pub fn send(&self, frame: &[u8]) -> bool {
        sendto(self.fd.as_raw_fd(), frame, &self.address, MsgFlags::MSG_DONTWAIT).is_ok()
    }

    /// Sends a frame as it is, and waits for room where there is none; whether the kernel took it.
    pub fn send_all(&self, frame: &[u8]) -> bool {
        sendto(self.fd.as_raw_fd(), frame, &self.address, MsgFlags::empty()).is_ok()
    }
}
