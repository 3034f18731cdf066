//! Neighbour discovery (RFC 4861): solicitations and advertisements of neighbours. Routers and
//! redirects are the kernel's.

use super::icmpv6::{ADVERTISEMENT, Carried, SOLICITATION};
use super::{Addr, MacAddr, PROTOCOL_ICMPV6, checksum, ipv6};
use crate::counters::DropReason;

/// A message of a neighbour, or of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Who has this address?
    Solicitation(Solicitation),
    /// I have this address.
    Advertisement(Advertisement),
}

/// A neighbour solicitation (RFC 4861, 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solicitation {
    /// The address that is asked for.
    pub target: Addr,
    /// Where its sender is; not said in a probe for a duplicate.
    pub source_mac: Option<MacAddr>,
}

/// A neighbour advertisement (RFC 4861, 4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// The address that it is about.
    pub target: Addr,
    /// Whether it answers a solicitation: the neighbour is there both ways.
    pub is_solicited: bool,
    /// Whether it overrides what is known.
    pub is_override: bool,
    /// Where the target is.
    pub target_mac: Option<MacAddr>,
}

impl Message {
    /// Parses an ICMPv6 message whose type is one of the two, and whose checksum is right.
    ///
    /// # Errors
    ///
    /// [`DropReason::DropNeighbour`] for what RFC 4861 (7.1.1, 7.1.2) has everyone ignore, above all
    /// what was not sent on this link, and for what came in parts (RFC 6980).
    pub(super) fn parse(bytes: &[u8], carried: &Carried) -> Result<Self, DropReason> {
        Self::read(bytes, carried).ok_or(DropReason::DropNeighbour)
    }

    fn read(bytes: &[u8], carried: &Carried) -> Option<Self> {
        let (&[kind, code, _, _, flags, ..], rest) = bytes.split_first_chunk::<8>()?;
        let (target, options) = rest.split_first_chunk::<16>()?;
        let target = Addr(*target);
        let is_sound = carried.hop_limit == HOP_LIMIT
            && code == 0
            && !carried.is_fragment
            && !ipv6::is_multicast(&target)
            && !target.is_v4();
        if !is_sound {
            return None;
        }
        if kind == SOLICITATION {
            let source_mac = link_layer_address(options, SOURCE)?;
            // RFC 4861 7.1.1: who has no address yet asks everybody who may have this one.
            if carried.src == Addr::UNSPECIFIED
                && (source_mac.is_some() || carried.dst != ipv6::solicited_node(&target))
            {
                return None;
            }
            return Some(Self::Solicitation(Solicitation { target, source_mac }));
        }
        let is_solicited = flags & SOLICITED != 0;
        // RFC 4861 7.1.2.
        if is_solicited && ipv6::is_multicast(&carried.dst) {
            return None;
        }
        let target_mac = link_layer_address(options, TARGET)?;
        let is_override = flags & OVERRIDE != 0;
        Some(Self::Advertisement(Advertisement { target, is_solicited, is_override, target_mac }))
    }

    /// Writes the message with its checksum to the start of `buf` and returns its length, at most
    /// [`LEN`].
    ///
    /// # Panics
    ///
    /// If `buf` is shorter than that.
    pub fn emit(&self, (src, dst): (&Addr, &Addr), buf: &mut [u8]) -> usize {
        let (kind, flags, target, option) = match self {
            Self::Solicitation(it) => {
                (SOLICITATION, 0, it.target, it.source_mac.map(|mac| (SOURCE, mac)))
            }
            Self::Advertisement(it) => {
                let flags = [(it.is_solicited, SOLICITED), (it.is_override, OVERRIDE)];
                let flags = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, bit)| bit).sum();
                (ADVERTISEMENT, flags, it.target, it.target_mac.map(|mac| (TARGET, mac)))
            }
        };
        let len = if option.is_some() { LEN } else { LEN - OPTION_LEN };
        let bytes = &mut buf[..len];
        bytes[..8].copy_from_slice(&[kind, 0, 0, 0, flags, 0, 0, 0]);
        bytes[8..24].copy_from_slice(&target.0);
        if let Some((kind, mac)) = option {
            bytes[24..26].copy_from_slice(&[kind, 1]);
            bytes[26..].copy_from_slice(&mac.0);
        }
        let pseudo = checksum::pseudo_header(src, dst, PROTOCOL_ICMPV6, len);
        let sum = checksum::finish(pseudo + checksum::sum(bytes));
        bytes[2..4].copy_from_slice(&sum.to_be_bytes());
        len
    }
}

/// The link-layer address in the option of this kind, the last one if there are several. The outer
/// `None` says that the message is no sound one: an option without length, beyond the end, or with
/// the address of a group.
fn link_layer_address(mut options: &[u8], wanted: u8) -> Option<Option<MacAddr>> {
    let mut found = None;
    while !options.is_empty() {
        let [kind, units, ..] = *options else { return None };
        let (option, rest) = options.split_at_checked(usize::from(units) * OPTION_LEN)?;
        if units == 0 {
            return None;
        }
        if kind == wanted {
            let mac = MacAddr(*option.get(2..)?.first_chunk()?);
            if mac.is_group() {
                return None;
            }
            found = Some(mac);
        }
        options = rest;
    }
    Some(found)
}

/// The length of a message with a link-layer address, in bytes.
pub const LEN: usize = 24 + OPTION_LEN;
/// The hops of a packet that no router has forwarded (RFC 4861, 3.1).
pub const HOP_LIMIT: u8 = 255;

/// Bits of an advertisement. A router's own is of no use to us, and never sent.
const SOLICITED: u8 = 1 << 6;
const OVERRIDE: u8 = 1 << 5;

/// Options with a link-layer address (RFC 4861, 4.6.1), and their length on Ethernet (RFC 2464, 6).
const SOURCE: u8 = 1;
const TARGET: u8 = 2;
const OPTION_LEN: usize = 8;

#[cfg(test)]
mod tests;
