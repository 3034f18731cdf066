//! Making sure that an address of our own is nobody else's, and telling the network of it.
//!
//! RFC 5227, with shorter intervals than its section 1.1 gives: those allow for bridges that drop
//! what comes first after a link went up, and the interface of a server has been up for long. For IPv6
//! RFC 4862, section 5.4, in `discovery`; its groups are joined for as long as the address is ours.

mod discovery;

use core::net::Ipv4Addr;
use std::io;
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use crate::datapath::{Clock, PacketSocket};
use crate::time::Duration;
use crate::wire::{Addr, MacAddr};

pub use self::discovery::Membership;

/// Who has the address already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The host that answered or probes for the same address.
    pub owner: MacAddr,
}

/// The interface on which an address is probed, and how its frames look.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The interface's number.
    pub index: u32,
    /// The interface's link-layer address.
    pub mac: MacAddr,
    /// The VLAN that frames carry.
    pub vlan: Option<u16>,
}

/// Asks who has `addr`; `Some` when somebody has.
///
/// # Errors
/// Those of the packet socket.
pub fn probe(place: Place, addr: Addr, clock: Clock) -> io::Result<Option<Conflict>> {
    // A tag that the kernel takes off in reception leaves the ethertype, one that it leaves on is the
    // VLAN's: the socket sees all.
    let socket = PacketSocket::open(place.index, ETH_P_ALL)?;
    let (frame, probes, interval) = match addr.as_v4() {
        // RFC 5227 2.1.1: a probe has no sender address, so that no cache learns from it.
        Some(v4) => (arp(place, (Ipv4Addr::UNSPECIFIED, v4)), PROBES, INTERVAL),
        // RFC 4862 5.1: DupAddrDetectTransmits and RETRANS_TIMER.
        None => (discovery::probe(place, addr), 1, discovery::RETRANS_TIMER),
    };
    for _ in 0..probes {
        socket.send(&frame)?;
        if let Some(conflict) = listen(&socket, place, (addr, interval), clock)? {
            return Ok(Some(conflict));
        }
    }
    Ok(None)
}

/// Tells the network that `addr` is here, of IPv4 twice (RFC 5227, 2.3); a second announcement of IPv6
/// would have to wait (RFC 4861, 7.2.6).
///
/// # Errors
/// Those of the packet socket.
pub fn announce(place: Place, addr: Addr) -> io::Result<()> {
    let socket = PacketSocket::open(place.index, ETH_P_ALL)?;
    let (frame, times) = match addr.as_v4() {
        Some(v4) => (arp(place, (v4, v4)), ANNOUNCEMENTS),
        None => (discovery::announcement(place, addr), 1),
    };
    (0..times).try_for_each(|_| socket.send(&frame))
}

/// Listens for one interval.
fn listen(
    socket: &PacketSocket,
    place: Place,
    (addr, interval): (Addr, Duration),
    clock: Clock,
) -> io::Result<Option<Conflict>> {
    let end = clock.now() + interval;
    let mut buffer = [0; 2048];
    loop {
        let left = end.since(clock.now());
        if left.is_zero() {
            return Ok(None);
        }
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        match ppoll(&mut fds, Some(TimeSpec::from_duration(left)), None) {
            Ok(0) | Err(nix::Error::EINTR) => continue,
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
        let len = match socket.receive(&mut buffer) {
            Ok(len) => len,
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => continue,
            Err(err) => return Err(err),
        };
        let frame = &buffer[..len];
        let owner = match addr.as_v4() {
            Some(v4) => claim(frame, v4, place.mac),
            None => discovery::claim(frame, addr, place.mac),
        };
        if let Some(owner) = owner {
            return Ok(Some(Conflict { owner }));
        }
    }
}

/// Who claims `addr` with this frame, if it is an ARP packet of somebody else that does.
///
/// RFC 5227 2.1.1: a packet from the address, or a probe for it.
fn claim(frame: &[u8], addr: Ipv4Addr, ours: MacAddr) -> Option<MacAddr> {
    let mut rest = frame.get(12..)?;
    if rest.starts_with(&[0x81, 0x00]) {
        rest = rest.get(4..)?;
    }
    // Ethertype ARP; Ethernet and IPv4 with their lengths of address.
    let packet = rest.strip_prefix(&[0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4, 0])?.get(..21)?;
    let owner = MacAddr(packet[1..7].try_into().ok()?);
    let (sender, target) = (&packet[7..11], &packet[17..21]);
    let is_probe = sender == [0; 4] && target == addr.octets();
    (owner != ours && (sender == addr.octets() || is_probe)).then_some(owner)
}

/// An ARP request for `target` from `sender`, to everybody.
fn arp(place: Place, (sender, target): (Ipv4Addr, Ipv4Addr)) -> Vec<u8> {
    let mut frame = [MacAddr::BROADCAST.0, place.mac.0].concat();
    if let Some(vlan) = place.vlan {
        frame.extend([0x81, 0x00]);
        frame.extend(vlan.to_be_bytes());
    }
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4, 0, 1]);
    frame.extend(place.mac.0);
    frame.extend(sender.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    // The shortest frame of Ethernet without its checksum.
    frame.resize(frame.len().max(60), 0);
    frame
}

/// Frames of every protocol (linux/if_ether.h).
const ETH_P_ALL: u16 = 3;
/// Probes (RFC 5227, PROBE_NUM).
const PROBES: usize = 3;
/// Announcements (RFC 5227, ANNOUNCE_NUM).
const ANNOUNCEMENTS: usize = 2;
/// How long an answer to a probe may take.
const INTERVAL: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const THEIRS: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
    const ADDR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
    const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 8);

    fn from(mac: MacAddr, vlan: Option<u16>, who: (Ipv4Addr, Ipv4Addr)) -> Vec<u8> {
        arp(Place { index: 1, mac, vlan }, who)
    }

    #[test]
    fn claim_by_owner_or_another_prober_is_a_conflict() {
        // RFC 5227 2.1.1
        for vlan in [None, Some(5)] {
            assert_eq!(claim(&from(THEIRS, vlan, (ADDR, OTHER)), ADDR, OURS), Some(THEIRS));
            let probe = from(THEIRS, vlan, (Ipv4Addr::UNSPECIFIED, ADDR));
            assert_eq!(claim(&probe, ADDR, OURS), Some(THEIRS));
        }
    }

    #[test]
    fn claim_of_ourselves_or_of_other_addresses_is_none() {
        let unspecified = Ipv4Addr::UNSPECIFIED;
        assert_eq!(claim(&from(OURS, None, (unspecified, ADDR)), ADDR, OURS), None);
        // A question for the address from one who has another is no claim.
        assert_eq!(claim(&from(THEIRS, None, (OTHER, ADDR)), ADDR, OURS), None);
        assert_eq!(claim(&from(THEIRS, None, (unspecified, OTHER)), ADDR, OURS), None);
    }

    #[test]
    fn claim_cut_short_anywhere_is_none() {
        let frame = from(THEIRS, Some(5), (ADDR, OTHER));
        for len in 0..46 {
            assert_eq!(claim(&frame[..len], ADDR, OURS), None, "{len}");
        }
    }
}
