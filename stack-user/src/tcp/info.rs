//! What a connection tells of itself: the figures of Linux's TCP_INFO, from the same events.
//!
//! Windows and flights are counted in segments, as there; times since something happened are
//! measured to the call.

use super::own::Switch;
use super::recovery::DUPLICATES;
use super::tcb::{Fin, stamp_clock};
use super::{SeqNum, State, Tcb};
use crate::time::{Duration, Instant};

/// A snapshot of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// `tcpi_state`.
    pub state: State,
    /// `tcpi_ca_state`: what the sender is doing about loss.
    pub ca_state: CaState,
    /// `tcpi_retransmits`: retransmission timeouts in a row without an acknowledgment of new data.
    pub retransmits: u8,
    /// `tcpi_probes`: window probes in a row without an answer.
    pub probes: u8,
    /// `tcpi_backoff`: how often the timeout has doubled.
    pub backoff: u8,
    /// Timestamps were agreed (TCPI_OPT_TIMESTAMPS).
    pub has_timestamps: bool,
    /// SACK was agreed (TCPI_OPT_SACK).
    pub has_sack: bool,
    /// Window scaling was agreed (TCPI_OPT_WSCALE).
    pub has_window_scale: bool,
    /// `tcpi_snd_wscale`: the peer's window shift.
    pub snd_wscale: u8,
    /// `tcpi_rcv_wscale`: our window shift.
    pub rcv_wscale: u8,
    /// `tcpi_rto`: the retransmission timeout, back-off included.
    pub rto: Duration,
    /// `tcpi_ato`: how long an acknowledgment may be delayed.
    pub ato: Duration,
    /// `tcpi_snd_mss`: the most text of a segment that we send, in octets.
    pub snd_mss: u32,
    /// `tcpi_rcv_mss`: what counts as a full segment of the peer's, in octets.
    pub rcv_mss: u32,
    /// `tcpi_advmss`: the MSS that we offer, in octets.
    pub advmss: u32,
    /// `tcpi_unacked`: segments sent and not acknowledged.
    pub unacked: u32,
    /// `tcpi_sacked`: of these, how many the peer reported by SACK, or by duplicate ACKs.
    pub sacked: u32,
    /// `tcpi_lost`: of these, how many are held to be lost.
    pub lost: u32,
    /// `tcpi_retrans`: retransmissions that are under way.
    pub retrans: u32,
    /// `tcpi_last_data_sent`: since text was last sent.
    pub last_data_sent: Duration,
    /// `tcpi_last_data_recv`: since text last arrived, or the handshake was done.
    pub last_data_recv: Duration,
    /// `tcpi_last_ack_recv`: since an acknowledgment last arrived.
    pub last_ack_recv: Duration,
    /// `tcpi_rtt`: the smoothed round-trip time; zero before the first sample.
    pub rtt: Duration,
    /// `tcpi_rttvar`: its mean deviation.
    pub rttvar: Duration,
    /// `tcpi_min_rtt`: the least round-trip time of the last minutes; zero before the first sample.
    pub min_rtt: Duration,
    /// `tcpi_snd_ssthresh` in segments; `None` while slow start has no limit.
    pub ssthresh: Option<u32>,
    /// `tcpi_snd_cwnd` in segments.
    pub cwnd: u32,
    /// `tcpi_reordering` in segments.
    pub reordering: u32,
    /// `tcpi_total_retrans`: segments sent again, SYN included.
    pub total_retrans: u32,
    /// `tcpi_bytes_acked`: octets of text acknowledged.
    pub bytes_acked: u64,
    /// `tcpi_bytes_received`: octets of text received in order.
    pub bytes_received: u64,
    /// `tcpi_notsent_bytes`: octets queued and never sent.
    pub notsent: u32,
    /// `tcpi_delivered`: segments that the peer reported, cumulatively or by SACK.
    pub delivered: u32,
    /// `tcpi_dsack_dups`: duplicates of ours that the peer reported (RFC 2883).
    pub dsack_dups: u32,
    /// `tcpi_snd_wnd`: the peer's window in octets.
    pub snd_wnd: u32,
    /// `tcpi_rcv_wnd`: our window in octets.
    pub rcv_wnd: u32,
}

