//! The time within which things count.

use std::time::Duration;

use super::Options;
use crate::clock::now;
use crate::cpus::Core;

/// From the end of the warm-up to the end; measures the client's own core meanwhile.
pub(super) struct Window {
    begin: Duration,
    pub(super) end: Duration,
    cpu: Option<usize>,
    core: Option<Core>,
    share: Option<f64>,
}

impl Window {
    /// The warm-up begins now.
    pub(super) fn begin(options: &Options) -> Self {
        let begin = now() + options.warm_up();
        let cpu = options.cpus.first().copied();
        Self { begin, end: begin + options.measured(), cpu, core: None, share: None }
    }

    /// Whether what begins or ends at `time` counts.
    pub(super) fn contains(&self, time: Duration) -> bool {
        (self.begin..self.end).contains(&time)
    }

    /// To be called now and then, with the time.
    pub(super) fn see(&mut self, time: Duration) {
        if time < self.begin || self.share.is_some() {
            return;
        }
        match &self.core {
            None => self.core = self.cpu.and_then(Core::begin),
            Some(core) if time >= self.end => self.share = core.share(),
            Some(_) => {}
        }
    }

    /// The share of its core that the client used, where it is kept on one.
    pub(super) fn share(&self) -> Option<f64> {
        self.share
    }
}
