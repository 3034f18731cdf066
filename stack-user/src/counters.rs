//! Counters of one shard: what happened, by name, and why frames were dropped.
//!
//! A shard is the only writer of its [`Counters`]; the worker publishes them once a turn for other
//! threads to read. Reading and rendering belong to `observe`.

use core::ops::Index;

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident => $text:literal,)+) => {
        /// An event worth counting.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Counter {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Counter {
            /// Every counter, in the order of its index.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The counter's name in `snake_case`, as the status page and logs print it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// What the counter counts, in one line.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

counters! {
    /// Frames taken from the receive ring.
    FramesIn => "frames_in",
    /// Bytes of the frames taken from the receive ring.
    BytesIn => "bytes_in",
    /// Frames put on the transmit ring.
    FramesOut => "frames_out",
    /// Bytes of the frames put on the transmit ring.
    BytesOut => "bytes_out",
    /// TCP segments that passed the checks of IP and TCP headers.
    SegmentsIn => "segments_in",
    /// TCP segments sent, retransmissions included.
    SegmentsOut => "segments_out",
    /// Payload bytes accepted in order.
    DataBytesIn => "data_bytes_in",
    /// Payload bytes sent, retransmissions included.
    DataBytesOut => "data_bytes_out",
    /// Connections opened by a peer (SYN received for a listener).
    PassiveOpens => "passive_opens",
    /// Connections opened by us (SYN sent).
    ActiveOpens => "active_opens",
    /// Local ports chosen so that the answers come to the queue of their shard.
    PortsAtHome => "ports_at_home",
    /// Local ports chosen though the answers come to another queue: none near was free whose come home.
    PortsAway => "ports_away",
    /// Connections that reached ESTABLISHED.
    Established => "established",
    /// Opens that failed before ESTABLISHED.
    FailedOpens => "failed_opens",
    /// Connections ended by a reset, ours or the peer's.
    Resets => "resets",
    /// Connections ended because the peer stopped answering.
    TimedOut => "timed_out",
    /// SYNs that found their listener's SYN queue, or the table of half-open entries, full.
    SynQueueFull => "syn_queue_full",
    /// SYNs that found the table of half-open entries full.
    HalfOpenFull => "half_open_full",
    /// Half-open entries dropped because another shard has the connection.
    HalfOpenDoubles => "half_open_doubles",
    /// SYNs and final ACKs dropped because the accept queue was full.
    AcceptQueueFull => "accept_queue_full",
    /// Final ACKs that opened nothing because their listener waits for data first.
    AcceptsDeferred => "accepts_deferred",
    /// SYN cookies sent.
    CookiesSent => "cookies_sent",
    /// Acknowledgments that answered a SYN cookie.
    CookiesReceived => "cookies_received",
    /// Of these, those that the XDP program had found valid.
    CookiesTold => "cookies_told",
    /// Acknowledgments whose SYN cookie was forged or too old.
    CookiesFailed => "cookies_failed",
    /// Gates closed: SYNs for a listener are answered by the XDP program.
    GatesClosed => "gates_closed",
    /// Gates opened again.
    GatesOpened => "gates_opened",
    /// Entries of the XDP program's array of flows that were no flow's any more.
    FlowEntriesStale => "flow_entries_stale",
    /// SYN-ACKs sent again.
    SynAckRetransmits => "syn_ack_retransmits",
    /// Segments sent again.
    Retransmits => "retransmits",
    /// Retransmission timeouts that fired.
    RetransmitTimeouts => "retransmit_timeouts",
    /// Fast retransmissions entered after duplicate ACKs.
    FastRetransmits => "fast_retransmits",
    /// Segments not sent because the records of what is in flight were exhausted.
    FlightRecordsFull => "flight_records_full",
    /// Duplicates of ours that a peer reported by D-SACK (RFC 2883).
    DsacksIn => "dsacks_in",
    /// Duplicates of a peer that we reported by D-SACK (RFC 2883).
    DsacksOut => "dsacks_out",
    /// SACK blocks received that report nothing that is in flight.
    SackBlocksIgnored => "sack_blocks_ignored",
    /// Peers that dropped what they had reported by SACK (RFC 2018, section 8).
    SackReneges => "sack_reneges",
    /// Duplicate ACKs received.
    DuplicateAcksIn => "duplicate_acks_in",
    /// Segments that arrived out of order and were kept.
    OutOfOrderIn => "out_of_order_in",
    /// Segments out of order that were dropped for lack of room.
    OutOfOrderDropped => "out_of_order_dropped",
    /// Segments whose sequence numbers lay outside the window.
    OutOfWindow => "out_of_window",
    /// Segments dropped by PAWS (RFC 7323, section 5).
    PawsDropped => "paws_dropped",
    /// Challenge ACKs sent (RFC 5961).
    ChallengeAcks => "challenge_acks",
    /// Challenge ACKs withheld by the rate limit.
    ChallengeAcksLimited => "challenge_acks_limited",
    /// RST segments sent.
    ResetsOut => "resets_out",
    /// RST segments received.
    ResetsIn => "resets_in",
    /// RSTs withheld by the rate limit.
    ResetsLimited => "resets_limited",
    /// Zero-window probes sent.
    WindowProbes => "window_probes",
    /// Connections that entered TIME-WAIT.
    TimeWaits => "time_waits",
    /// TIME-WAIT records that gave way to a new SYN, a peer's (RFC 6191) or our own.
    TimeWaitReuses => "time_wait_reuses",
    /// Connections closed without TIME-WAIT because its table was full.
    TimeWaitOverflow => "time_wait_overflow",
    /// Connections refused because the flow table or the connection table was full.
    TableFull => "table_full",
    /// Received data dropped unacknowledged because the buffer pool was exhausted.
    PoolExhausted => "pool_exhausted",
    /// Replies without state (RST, ARP, ICMP) dropped because their queue was full.
    RepliesDropped => "replies_dropped",
    /// Questions for the kernel that found their queue full: they are asked again.
    RequestsDropped => "requests_dropped",
    /// ARP requests answered.
    ArpAnswered => "arp_answered",
    /// ARP requests sent.
    ArpRequests => "arp_requests",
    /// Neighbour solicitations answered (IPv6).
    SolicitationsAnswered => "solicitations_answered",
    /// Neighbour solicitations sent (IPv6).
    SolicitationsOut => "solicitations_out",
    /// Advertisements by which another host claims an address of our own (IPv6).
    AddressConflicts => "address_conflicts",
    /// ICMP echo requests answered.
    EchoAnswered => "echo_answered",
    /// ICMP errors that named a connection of ours.
    IcmpErrorsIn => "icmp_errors_in",
    /// ICMP errors ignored: nothing of what they quote is under way, or they say nothing new (RFC 5927).
    IcmpErrorsStale => "icmp_errors_stale",
    /// ICMP errors sent: nobody is at a port, or a packet was not understood.
    IcmpErrorsOut => "icmp_errors_out",
    /// ICMP errors withheld by the rate limit.
    IcmpErrorsLimited => "icmp_errors_limited",
    /// Connections whose segments became smaller, for a link on the way takes no longer ones.
    PathMtuReductions => "path_mtu_reductions",
    /// Keepalive probes sent.
    KeepAliveProbes => "keepalive_probes",
    /// Connections ended because keepalive probes were not answered.
    KeepAliveDrops => "keepalive_drops",
    /// Connections reset because they were closed with received data unread (RFC 2525, 2.17).
    AbortsOnClose => "aborts_on_close",
    /// Connections reset because data arrived after they were closed for good.
    AbortsOnData => "aborts_on_data",
    /// Connections reset because they were closed with a time to linger of zero.
    AbortsOnLinger => "aborts_on_linger",
    /// Connections reset because memory, or the places for closed connections, ran out.
    AbortsOnMemory => "aborts_on_memory",
    /// Connections closed for good whose peer stopped answering.
    AbortsOnTimeout => "aborts_on_timeout",
    /// Next hops that found the table of neighbours full of others in use.
    NeighboursFull => "neighbours_full",
    /// Next hops that could not be resolved.
    NeighbourFailed => "neighbour_failed",
    /// Dropped: not a frame for an address of ours.
    DropNotOurs => "drop_not_ours",
    /// Dropped: the Ethernet header, VLAN tag or ethertype was not one we take.
    DropEthernet => "drop_ethernet",
    /// Dropped: ARP packet malformed.
    DropArp => "drop_arp",
    /// Dropped: neighbour discovery malformed, or from beyond the link.
    DropNeighbour => "drop_neighbour",
    /// Dropped: IP header malformed or its checksum wrong.
    DropIpHeader => "drop_ip_header",
    /// Dropped: an IPv6 extension header malformed, or more of them than we follow.
    DropExtension => "drop_extension",
    /// Dropped: an IP fragment.
    DropFragment => "drop_fragment",
    /// Dropped: a source route (RFC 7126).
    DropSourceRoute => "drop_source_route",
    /// Dropped: source or destination address that no host may use.
    DropMartian => "drop_martian",
    /// Dropped: a transport protocol that we do not speak.
    DropProtocol => "drop_protocol",
    /// Dropped: a UDP datagram, which nobody here receives.
    DropDatagram => "drop_datagram",
    /// Dropped: ICMP message malformed or not wanted.
    DropIcmp => "drop_icmp",
    /// Dropped: TCP header malformed.
    DropTcpHeader => "drop_tcp_header",
    /// Dropped: TCP checksum wrong.
    DropChecksum => "drop_checksum",
    /// Dropped: a TCP option with an impossible length.
    DropTcpOption => "drop_tcp_option",
    /// Dropped: no connection, no listener, and no answer owed.
    DropNoSocket => "drop_no_socket",
    /// Dropped: a SYN for a listener while the shard is shutting down.
    DropShutdown => "drop_shutdown",
}

/// Why a frame or segment was dropped: the part of [`Counter`] whose names begin with `drop_`.
pub type DropReason = Counter;

/// One shard's counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters([u64; Counter::ALL.len()]);

impl Default for Counters {
    fn default() -> Self {
        Self([0; Counter::ALL.len()])
    }
}

impl Counters {
    /// Counts one event.
    #[inline]
    pub fn count(&mut self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Counts `n` events.
    #[inline]
    pub fn add(&mut self, counter: Counter, n: u64) {
        self.0[counter as usize] = self.0[counter as usize].wrapping_add(n);
    }

    /// Every value, indexed as [`Counter::ALL`].
    pub fn values(&self) -> &[u64] {
        &self.0
    }
}

impl Index<Counter> for Counters {
    type Output = u64;

    fn index(&self, counter: Counter) -> &u64 {
        &self.0[counter as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lists_every_counter_at_its_own_index() {
        for (index, counter) in Counter::ALL.iter().enumerate() {
            assert_eq!(*counter as usize, index);
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = Counter::ALL.iter().map(|c| c.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Counter::ALL.len());
    }
}
