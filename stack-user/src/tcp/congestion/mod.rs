//! Congestion control: how many segments may be in flight.
//!
//! [`Congestion`] is what a connection has: the window, when it may grow, and what an idle time does
//! to it, which are the same for all; and the algorithm, which says how far the window falls and how
//! it grows above the threshold. Windows are counted in segments, as on Linux. What is lost, what is
//! in flight and what is sent again is for `recovery`.

mod cubic;
mod new_reno;
mod window;

use core::fmt;

use crate::time::{Duration, Instant};

use cubic::Cubic;
use new_reno::NewReno;
pub use window::Window;

/// How the window grows and how far it falls; chosen for each connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RFC 5681 with RFC 6582.
    NewReno,
    /// RFC 9438, as Linux's default.
    #[default]
    Cubic,
}

impl Algorithm {
    /// The name that TCP_CONGESTION has for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NewReno => "reno",
            Self::Cubic => "cubic",
        }
    }

    /// The algorithm of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::NewReno, Self::Cubic].into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// What an algorithm does. One that paces, or that models the path rather than reacting to loss,
/// would add its questions here, with answers that change nothing for the others.
trait Control: fmt::Debug {
    /// Something was lost: the window, in segments, that the path is held to bear.
    fn threshold(&mut self, cwnd: u32) -> u32;

    /// `acked` segments were delivered in congestion avoidance.
    fn avoid(&mut self, window: &mut Window, acked: u32, at: Moment);

    /// The retransmission timer fired.
    fn on_timeout(&mut self) {}

    /// Nothing was in flight for `idle`, and now something is sent.
    fn on_resumed(&mut self, _idle: Duration) {}
}

/// When something happens, and how long the path is.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Now.
    pub now: Instant,
    /// The least round trip of late.
    pub least_rtt: Duration,
}

/// The congestion control of one connection.
#[derive(Debug)]
pub struct Congestion {
    window: Window,
    algorithm: Algorithm,
    /// What the algorithm remembers, once it has something to: not before the first loss.
    memory: Option<Box<Memory>>,
}

#[derive(Debug)]
enum Memory {
    NewReno(NewReno),
    Cubic(Cubic),
}

impl Memory {
    fn of(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::NewReno => Self::NewReno(NewReno),
            Algorithm::Cubic => Self::Cubic(Cubic::default()),
        }
    }

    fn control(&mut self) -> &mut dyn Control {
        match self {
            Self::NewReno(control) => control,
            Self::Cubic(control) => control,
        }
    }
}

impl Congestion {
    /// The state after the handshake.
    pub fn new(algorithm: Algorithm) -> Self {
        Self { window: Window::default(), algorithm, memory: None }
    }

    /// Goes on with another algorithm; the window stays.
    pub fn choose(&mut self, algorithm: Algorithm) {
        if self.algorithm != algorithm {
            (self.algorithm, self.memory) = (algorithm, None);
        }
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The window.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// The SYN was sent more than twice: the path is not trusted with an initial window.
    ///
    /// RFC 5681 3.1, as RFC 6928 2 amends it: one segment, unless it was lost but once.
    pub fn on_lost_handshake(&mut self) {
        self.window.cwnd = 1;
    }

    /// `delivered` segments reached the peer, and no loss is being repaired.
    ///
    /// RFC 5681 3.1: slow start below the threshold, and avoidance above. RFC 9438 4: what slow
    /// start leaves of a stretch ACK counts for avoidance.
    pub fn on_delivered(&mut self, delivered: u32, at: Moment) {
        if !self.window.is_limiting() {
            return;
        }
        // RFC 9293 3.8.2 (MUST-19): slow start and congestion avoidance.
        let left = self.window.slow_start(delivered);
        if left > 0 {
            let mut window = self.window.clone();
            self.memory().control().avoid(&mut window, left, at);
            self.window = window;
        }
    }

    fn memory(&mut self) -> &mut Memory {
        let algorithm = self.algorithm;
        self.memory.get_or_insert_with(|| Box::new(Memory::of(algorithm)))
    }

    fn threshold(&mut self) -> u32 {
        let cwnd = self.window.cwnd;
        self.memory().control().threshold(cwnd)
    }

    /// A loss was found by duplicates: the threshold falls. What becomes of the window meanwhile is
    /// the recovery's.
    pub fn on_loss(&mut self) {
        self.window.ssthresh = self.threshold();
        self.window.counted = 0;
    }

    /// The retransmission timer fired with `flight` segments not held to be lost; `is_new` unless
    /// the threshold fell for this flight already (RFC 5681, 3.1).
    pub fn on_timeout(&mut self, flight: u32, is_new: bool) {
        if is_new {
            self.window.ssthresh = self.threshold();
        }
        if let Some(memory) = &mut self.memory {
            memory.control().on_timeout();
        }
        self.window.cwnd = flight + 1;
        self.window.counted = 0;
    }

    /// What may be in flight while a recovery lasts.
    pub fn set_window(&mut self, segments: u32) {
        self.window.cwnd = segments.clamp(1, MAX_WINDOW);
    }

    /// A recovery is over: the window is the threshold.
    pub fn on_recovered(&mut self) {
        self.window.cwnd = self.window.ssthresh.min(MAX_WINDOW);
    }

    /// New text is sent after nothing was in flight for `idle`; `rto` is the timeout.
    pub fn on_resumed(&mut self, idle: Duration, rto: Duration) {
        self.window.on_resumed(idle, rto);
        if let Some(memory) = &mut self.memory {
            memory.control().on_resumed(idle);
        }
    }

    /// A segment was sent: learns how much of the window is used.
    pub fn on_sent(&mut self, usage: window::Usage, now: Instant) {
        self.window.on_sent(usage, now);
    }
}

pub use window::Usage;

/// Far above any receive window; keeps the sums away from the end of their type.
const MAX_WINDOW: u32 = 1 << 24;
