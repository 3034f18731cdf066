//! Cases of Ethernet, VLAN tags and ARP.

use std::vec;
use std::vec::Vec;

use stack_ebpf::verdict::Verdict;

use super::build::{Ethernet, Ipv4, syn};
use super::{Case, HTTP, MAC, OTHER, OWN, PEER, SHARED, VLAN};

pub(super) fn untagged() -> Vec<Case> {
    let mut cases = vec![
        Case::new(
            "LLDP",
            Verdict::PassEthertype,
            Ethernet { ethertype: 0x88cc, ..Ethernet::default() }.bytes(),
        ),
        Case::new("a tag, none served", Verdict::PassVlan, tags(&[(0x8100, VLAN)])),
        Case::new("a priority tag", Verdict::PassVlan, tags(&[(0x8100, 0xe000)])),
        Case::new("a service tag", Verdict::PassVlan, tags(&[(0x88a8, VLAN)])),
        Case::new("two tags", Verdict::PassVlan, tags(&[(0x88a8, 9), (0x8100, VLAN)])),
        Case::new(
            "a segment for another MAC",
            Verdict::PassMac,
            Ethernet { destination: [2, 0, 0, 0, 0, 3], ..Ethernet::default() }.bytes(),
        ),
        // RFC 9293, 3.10.7.4 (MUST-57): nothing that was broadcast reaches TCP.
        Case::new(
            "a segment that was broadcast",
            Verdict::PassMac,
            Ethernet { destination: BROADCAST, ..Ethernet::default() }.bytes(),
        ),
        Case::new("no more than Ethernet", Verdict::PassMalformed, syn(SHARED, HTTP)[..14].into()),
    ];
    cases.extend(arp());
    cases
}

pub(super) fn tagged() -> Vec<Case> {
    let arp = Arp { target: OWN, ..Arp::default() };
    vec![
        Case::new("the tag served", Verdict::RedirectListener, tags(&[(0x8100, VLAN)])),
        Case::new(
            "the tag served, with priority",
            Verdict::RedirectListener,
            tags(&[(0x8100, 0xe000 | VLAN)]),
        ),
        Case::new(
            "ARP behind the tag served",
            Verdict::RedirectNeighbour,
            Ethernet { tags: vec![(0x8100, VLAN)], ..arp.ethernet(BROADCAST) }.bytes(),
        ),
        Case::new("no tag", Verdict::PassVlan, tags(&[])),
        Case::new("another tag", Verdict::PassVlan, tags(&[(0x8100, VLAN + 1)])),
        Case::new("a priority tag", Verdict::PassVlan, tags(&[(0x8100, 0xe000)])),
        Case::new("a service tag of that number", Verdict::PassVlan, tags(&[(0x88a8, VLAN)])),
        Case::new("two tags", Verdict::PassVlan, tags(&[(0x8100, VLAN), (0x8100, 6)])),
        Case::new(
            "two tags, service inside",
            Verdict::PassVlan,
            tags(&[(0x8100, VLAN), (0x88a8, 6)]),
        ),
        Case::new("half a tag", Verdict::PassMalformed, tags(&[(0x8100, VLAN)])[..16].into()),
    ]
}

fn arp() -> Vec<Case> {
    let probe = Arp { sender: [0; 4], target: OWN, ..Arp::default() };
    let claim = Arp { sender: OWN, target: OWN, ..Arp::default() };
    let user = Arp { sender: OWN, ..Arp::default() };
    let reply = Arp { operation: 2, target: OWN, ..Arp::default() };
    let request = Arp { target: OWN, ..Arp::default() };
    let odd = Arp { kind: [0, 1, 8, 0, 8, 4], ..request };
    vec![
        Case::new("who has an own address", Verdict::RedirectNeighbour, request.frame(BROADCAST)),
        Case::new("the same, asked of us alone", Verdict::RedirectNeighbour, request.frame(MAC)),
        Case::new("a probe of an own address", Verdict::RedirectNeighbour, probe.frame(BROADCAST)),
        Case::new("a claim of an own address", Verdict::RedirectNeighbour, claim.frame(BROADCAST)),
        Case::new("a user of an own address", Verdict::RedirectNeighbour, user.frame(BROADCAST)),
        Case::new("an answer to an own address", Verdict::RedirectNeighbour, reply.frame(MAC)),
        Case::new("an answer to another MAC", Verdict::PassMac, reply.frame([2, 0, 0, 0, 0, 3])),
        Case::new(
            "who has a shared address",
            Verdict::PassArp,
            Arp { target: SHARED, ..Arp::default() }.frame(BROADCAST),
        ),
        Case::new("who has another address", Verdict::PassArp, Arp::default().frame(BROADCAST)),
        Case::new("ARP of another hardware", Verdict::PassArp, odd.frame(BROADCAST)),
        Case::new("ARP cut short", Verdict::PassMalformed, request.frame(BROADCAST)[..41].into()),
    ]
}

/// A SYN for the HTTP listener behind `tags`.
fn tags(tags: &[(u16, u16)]) -> Vec<u8> {
    let payload = Ipv4::default().bytes();
    Ethernet { tags: tags.into(), payload, ..Ethernet::default() }.bytes()
}

/// An ARP request of the peer for another host's address.
#[derive(Clone, Copy)]
struct Arp {
    kind: [u8; 6],
    operation: u16,
    sender: [u8; 4],
    target: [u8; 4],
}

impl Default for Arp {
    fn default() -> Self {
        Self { kind: [0, 1, 8, 0, 6, 4], operation: 1, sender: PEER, target: OTHER }
    }
}

impl Arp {
    fn ethernet(&self, destination: [u8; 6]) -> Ethernet {
        let mut payload = Vec::from(self.kind);
        payload.extend(self.operation.to_be_bytes());
        payload.extend([2, 0, 0, 0, 0, 2]);
        payload.extend(self.sender);
        payload.extend([0; 6]);
        payload.extend(self.target);
        Ethernet { destination, ethertype: 0x0806, payload, ..Ethernet::default() }
    }

    fn frame(&self, destination: [u8; 6]) -> Vec<u8> {
        self.ethernet(destination).bytes()
    }
}

const BROADCAST: [u8; 6] = [0xff; 6];
