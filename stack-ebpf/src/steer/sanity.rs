//! What is checked of a packet that is ours before user space sees it, and whether it is wanted.
//!
//! Only what would be redirected comes here: other traffic pays nothing for it. Text is not summed: who
//! takes it does that, for it is read there anyway.

use zerocopy::transmute;

use super::{Decision, Steer, Tables, Transport};
use crate::contract::AddressKey;
use crate::frame::{self, Fragment, Frame, Icmp, Ipv4, Ipv6, Tcp};
use crate::verdict::Verdict;

impl<F: Frame + ?Sized, T: Tables> Steer<'_, F, T> {
    /// Refuses a packet by its header or its source; gives the source.
    #[inline(always)]
    pub(super) fn check_source(&self, transport: &Transport) -> Decision<AddressKey> {
        let source = match transport.is_v6 {
            true => {
                let ip: Ipv6 = self.frame.read(transport.network).ok_or(Verdict::PassMalformed)?;
                ip.source.key()
            }
            false => {
                let ip: Ipv4 = self.frame.read(transport.network).ok_or(Verdict::PassMalformed)?;
                // With options it is left to user space, which has to look at these too.
                if transport.is_plain && !ip.is_sound() {
                    return Err(Verdict::DropIpChecksum);
                }
                ip.source.mapped()
            }
        };
        // RFC 9293, 3.9.2.3 (MUST-63); RFC 1122, 3.2.1.3.
        if is_martian(transmute!(source), transport.is_v6) || self.tables.address(&source).is_some()
        {
            return Err(Verdict::DropMartian);
        }
        match self.tables.is_blocked(&source) {
            true => Err(Verdict::DropBlocked),
            false => Ok(source),
        }
    }

    /// Whether it is neighbour discovery, by which the link lives: somebody who claims our address has it
    /// for a source, and who is blocked may yet be our gateway.
    #[inline(always)]
    pub(super) fn is_discovery(&self, transport: &Transport) -> bool {
        transport.protocol == frame::ICMPV6
            && transport.fragment == Fragment::Whole
            && self.frame.read(transport.at).is_some_and(|icmp: Icmp| icmp.is_neighbour())
    }

    /// Refuses a segment for `port` by flags that no peer sends, and a SYN that its source may not send
    /// now. `is_ours` says that the port is listened on; else that is looked up where it matters.
    #[inline(always)]
    pub(super) fn check_flags(
        &self,
        tcp: &Tcp,
        (transport, source): (&Transport, &AddressKey),
        is_ours: bool,
    ) -> Decision<()> {
        let (flags, port) = (tcp.flags(), tcp.ports.destination.get());
        let listens = || is_ours || self.tables.listens(&transport.local, port);
        if let Some(verdict) = oddity(flags)
            && listens()
        {
            return Err(verdict);
        }
        match flags & (SYN | ACK) == SYN && !self.tables.admits(&transport.local, port, source) {
            true => Err(Verdict::DropSynLimit),
            false => Ok(()),
        }
    }
}

/// Why no peer sends these flags: a scan, or a way around filters.
#[inline(always)]
pub(crate) const fn oddity(flags: u8) -> Option<Verdict> {
    let flags = flags & 0x3f;
    if flags & SYN != 0 {
        return match (flags & RST != 0, flags & FIN != 0) {
            (true, _) => Some(Verdict::DropSynRst),
            (false, true) => Some(Verdict::DropSynFin),
            (false, false) => None,
        };
    }
    match (flags & (ACK | RST), flags) {
        (0, 0) => Some(Verdict::DropTcpNull),
        (0, _) => Some(Verdict::DropTcpXmas),
        _ => None,
    }
}

/// Whether no packet may come from an address, given in words with its first octets the lowest: "this"
/// network, loopback, multicast, reserved and broadcast of IPv4; unspecified, loopback, multicast and
/// mapped IPv4 of IPv6 (RFC 1122, 3.2.1.3; RFC 6890; RFC 4291, 2.5.2, 2.5.3 and 2.7).
#[inline(always)]
pub(crate) const fn is_martian([first, second]: [u64; 2], is_v6: bool) -> bool {
    let (first, second) = (u64::from_le(first), u64::from_le(second));
    if !is_v6 {
        return matches!((second >> 32) as u8, 0 | 127 | 224..);
    }
    let is_loopback = second == 0 || second == 1 << 56;
    first as u8 == 0xff || first == 0 && (is_loopback || second as u32 == 0xffff_0000)
}

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::mapped;

    #[test]
    fn odd_flags_are_those_of_no_peer() {
        for flags in 0..64_u8 {
            let has = |flag| flags & flag != 0;
            let wanted = match (has(SYN), has(FIN), has(RST), has(ACK)) {
                (true, _, true, _) => Some(Verdict::DropSynRst),
                (true, true, false, _) => Some(Verdict::DropSynFin),
                (false, _, false, false) if flags == 0 => Some(Verdict::DropTcpNull),
                (false, _, false, false) => Some(Verdict::DropTcpXmas),
                _ => None,
            };
            assert_eq!(oddity(flags), wanted, "{flags:#x}");
        }
    }

    #[test]
    fn martians_are_of_no_single_host() {
        let is = |addr: AddressKey, is_v6| is_martian(transmute!(addr), is_v6);
        for (first, wanted) in
            [(0, true), (1, false), (10, false), (126, false), (127, true), (128, false)]
        {
            assert_eq!(is(mapped([first, 1, 2, 3]), false), wanted, "{first}");
        }
        for (first, wanted) in [(223, false), (224, true), (239, true), (240, true), (255, true)] {
            assert_eq!(is(mapped([first, 1, 2, 3]), false), wanted, "{first}");
        }
        let v6 = |text: &str| text.parse::<core::net::Ipv6Addr>().unwrap().octets();
        for text in ["::", "::1", "ff02::1", "ff00::", "::ffff:10.0.0.1"] {
            assert!(is(v6(text), true), "{text}");
        }
        // The last two are those of translators (RFC 6052).
        for text in
            ["2001:db8::1", "fe80::1", "fd00::", "::2", "::100", "64:ff9b::a00:1", "64:ff9b:1::1"]
        {
            assert!(!is(v6(text), true), "{text}");
        }
    }
}
