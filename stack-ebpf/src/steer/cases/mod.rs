//! Crafted frames with the verdict that each has to meet, in one world of addresses and ports.
//!
//! Owns the table that two tests run: the host's over the library, and stack-user's
//! `tests/verdicts` over the program in the kernel, which includes this file by its path. Hence it
//! names the library as a user would.

use std::vec::Vec;

use stack_ebpf::contract::{Address, AddressKey, Config, ListenerKey, mapped};
use stack_ebpf::steer::Tables;
use stack_ebpf::verdict::Verdict;

mod build;
mod ipv4;
mod ipv6;
mod link;
mod sanity;

/// A frame and what has to become of it.
pub(crate) struct Case {
    /// What is special about the frame.
    pub(crate) name: &'static str,
    /// The frame from its Ethernet header on.
    pub(crate) frame: Vec<u8>,
    /// The verdict while a socket serves the queue.
    pub(crate) verdict: Verdict,
}

impl Case {
    fn new(name: &'static str, verdict: Verdict, frame: Vec<u8>) -> Self {
        Self { name, frame, verdict }
    }
}

/// The cases for untagged frames, with the world's configuration.
pub(crate) fn untagged() -> Vec<Case> {
    let mut cases = link::untagged();
    cases.extend(ipv4::steering());
    cases.extend(ipv4::malformed());
    cases.extend(ipv4::fragments());
    cases.extend(ipv4::icmp_errors());
    cases.extend(ipv4::own());
    cases.extend(ipv6::cases());
    cases.extend(sanity::cases());
    cases
}

/// The cases where [`VLAN`] is served.
pub(crate) fn tagged() -> Vec<Case> {
    link::tagged()
}

/// The maps as the cases presume them.
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) addresses: Vec<(AddressKey, Address)>,
    pub(crate) listeners: Vec<ListenerKey>,
    /// What is on the block list: address and how many of its 128 bits count.
    pub(crate) blocked: Vec<(AddressKey, u8)>,
}

impl World {
    /// Addresses and listeners, with `vlan` served.
    pub(crate) fn new(vlan: u16) -> Self {
        let (ports_first, ports_last) = LOCAL_PORTS;
        Self {
            config: Config { mac: MAC, vlan, ports_first, ports_last },
            addresses: Vec::from([
                (mapped(SHARED), Address::Shared),
                (mapped(SECOND), Address::Shared),
                (mapped(OWN), Address::Own),
                (SHARED6, Address::Shared),
                (OWN6, Address::Own),
            ]),
            listeners: Vec::from([
                ListenerKey::new(mapped(SHARED), HTTP),
                ListenerKey::new(mapped(SECOND), HTTPS),
                ListenerKey::new(SHARED6, HTTP),
                ListenerKey::wildcard(ECHO),
            ]),
            blocked: Vec::from([
                (mapped([10, 9, 0, 0]), 112),
                (mapped([10, 8, 7, 6]), 128),
                ([0x20, 1, 0xd, 0xb8, 0xba, 0xd0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 44),
                // No IPv4 address falls under it.
                ([0; 16], 3),
            ]),
        }
    }
}

impl Tables for World {
    fn config(&self) -> Option<&Config> {
        Some(&self.config)
    }

    fn address(&self, addr: &AddressKey) -> Option<Address> {
        self.addresses.iter().find(|(known, _)| known == addr).map(|(_, kind)| *kind)
    }

    fn is_listener(&self, local: &AddressKey, port: u16) -> bool {
        [ListenerKey::new(*local, port), ListenerKey::wildcard(port)]
            .iter()
            .any(|key| self.listeners.contains(key))
    }

    fn is_blocked(&self, source: &AddressKey) -> bool {
        let is_v4 = |addr: &AddressKey| addr[..12] == mapped([0; 4])[..12];
        self.blocked.iter().any(|(addr, bits)| {
            let differs = u128::from_be_bytes(*addr) ^ u128::from_be_bytes(*source);
            is_v4(addr) == is_v4(source) && differs.leading_zeros() >= u32::from(*bits)
        })
    }
}

/// The interface's link-layer address.
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The VLAN of [`tagged`].
pub(crate) const VLAN: u16 = 5;
/// The interface's own addresses.
const SHARED: [u8; 4] = [10, 0, 0, 1];
const SECOND: [u8; 4] = [10, 0, 0, 3];
const SHARED6: AddressKey = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// Addresses that the kernel does not have.
const OWN: [u8; 4] = [10, 0, 0, 9];
const OWN6: AddressKey = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
/// A host whose packets the interface may see or forward.
const OTHER: [u8; 4] = [10, 0, 0, 7];
const OTHER6: AddressKey = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
/// Who sends.
const PEER: [u8; 4] = [10, 0, 0, 2];
const PEER6: AddressKey = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
/// Listened on by [`SHARED`] and [`SHARED6`].
const HTTP: u16 = 80;
/// Listened on by [`SECOND`].
const HTTPS: u16 = 443;
/// Listened on by every shared address.
const ECHO: u16 = 7;
/// The kernel's.
const SSH: u16 = 22;
/// First and last of the local ports.
const LOCAL_PORTS: (u16, u16) = (61_000, 61_999);
