//! CPU time that went to others: processes that are not ours, and the hypervisor's other guests.
//!
//! Owns the rule by which a measurement is disturbed, the same for all that is measured. What is done
//! about it is the caller's business.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use anyhow::Result;

use crate::clock::{now, pause};
use crate::cpus::{self, TICKS};

/// Watches others from right before a measurement to its end.
pub(crate) struct Watch {
    /// Cores that others used right before.
    before: f64,
    from: Times,
    /// The name of processes that are measured though somebody else has started them.
    spared: Option<&'static str>,
}

impl Watch {
    /// Looks for a moment at what others do, then the measurement may begin.
    pub(crate) fn begin() -> Self {
        Self::begin_beside(None)
    }

    /// The same where processes of this name, whose parent is anybody, are what is measured.
    pub(crate) fn begin_beside(spared: Option<&'static str>) -> Self {
        let begin = Times::read(spared);
        pause(BEFORE);
        let from = Times::read(spared);
        Self { before: from.others_since(&begin), from, spared }
    }

    /// Cores that others used before or since, whichever is more.
    pub(crate) fn others(&self) -> f64 {
        Times::read(self.spared).others_since(&self.from).max(self.before)
    }
}

/// Whether what others used disturbs a measurement.
pub(crate) fn is_disturbed(others: f64) -> bool {
    others > QUIET
}

/// What `take` finds, with the cores that others used meanwhile. Where they disturbed it, it is done again,
/// at most `repeats` times; after that it counts, and what the rows have to say of it stands beside it.
///
/// # Errors
/// Those of `take`.
pub(crate) fn until_quiet<T>(
    repeats: usize,
    mut take: impl FnMut() -> Result<(T, f64)>,
) -> Result<(T, Option<String>)> {
    let mut repeated = 0;
    loop {
        let (taken, others) = take()?;
        if !is_disturbed(others) {
            return Ok((taken, None));
        }
        if repeated == repeats {
            let percent = others * 100.0;
            let how = format!("others used {percent:.0} % of a core, after {repeated} repetitions");
            return Ok((taken, Some(how)));
        }
        repeated += 1;
    }
}

/// What the kernel has counted until a moment.
struct Times {
    at: Duration,
    /// Clock ticks that the hypervisor gave to others.
    steal: u64,
    /// Clock ticks of every process that is not ours, with those of their children that are gone.
    others: u64,
}

impl Times {
    fn read(spared: Option<&str>) -> Self {
        let steal = cpus::read().values().map(|ticks| ticks.steal).sum();
        let mut processes = processes();
        processes.retain(|one| Some(&*one.name) != spared);
        Self { at: now(), steal, others: others(&processes, std::process::id()) }
    }

    /// Cores that processes other than this one and its children used since `earlier`, and that the
    /// hypervisor took.
    fn others_since(&self, earlier: &Self) -> f64 {
        let seconds = (self.at - earlier.at).as_secs_f64().max(1e-3);
        let others = self.others.saturating_sub(earlier.others);
        let stolen = self.steal.saturating_sub(earlier.steal);
        (others + stolen) as f64 / TICKS / seconds
    }
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

/// Cores that others may use without disturbing a measurement.
const QUIET: f64 = 0.2;
/// How long others are watched before a measurement.
const BEFORE: Duration = Duration::from_millis(250);
/// The most times that a measurement is done again because something disturbed it.
pub(crate) const REPEATS: usize = 3;
/// The kernel's threads that process or send packets.
const PACKETS: [&str; 3] = ["ksoftirqd/", "napi/", "kpktgend_"];

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

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
    fn disturbed_measurement_is_done_again_and_marked_in_the_end() {
        let run = |others: &[f64]| {
            let mut rounds = others.iter().zip(1..);
            until_quiet(3, || rounds.next().map(|(others, n)| (n, *others)).context("too many"))
        };
        assert_eq!(run(&[0.1]).unwrap(), (1, None));
        assert_eq!(run(&[0.9, 0.5, 0.2]).unwrap(), (3, None));
        let (last, how) = run(&[0.9, 0.9, 0.9, 0.3]).unwrap();
        let said = "others used 30 % of a core, after 3 repetitions";
        assert_eq!((last, how.as_deref()), (4, Some(said)));
    }

    #[test]
    fn more_than_a_fifth_of_a_core_disturbs() {
        assert!(is_disturbed(0.21) && !is_disturbed(0.2));
    }

    #[test]
    fn use_of_others_is_counted_in_cores() {
        let times =
            |seconds, steal, others| Times { at: Duration::from_secs(seconds), steal, others };
        assert_eq!(times(12, 10, 35).others_since(&times(10, 0, 5)), 0.2);
    }
}
