//! `struct tcp_info` as linux/tcp.h has it.

use super::socket::{Phase, Role, Socket};
use crate::tcp::State;
use crate::time::Duration;

/// The bytes of the structure; the caller has as many of them as it asks for.
pub(super) fn tcp_info(socket: &Socket, mtu: u16) -> Vec<u8> {
    let info = &socket.view.info;
    let mut out = Writer(Vec::with_capacity(256));
    let options = u8::from(info.has_timestamps)
        | u8::from(info.has_sack) << 1
        | u8::from(info.has_window_scale) << 2;
    let head = [
        state_number(socket),
        info.ca_state.number(),
        info.retransmits,
        info.probes,
        info.backoff,
        options,
        info.snd_wscale | info.rcv_wscale << 4,
        0,
    ];
    out.0.extend_from_slice(&head);
    out.micros(info.rto);
    out.micros(info.ato);
    out.words(&[info.snd_mss, info.rcv_mss]);
    match socket.role {
        // Linux tells the length of the accept queue and its bound in these fields.
        Role::Listening(_) => out.words(&[socket.view.queued as u32, 0]),
        _ => out.words(&[info.unacked, info.sacked]),
    }
    out.words(&[info.lost, info.retrans, 0]);
    out.millis(info.last_data_sent);
    out.words(&[0]);
    out.millis(info.last_data_recv);
    out.millis(info.last_ack_recv);
    out.words(&[mtu.into(), info.rcv_wnd]);
    out.micros(info.rtt);
    out.micros(info.rttvar);
    out.words(&[info.ssthresh.unwrap_or(INFINITE_SSTHRESH), info.cwnd, info.advmss]);
    out.words(&[info.reordering, 0, info.rcv_wnd, info.total_retrans]);
    out.longs(&[u64::MAX, u64::MAX, info.bytes_acked, info.bytes_received]);
    out.words(&[0, 0, info.notsent]);
    out.micros(info.min_rtt);
    out.words(&[0, 0]);
    out.longs(&[0, 0, 0, 0]);
    out.words(&[info.delivered, 0]);
    out.longs(&[info.bytes_acked, 0]);
    out.words(&[info.dsack_dups, 0, 0, info.snd_wnd, info.rcv_wnd, 0, 0, 0]);
    // ECN, of which there is none.
    out.words(&[0; 8]);
    out.0
}

/// `tcpi_state`, by the numbers of linux/tcp_states.h. What is over is closed, whatever it was.
fn state_number(socket: &Socket) -> u8 {
    let state = match socket.role {
        Role::Fresh | Role::Connection { phase: Phase::Over, .. } => State::Closed,
        Role::Listening(_) => State::Listen,
        Role::Connection { .. } => socket.view.state(),
    };
    match state {
        State::Established => 1,
        State::SynSent => 2,
        State::SynReceived => 3,
        State::FinWait1 => 4,
        State::FinWait2 => 5,
        // Linux keeps TIME-WAIT apart from the socket, which is closed.
        State::TimeWait | State::Closed => 7,
        State::CloseWait => 8,
        State::LastAck => 9,
        State::Listen => 10,
        State::Closing => 11,
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn words(&mut self, words: &[u32]) {
        self.0.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    }

    fn longs(&mut self, longs: &[u64]) {
        self.0.extend(longs.iter().flat_map(|long| long.to_ne_bytes()));
    }

    fn micros(&mut self, time: Duration) {
        self.words(&[u32::try_from(time.as_micros()).unwrap_or(u32::MAX)]);
    }

    fn millis(&mut self, time: Duration) {
        self.words(&[u32::try_from(time.as_millis()).unwrap_or(u32::MAX)]);
    }
}

/// TCP_INFINITE_SSTHRESH.
const INFINITE_SSTHRESH: u32 = 0x7fff_ffff;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::{CaState, Info};

    #[test]
    fn fields_lie_where_linux_has_them() {
        let fd =
            rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).expect("a descriptor");
        let mut socket = Socket::new(fd, 1, false, false);
        socket.view.info = Info {
            ca_state: CaState::Recovery,
            snd_wscale: 7,
            rcv_wscale: 8,
            rto: Duration::from_millis(200),
            cwnd: 10,
            total_retrans: 5,
            bytes_acked: 1000,
            min_rtt: Duration::from_micros(77),
            delivered: 3,
            rcv_wnd: 9,
            ..Info::default()
        };
        let bytes = tcp_info(&socket, 1500);
        let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four"));
        assert_eq!(bytes.len(), 280);
        assert_eq!((bytes[0], bytes[1], bytes[6]), (7, 3, 0x87));
        // The offsets of linux/tcp.h: tcpi_rto, snd_ssthresh, snd_cwnd, total_retrans, bytes_acked,
        // min_rtt, delivered, rcv_wnd.
        let at = [8, 76, 80, 100, 120, 148, 192, 232].map(word);
        assert_eq!(at, [200_000, INFINITE_SSTHRESH, 10, 5, 1000, 77, 3, 9]);
    }
}
