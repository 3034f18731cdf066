//! What is decided for a frame and why: one counter each.
//!
//! Owns the names under which user space prints them.

/// What the program does with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// XDP_PASS: the kernel's.
    Pass,
    /// XDP_DROP.
    Drop,
    /// XDP_REDIRECT into the AF_XDP socket of the frame's receive queue.
    Redirect,
    /// XDP_TX: the frame was made an answer and goes back.
    Transmit,
}

macro_rules! verdicts {
    ($($(#[doc = $doc:literal])+ $name:ident => $action:ident $text:literal,)+) => {
        /// A verdict with its reason; the discriminant is its index in the counter array.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Verdict {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Verdict {
            /// Every verdict, in the order of its index.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The verdict with this index.
            #[inline(always)]
            pub const fn from_number(number: u32) -> Option<Self> {
                match number {
                    $(number if number == Self::$name as u32 => Some(Self::$name),)+
                    _ => None,
                }
            }

            /// What is done with the frame.
            #[inline(always)]
            pub const fn action(self) -> Action {
                match self { $(Self::$name => Action::$action,)+ }
            }

            /// Whether it is given at a closed gate alone.
            pub const fn is_of_front(self) -> bool {
                self as u32 >= Self::RedirectFlow as u32
            }

            /// The name in `snake_case`, as the status page and logs print it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// What the counter counts, in one line.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+),)+ }
            }
        }
    };
}