/// What the sender is doing about loss, by Linux's names (`enum tcp_ca_state`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CaState {
    /// Nothing is amiss.
    #[default]
    Open,
    /// Something is out of order: a duplicate ACK or a SACK, and no decision yet.
    Disorder,
    /// The window is being reduced for a reason other than loss.
    Cwr,
    /// Fast recovery.
    Recovery,
    /// A retransmission timeout is being repaired.
    Loss,
}

impl CaState {
    /// The number that TCP_INFO has for it.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

impl Tcb {
    /// What there is to tell of this connection.
    pub fn info(&self, now: Instant) -> Info {
        let (snd, rcv, rare) = (&self.snd, &self.rcv, &self.rare);
        let octets = |wraps: u16, from: SeqNum, to: SeqNum| {
            ((u64::from(wraps) << 32) + u64::from(to.0)).wrapping_sub((from + 1).0.into())
        };
        let (has_fin, is_fin_acked) =
            (self.peer_fin().is_some_and(|fin| rcv.nxt == fin + 1), snd.fin == Fin::Acknowledged);
        let is_open = self.state().is_synchronized();
        let text = |all: u64, has_fin: bool| if is_open { all - u64::from(has_fin) } else { 0 };
        let since =
            |millis: u32| Duration::from_millis(stamp_clock(now).wrapping_sub(millis).into());
        let recovery = self.recovery.as_deref();
        let window = self.cc.window();
        let is_probing = self.flight.is_empty() && self.state().is_synchronized();
        let timeouts = self.rtt.unanswered();
        Info {
            state: self.state(),
            ca_state: self.ca_state(),
            retransmits: if is_probing { 0 } else { timeouts },
            probes: if is_probing { timeouts } else { 0 },
            backoff: self.rtt.backoff(),
            has_timestamps: self.switches.has(Switch::Stamps),
            has_sack: self.switches.has(Switch::Sack),
            has_window_scale: rcv.scale > 0 || snd.scale > 0,
            snd_wscale: snd.scale,
            rcv_wscale: rcv.scale,
            rto: self.rtt.timeout(),
            ato: DELAYED_ACK,
            snd_mss: self.max_text(),
            rcv_mss: rcv.full.into(),
            advmss: rcv.mss.into(),
            unacked: match self.state() {
                State::SynSent | State::SynReceived => 1,
                _ => self.flight.len(),
            },
            sacked: recovery.map_or(0, |recovery| recovery.sacked),
            lost: recovery.map_or(0, |recovery| recovery.lost),
            retrans: recovery.map_or(0, |recovery| recovery.resent),
            last_data_sent: since(rare.sent_at),
            last_data_recv: since(rcv.text_at),
            last_ack_recv: since(self.ack_at),
            rtt: self.rtt.smoothed().unwrap_or_default(),
            rttvar: self.rtt.deviation(),
            min_rtt: self.rtt.least().unwrap_or_default(),
            ssthresh: window.ssthresh(),
            cwnd: window.cwnd(),
            reordering: DUPLICATES,
            total_retrans: self.total_retrans,
            bytes_acked: text(octets(rare.wraps, rare.iss, snd.una), is_fin_acked),
            bytes_received: text(octets(rcv.wraps, rare.irs, rcv.nxt), has_fin),
            notsent: self.text_end().since(snd.nxt),
            delivered: self.delivered,
            dsack_dups: rare.dsacks.into(),
            snd_wnd: snd.wnd,
            rcv_wnd: rcv.edge.since(rcv.nxt),
        }
    }
}

const DELAYED_ACK: Duration = Duration::from_millis(40);
