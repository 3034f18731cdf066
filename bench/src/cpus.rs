//! What the kernel counts of each CPU's time, and how much of one was used.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::clock::now;

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

/// Measures how much of one CPU is used, of which the clients are its only users.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Core {
    cpu: usize,
    at: Duration,
    /// The kernel's samples: they hold what is done in interrupts, and miss what runs in short bursts.
    busy: u64,
    /// The time of the clients themselves, which is exact.
    own: Duration,
}

impl Core {
    /// From now on; `None` where the kernel does not count for `cpu`.
    pub(crate) fn begin(cpu: usize) -> Option<Self> {
        Some(Self { cpu, at: now(), busy: read().get(&cpu)?.busy, own: own()? })
    }

    /// The share that was used since: the greater of both counts, 1 at most.
    pub(crate) fn share(&self) -> Option<f64> {
        let ticks = read().get(&self.cpu)?.busy.saturating_sub(self.busy);
        Some(share(ticks, own()?.saturating_sub(self.own), now() - self.at))
    }
}

fn share(ticks: u64, own: Duration, time: Duration) -> f64 {
    let seconds = time.as_secs_f64().max(1e-3);
    (ticks as f64 / TICKS).max(own.as_secs_f64()).min(seconds) / seconds
}

/// CPU time of this process and of its children that have ended.
fn own() -> Option<Duration> {
    let of = |who| {
        let usage = getrusage(who).ok()?;
        let micros = [usage.user_time(), usage.system_time()].map(|time| time.num_microseconds());
        Some(Duration::from_micros(u64::try_from(micros.iter().sum::<i64>()).ok()?))
    };
    Some(of(UsageWho::RUSAGE_SELF)? + of(UsageWho::RUSAGE_CHILDREN)?)
}

/// For how long the threads of the process `pid` that could run had to wait for a CPU, all together.
///
/// # Errors
/// Where the process has ended.
pub(crate) fn waited(pid: u32) -> Result<Duration> {
    let folder = format!("/proc/{pid}/task");
    let threads = fs::read_dir(&folder).with_context(|| folder.clone())?;
    let mut nanos = 0;
    for thread in threads {
        let path = thread?.path().join("schedstat");
        // A thread that has ended meanwhile waits for nothing.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        nanos += waited_of(&text).with_context(|| format!("{} is {text:?}", path.display()))?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// The second word of a file `schedstat`: time on the CPU, time that it was waited for, slices.
fn waited_of(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().nth(1)?.parse().ok()
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
    fn wait_is_the_second_word_and_summed_over_threads() {
        assert_eq!(waited_of("700 30 4\n"), Some(30));
        assert_eq!(waited_of("700"), None);
        waited(std::process::id()).unwrap();
        waited(u32::MAX).unwrap_err();
    }

    #[test]
    fn share_is_of_one_core_and_never_more() {
        let [half, one, two] = [500, 1_000, 2_000].map(Duration::from_millis);
        assert_eq!(share(95, half, one), 0.95);
        assert_eq!(share(95, one, two), 0.5);
        assert_eq!(share(95, one, half), 1.0);
    }
}