verdicts! {
    /// Passed: neither IPv4, IPv6 nor ARP.
    PassEthertype => Pass "xdp_pass_ethertype",
    /// Passed: the VLAN is not the one that is served.
    PassVlan => Pass "xdp_pass_vlan",
    /// Passed: sent to another link-layer address than the interface's.
    PassMac => Pass "xdp_pass_mac",
    /// Passed: ARP that concerns no address of our own.
    PassArp => Pass "xdp_pass_arp",
    /// Passed: the destination address is not ours.
    PassAddress => Pass "xdp_pass_address",
    /// Passed: TCP for a port of a shared address that is the kernel's.
    PassPort => Pass "xdp_pass_port",
    /// Passed: a transport protocol that is the kernel's on a shared address.
    PassProtocol => Pass "xdp_pass_protocol",
    /// Passed: ICMP that concerns no flow of ours.
    PassIcmp => Pass "xdp_pass_icmp",
    /// Passed: a fragment for a shared address that does not name a port of ours.
    PassFragment => Pass "xdp_pass_fragment",
    /// Passed: too short or too odd to show an address and a port of ours.
    PassMalformed => Pass "xdp_pass_malformed",
    /// Dropped: for us, but the IP header's version or length is impossible.
    DropIpHeader => Drop "xdp_drop_ip_header",
    /// Dropped: for us, but the IP length disagrees with the headers or the frame.
    DropIpLength => Drop "xdp_drop_ip_length",
    /// Dropped: for us, but the TCP header is cut short or its data offset impossible.
    DropTcpHeader => Drop "xdp_drop_tcp_header",
    /// Dropped: the first fragment of a segment for an address and port of ours.
    DropFragment => Drop "xdp_drop_fragment",
    /// Dropped: for us, but the IPv4 header's checksum is wrong.
    DropIpChecksum => Drop "xdp_drop_ip_checksum",
    /// Dropped: for us, but its source address is no single host's, or our own.
    DropMartian => Drop "xdp_drop_martian",
    /// Dropped: for us, from an address on the block list.
    DropBlocked => Drop "xdp_drop_blocked",
    /// Dropped: for a listener, without any flag of TCP.
    DropTcpNull => Drop "xdp_drop_tcp_null",
    /// Dropped: for a listener, with FIN, PSH or URG, but neither SYN, ACK nor RST.
    DropTcpXmas => Drop "xdp_drop_tcp_xmas",
    /// Dropped: for a listener, with SYN and FIN.
    DropSynFin => Drop "xdp_drop_syn_fin",
    /// Dropped: for a listener, with SYN and RST.
    DropSynRst => Drop "xdp_drop_syn_rst",
    /// Dropped: a SYN for a listener with an open gate, one more than its source may send.
    DropSynLimit => Drop "xdp_drop_syn_limit",
    /// Dropped: ours, but no socket serves the receive queue.
    DropNoSocket => Drop "xdp_drop_no_socket",
    /// Redirected: TCP for a listener on a shared address.
    RedirectListener => Redirect "xdp_redirect_listener",
    /// Redirected: TCP for a local port of our active opens.
    RedirectLocalPort => Redirect "xdp_redirect_local_port",
    /// Redirected: an IP packet for an address of our own.
    RedirectOwn => Redirect "xdp_redirect_own",
    /// Redirected: ARP or neighbour discovery that concerns an address of our own.
    RedirectNeighbour => Redirect "xdp_redirect_neighbour",
    /// Redirected: an ICMP error that quotes a segment of ours from a shared address.
    RedirectIcmpError => Redirect "xdp_redirect_icmp_error",
    /// Redirected by a closed gate: a flow that a shard has.
    RedirectFlow => Redirect "xdp_redirect_flow",
    /// Redirected by a closed gate: an acknowledgment that answers a valid cookie.
    RedirectCookie => Redirect "xdp_redirect_cookie",
    /// Redirected by a closed gate: a flow that has answered a cookie a moment ago.
    RedirectProven => Redirect "xdp_redirect_proven",
    /// Redirected by a closed gate: no known flow, within the budget for what may not be known yet.
    RedirectStray => Redirect "xdp_redirect_stray",
    /// Redirected by a closed gate: a SYN that cannot be answered here, without keys or too long.
    RedirectUnanswered => Redirect "xdp_redirect_unanswered",
    /// Redirected by a closed gate: no room ahead of the frame for what was found, so that its worker looks for itself.
    RedirectBare => Redirect "xdp_redirect_bare",
    /// Dropped at a closed gate: no flow, no cookie, and no RST for it.
    DropStray => Drop "xdp_drop_stray",
    /// Dropped at a closed gate: a SYN whose TCP checksum is wrong.
    DropChecksum => Drop "xdp_drop_checksum",
    /// Dropped at a closed gate: a SYN with an option of impossible length.
    DropTcpOption => Drop "xdp_drop_tcp_option",
    /// Dropped at a closed gate: the answer found no room in the frame.
    DropUnsent => Drop "xdp_drop_unsent",
    /// Sent back: a SYN-ACK with a cookie.
    TransmitCookie => Transmit "xdp_tx_cookie",
    /// Sent back: a RST for an acknowledgment of no flow and no cookie.
    TransmitReset => Transmit "xdp_tx_reset",
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn all_lists_every_verdict_at_its_own_index() {
        for (index, verdict) in Verdict::ALL.iter().enumerate() {
            assert_eq!(*verdict as usize, index);
            assert_eq!(Verdict::from_number(index as u32), Some(*verdict));
        }
    }

    #[test]
    fn other_numbers_are_no_verdict() {
        assert_eq!(Verdict::from_number(Verdict::ALL.len() as u32), None);
        assert_eq!(Verdict::from_number(u32::MAX), None);
    }

    #[test]
    fn names_are_unique_and_begin_with_their_action() {
        let mut names: Vec<_> = Verdict::ALL.iter().map(|v| v.name()).collect();
        for verdict in Verdict::ALL {
            let prefix = match verdict.action() {
                Action::Pass => "xdp_pass_",
                Action::Drop => "xdp_drop_",
                Action::Redirect => "xdp_redirect_",
                Action::Transmit => "xdp_tx_",
            };
            assert!(verdict.name().starts_with(prefix), "{verdict:?}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Verdict::ALL.len());
    }
}
