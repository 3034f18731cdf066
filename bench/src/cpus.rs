//! What the kernel counts of each CPU's time, and how much of one was used.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use crate::time::now;

/// Clock ticks of one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Ticks {
    /// Work, without that of processes with a lower priority, which the spinners are.
    pub(crate) busy: u64,
    /// What the hypervisor gave to others.
    pub(crate) steal: u64,
}

/// The ticks of every CPU; none where /proc does not tell.
pub(crate) fn read() -> HashMap<usize, Ticks> {
    parse(&fs::read_to_string("/proc/stat").unwrap_or_default())
}

/// The lines `cpuN` of /proc/stat: user nice system idle iowait irq softirq steal.
fn parse(stat: &str) -> HashMap<usize, Ticks> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let cpu = words.next()?.strip_prefix("cpu")?.parse().ok()?;
        let ticks: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        let &[user, _nice, system, _idle, _iowait, irq, softirq, steal, ..] = &ticks[..] else {
            return None;
        };
        Some((cpu, Ticks { busy: user + system + irq + softirq, steal }))
    };
    stat.lines().filter_map(line).collect()
}

/// Measures how much of one CPU is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Core {
    cpu: usize,
    at: Duration,
    busy: u64,
}

impl Core {
    /// From now on; `None` where the kernel does not count for `cpu`.
    pub(crate) fn begin(cpu: usize) -> Option<Self> {
        Some(Self { cpu, at: now(), busy: read().get(&cpu)?.busy })
    }

    /// The share that was used since, 1 at most.
    pub(crate) fn share(&self) -> Option<f64> {
        let ticks = read().get(&self.cpu)?.busy.saturating_sub(self.busy);
        Some(share(ticks, now() - self.at))
    }
}

fn share(ticks: u64, time: Duration) -> f64 {
    (ticks as f64 / TICKS / time.as_secs_f64().max(1e-3)).min(1.0)
}

/// Clock ticks in a second: USER_HZ, which is 100 on every Linux that this runs on.
pub(crate) const TICKS: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lines_are_read_and_the_sum_is_not() {
        let stat = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu1 100 50 20 900 5 1 2 7 0 0\nintr 5\n";
        assert_eq!(parse(stat), HashMap::from([(1, Ticks { busy: 123, steal: 7 })]));
    }

    #[test]
    fn share_is_of_one_core_and_never_more() {
        assert_eq!(share(95, Duration::from_secs(1)), 0.95);
        assert_eq!(share(95, Duration::from_millis(500)), 1.0);
    }
}
