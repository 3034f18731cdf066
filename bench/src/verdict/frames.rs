//! The frames whose verdicts are measured, and what is required of each.

use super::front::checksum;
use super::limits::BLOCKED;
use super::{XDP_DROP, XDP_PASS, XDP_REDIRECT};

/// A frame, its verdict, and what it may cost.
pub(super) struct Scene {
    pub(super) work: &'static str,
    /// Whose frame it is: the Ethernet destination.
    mac: [u8; 6],
    ethertype: u16,
    destination: [u8; 4],
    protocol: u8,
    port: u16,
    /// The TCP header's length in words.
    offset: u8,
    source: [u8; 4],
    flags: u8,
    /// Whether there are a block list and a limit to SYNs.
    pub(super) is_limited: bool,
    /// What the program returns.
    pub(super) action: u32,
    /// What it may take over a bare XDP_PASS, in ns.
    pub(super) limit: Option<u32>,
}

impl Scene {
    /// The frame: 128 bytes, the segment that its headers say and padding.
    pub(super) fn frame(&self) -> Vec<u8> {
        let mut frame = Vec::with_capacity(LENGTH);
        frame.extend(self.mac);
        frame.extend([2, 0, 0, 0, 0, 2]);
        frame.extend(self.ethertype.to_be_bytes());
        let payload = (LENGTH - 14) as u16;
        let mut header = vec![0x45, 0];
        header.extend(payload.to_be_bytes());
        header.extend([0, 1, 0x40, 0, 64, self.protocol, 0, 0]);
        header.extend(self.source);
        header.extend(self.destination);
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        frame.extend(header);
        frame.extend(40_000_u16.to_be_bytes());
        frame.extend(self.port.to_be_bytes());
        frame.extend([0; 8]);
        frame.extend([self.offset << 4, self.flags, 0xff, 0xff]);
        frame.resize(LENGTH, 0);
        frame
    }
}

/// A segment of a flow that is Sluice's.
const OURS: Scene = Scene {
    work: "XDP verdict, redirect of a listener's flow",
    mac: MAC,
    ethertype: 0x0800,
    destination: SHARED,
    protocol: 6,
    port: EVERYWHERE,
    offset: 5,
    source: [10, 0, 0, 2],
    flags: ACK,
    is_limited: false,
    action: XDP_REDIRECT,
    limit: Some(60),
};

/// A frame that is the kernel's or somebody else's.
const FOREIGN: Scene = Scene { action: XDP_PASS, limit: Some(15), ..OURS };

/// What is measured.
pub(super) const SCENES: [Scene; 13] = [
    Scene { work: "XDP verdict, foreign: another ethertype", ethertype: 0x88cc, ..FOREIGN },
    Scene { work: "XDP verdict, foreign: another MAC", mac: [2, 0, 0, 0, 0, 7], ..FOREIGN },
    Scene { work: "XDP verdict, foreign: another address", destination: [10, 0, 0, 7], ..FOREIGN },
    Scene { work: "XDP verdict, foreign: UDP", protocol: 17, ..FOREIGN },
    Scene { work: "XDP verdict, foreign: TCP for a kernel's port", port: 22, ..FOREIGN },
    OURS,
    Scene { work: "XDP verdict, redirect of a listener on one of two addresses", port: 81, ..OURS },
    Scene { work: "XDP verdict, redirect of an active open's flow", port: 61_500, ..OURS },
    Scene {
        work: "XDP verdict, drop of a bad TCP header",
        offset: 4,
        action: XDP_DROP,
        limit: None,
        ..OURS
    },
    Scene { work: "XDP verdict, redirect past a block list of 1000", is_limited: true, ..OURS },
    Scene {
        work: "XDP verdict, drop of a blocked source",
        source: [BLOCKED, 1, 2, 3],
        action: XDP_DROP,
        limit: None,
        is_limited: true,
        ..OURS
    },
    Scene { work: "XDP verdict, redirect of a SYN", flags: SYN, ..OURS },
    Scene {
        work: "XDP verdict, SYN past a block list and a limit",
        flags: SYN,
        limit: None,
        is_limited: true,
        ..OURS
    },
];

/// The interface's link-layer address.
pub(super) const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The interface's own address.
pub(super) const SHARED: [u8; 4] = [10, 0, 0, 1];
/// Another of its addresses.
pub(super) const SECOND: [u8; 4] = [10, 0, 0, 3];
/// Listened on by both addresses.
pub(super) const EVERYWHERE: u16 = 80;
/// What is listened on.
pub(super) const LISTENERS: [([u8; 4], u16); 3] =
    [(SHARED, EVERYWHERE), (SECOND, EVERYWHERE), (SHARED, 81)];
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
/// Bytes of every frame.
const LENGTH: usize = 128;

#[cfg(test)]
mod tests {
    use stack_ebpf::contract::{Address, AddressKey, Config, mapped};
    use stack_ebpf::steer::{Tables, classify};
    use stack_ebpf::verdict::Action;

    use super::super::XDP_TX;
    use super::*;

    /// The maps as the bench fills them.
    struct World(Config);

    impl Tables for World {
        fn config(&self) -> Option<&Config> {
            Some(&self.0)
        }

        fn address(&self, addr: &AddressKey) -> Option<Address> {
            [SHARED, SECOND].map(mapped).contains(addr).then_some(Address::Shared)
        }

        fn is_listener(&self, local: &AddressKey, port: u16) -> bool {
            LISTENERS.iter().any(|known| (*local, port) == (mapped(known.0), known.1))
        }

        fn is_blocked(&self, source: &AddressKey) -> bool {
            source[12] == BLOCKED
        }
    }

    #[test]
    fn scenes_are_what_they_are_called() {
        let config = Config { mac: MAC, vlan: 0, ports_first: 61_000, ports_last: 61_999 };
        let names = SCENES.map(|scene| {
            let verdict = classify(&scene.frame()[..], &World(config));
            let action = match verdict.action() {
                Action::Pass => XDP_PASS,
                Action::Drop => XDP_DROP,
                Action::Redirect => XDP_REDIRECT,
                Action::Transmit => XDP_TX,
            };
            assert_eq!(action, scene.action, "{}: {verdict:?}", scene.work);
            verdict.name()
        });
        let wanted = ["pass_ethertype", "pass_mac", "pass_address", "pass_protocol", "pass_port"];
        let more = ["redirect_listener", "redirect_listener", "redirect_local_port"];
        let wanted: Vec<_> = wanted
            .iter()
            .chain(&more)
            .chain(&["drop_tcp_header", "redirect_listener", "drop_blocked"])
            .chain(&["redirect_listener"; 2])
            .map(|name| format!("xdp_{name}"))
            .collect();
        assert_eq!(names[..], wanted[..]);
    }
}
