//! Who took CPU time: the client's core, other processes, and the hypervisor.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::clock::now;

/// What the kernel has counted until a moment.
pub(super) struct Times {
    at: Duration,
    /// Clock ticks of each CPU.
    cpus: HashMap<usize, Ticks>,
    /// Clock ticks of every process that is not ours, with those of their children that are gone.
    others: u64,
}

/// Clock ticks of one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Ticks {
    /// Work, without that of processes with a lower priority, which the spinners are.
    busy: u64,
    /// What the hypervisor gave to others.
    steal: u64,
}

/// What was used between two moments, in cores.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Used {
    /// By processes that are neither this one nor its children, and by the hypervisor.
    pub(super) others: f64,
    /// On the CPU that was asked for.
    pub(super) core: f64,
}

impl Times {
    pub(super) fn read() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat").context("/proc/stat")?;
        let processes = processes();
        Ok(Self { at: now(), cpus: cpus(&stat), others: others(&processes, std::process::id()) })
    }

    /// What was used since `earlier`; `cpu` is the core that is asked for.
    pub(super) fn since(&self, earlier: &Self, cpu: usize) -> Used {
        let seconds = (self.at - earlier.at).as_secs_f64().max(1e-3);
        let cores = |ticks: u64| ticks as f64 / TICKS / seconds;
        let steal = |times: &Self| times.cpus.values().map(|ticks| ticks.steal).sum::<u64>();
        let busy = |times: &Self| times.cpus.get(&cpu).map_or(0, |ticks| ticks.busy);
        let others = self.others.saturating_sub(earlier.others);
        let stolen = steal(self).saturating_sub(steal(earlier));
        let used = busy(self).saturating_sub(busy(earlier));
        Used { others: cores(others + stolen), core: cores(used).min(1.0) }
    }
}

/// The lines `cpuN` of /proc/stat: user nice system idle iowait irq softirq steal.
fn cpus(stat: &str) -> HashMap<usize, Ticks> {
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

/// A process as /proc/PID/stat tells.
#[derive(Debug, PartialEq, Eq)]
struct Running {
    pid: u32,
    parent: u32,
    name: String,
    /// Clock ticks of its own and of its children that it has waited for.
    ticks: u64,
}

/// All processes that this one can see.
fn processes() -> Vec<Running> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // One may end between the listing and the look.
    let read = |pid: u32| running(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?);
    pids.filter_map(read).collect()
}

/// The text of /proc/PID/stat; the name stands in parentheses and may hold anything.
fn running(stat: &str) -> Option<Running> {
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    let number = |at: usize| words.get(at)?.parse::<u64>().ok();
    // After the name: state ppid ..., and from the twelfth on utime stime cutime cstime.
    let ticks = (11..15).map(number).sum::<Option<u64>>()?;
    let parent = number(1)?.try_into().ok()?;
    Some(Running { pid: pid.parse().ok()?, parent, name: name.into(), ticks })
}

/// Clock ticks of all processes but `ours` and its descendants. The kernel's threads that carry our
/// packets are none of the others.
fn others(processes: &[Running], ours: u32) -> u64 {
    let mut family = HashSet::from([ours]);
    loop {
        let before = family.len();
        let children = processes.iter().filter(|one| family.contains(&one.parent));
        let children: Vec<u32> = children.map(|one| one.pid).collect();
        family.extend(children);
        if family.len() == before {
            break;
        }
    }
    let is_other = |one: &&Running| {
        !family.contains(&one.pid) && !PACKETS.iter().any(|name| one.name.starts_with(name))
    };
    processes.iter().filter(is_other).map(|one| one.ticks).sum()
}

/// The kernel's threads that process packets.
const PACKETS: [&str; 2] = ["ksoftirqd/", "napi/"];
/// Clock ticks in a second: USER_HZ, which is the same on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lines_are_read_and_the_sum_is_not() {
        let stat = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu1 100 50 20 900 5 1 2 7 0 0\nintr 5\n";
        assert_eq!(cpus(stat), HashMap::from([(1, Ticks { busy: 123, steal: 7 })]));
    }

    #[test]
    fn name_with_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a) (b) S 7 42 42 0 -1 0 0 0 0 0 10 20 3 4 20 0 1 0 5 0";
        let want = Running { pid: 42, parent: 7, name: "a) (b".into(), ticks: 37 };
        assert_eq!(running(stat), Some(want));
        assert_eq!(running("42 (a) S 7"), None);
    }

    #[test]
    fn family_and_packet_threads_are_not_others() {
        let one =
            |pid, parent, name: &str, ticks| Running { pid, parent, name: name.into(), ticks };
        // A grandchild stands before its parent.
        let processes = [
            one(12, 11, "load", 1_000),
            one(10, 1, "bench", 1_000),
            one(11, 10, "ip", 1_000),
            one(5, 2, "ksoftirqd/0", 1_000),
            one(20, 1, "rustc", 7),
        ];
        assert_eq!(others(&processes, 10), 7);
    }

    #[test]
    fn use_is_counted_in_cores() {
        let times = |seconds, busy, steal, others| Times {
            at: Duration::from_secs(seconds),
            cpus: HashMap::from([(0, Ticks { busy, steal }), (1, Ticks::default())]),
            others,
        };
        let used = times(12, 190, 10, 35).since(&times(10, 0, 0, 5), 0);
        assert_eq!(used, Used { others: 0.2, core: 0.95 });
    }
}
