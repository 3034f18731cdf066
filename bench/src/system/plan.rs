//! What is measured: the cases of a run, and how long each takes.

use anyhow::{Context, Result};

use super::bed::Subject;
use super::loss::{self, Path};
use crate::busy::REPEATS;
use crate::load::{self, Report};
use crate::serve::Service;

/// One work, done by several subjects in turn.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// As the rows call the work.
    pub(super) name: String,
    pub(super) work: Work,
    /// Connections at once.
    pub(super) connections: usize,
    pub(super) mtu: u32,
    /// Whose figures are set beside those of each of the others: the first.
    pub(super) subjects: Vec<Subject>,
    /// Whether idle-priority spinners keep the CPUs awake.
    pub(super) has_spinners: bool,
    /// What the frames pass, where it is no wire.
    pub(super) path: Option<Path>,
    /// Whether our client's next request goes a round of its loop after the answer, as wrk's does.
    pub(super) in_rounds: bool,
}

/// What the client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Our load client's.
    Load(load::Work, Sources),
    /// wrk's.
    Wrk,
}

/// Where the client's connections come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sources {
    /// All addresses of the client in turn.
    Spread,
    /// One address, whose ports come round within a second or two: they are still in TIME-WAIT.
    Single,
}

/// How many samples are taken, and how long each is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    pub(super) alternations: usize,
    /// Seconds of one sample.
    pub(super) seconds: f64,
    /// The most alternations of a case that are done again because something disturbed them.
    pub(super) repeats: usize,
}

impl Pace {
    pub(super) const FULL: Self = Self { alternations: 5, seconds: 2.0, repeats: REPEATS };
    pub(super) const SMOKE: Self = Self { alternations: 3, seconds: 0.5, repeats: 1 };

    /// Whether the samples are too short to mean anything.
    pub(super) fn is_smoke(self) -> bool {
        self.seconds < Self::FULL.seconds
    }
}

/// One figure of a work.
pub(super) struct Metric {
    /// What follows the work's name.
    pub(super) suffix: &'static str,
    pub(super) unit: &'static str,
}

impl Case {
    /// The figures that a row is made of each.
    pub(super) fn metrics(&self) -> &'static [Metric] {
        match self.work {
            Work::Load(load::Work::Connect | load::Work::Fetch | load::Work::Hold, _) => {
                &CONNECTIONS
            }
            // Sluice's client counts answers; it has no clock for each.
            Work::Load(load::Work::Request, _) if self.is_both_ends() => &REQUESTS[..1],
            Work::Load(load::Work::Request, _) => &REQUESTS,
            Work::Load(load::Work::Get, _) => &REQUESTS[..3],
            Work::Load(load::Work::Send | load::Work::Receive, _) => &BULK,
            Work::Wrk => &REQUESTS[..3],
        }
    }

    /// The figures that a report of our client holds, in the order of the metrics.
    pub(super) fn figures(&self, report: &Report) -> Result<Vec<f64>> {
        Ok(match self.work {
            Work::Load(load::Work::Request, _) if self.is_both_ends() => vec![report.rate()],
            Work::Load(load::Work::Request | load::Work::Get, _) => {
                let found = report.quantiles()?.context("no request was answered in time")?;
                let micros = [found.p50, found.p99, found.p999].map(|nanos| nanos as f64 / 1e3);
                [vec![report.rate()], micros.to_vec()].concat()
            }
            Work::Load(load::Work::Send | load::Work::Receive, _) => vec![report.gigabits()],
            _ => vec![report.rate()],
        })
    }

    /// Whether all connections come from one address.
    pub(super) fn has_single_source(&self) -> bool {
        matches!(self.work, Work::Load(_, Sources::Single))
    }

    /// Whether the first subject is client and server at once.
    fn is_both_ends(&self) -> bool {
        self.subjects.first() == Some(&Subject::SluiceBoth)
    }

    /// The service that the work needs.
    pub(super) fn service(&self) -> Service {
        match self.work {
            Work::Load(load::Work::Connect | load::Work::Request | load::Work::Hold, _) => {
                Service::Echo
            }
            Work::Load(load::Work::Fetch | load::Work::Get, _) | Work::Wrk => Service::Http,
            Work::Load(load::Work::Send, _) => Service::Discard,
            Work::Load(load::Work::Receive, _) => Service::Chargen,
        }
    }

    /// The program that the work needs, and its package.
    pub(super) fn tools(&self) -> &'static [(&'static str, &'static str)] {
        match self.work {
            Work::Wrk => &[("wrk", "wrk"), ("taskset", "util-linux")],
            Work::Load(..) if self.has_spinners => &[("chrt", "util-linux")],
            Work::Load(..) => &[],
        }
    }
}

const CONNECTIONS: [Metric; 1] = [Metric { suffix: "", unit: "conn/s" }];
const REQUESTS: [Metric; 4] = [
    Metric { suffix: ", rate", unit: "req/s" },
    Metric { suffix: ", p50", unit: "µs" },
    Metric { suffix: ", p99", unit: "µs" },
    Metric { suffix: ", p99.9", unit: "µs" },
];
const BULK: [Metric; 1] = [Metric { suffix: "", unit: "Gbit/s" }];

/// The cases of a run: those whose name contains `filter`; without one all, or the two that show that
/// the instrument works.
pub(super) fn cases(is_smoke: bool, filter: Option<&str>) -> Vec<Case> {
    let is_wanted = |case: &Case| match filter {
        Some(part) => case.name.contains(part),
        None => !is_smoke || SMOKE.contains(&&*case.name),
    };
    all().into_iter().filter(is_wanted).collect()
}

fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for n in AT_ONCE {
        cases.push(with_smoltcp(case(format!("connect, {n} at once"), load::Work::Connect, n)));
    }
    cases.push(Case {
        work: Work::Load(load::Work::Fetch, Sources::Single),
        ..case("fetch 1 B, 32 at once, one client address".into(), load::Work::Fetch, 32)
    });
    for n in AT_ONCE {
        cases.push(with_smoltcp(case(
            format!("request 64 B, {n} at once"),
            load::Work::Request,
            n,
        )));
    }
    for n in AT_ONCE {
        cases.push(Case {
            subjects: vec![Subject::SluiceBusy, Subject::Kernel],
            ..case(format!("request 64 B, {n} at once, busy polling"), load::Work::Request, n)
        });
    }
    for n in AT_ONCE {
        cases.push(Case {
            subjects: vec![Subject::SluiceBusy, Subject::Kernel],
            has_spinners: true,
            ..case(format!("request 64 B, {n} at once, spinners"), load::Work::Request, n)
        });
    }
    for n in AT_ONCE {
        for (name, work) in
            [("connect", load::Work::Connect), ("request 64 B", load::Work::Request)]
        {
            cases.push(Case {
                subjects: vec![Subject::SluiceBoth, Subject::Kernel],
                ..case(format!("{name}, {n} at once, both ends"), work, n)
            });
        }
    }
    cases.push(Case {
        work: Work::Wrk,
        subjects: vec![Subject::Sluice, Subject::Nginx, Subject::Kernel],
        ..case("HTTP keep-alive 1 KiB, 100 at once".into(), load::Work::Fetch, 100)
    });
    for mtu in MTUS {
        for (name, work) in [("receive", load::Work::Send), ("send", load::Work::Receive)] {
            cases.push(Case {
                mtu,
                subjects: BULK_SUBJECTS.to_vec(),
                ..case(format!("bulk {name}, MTU {mtu}"), work, 1)
            });
        }
    }
    cases.extend(loss::cases());
    cases
}

/// Sluice beside the kernel, on an Ethernet of the usual MTU.
pub(super) fn case(name: String, work: load::Work, connections: usize) -> Case {
    Case {
        name,
        work: Work::Load(work, Sources::Spread),
        connections,
        mtu: MTUS[0],
        subjects: vec![Subject::Sluice, Subject::Kernel],
        has_spinners: false,
        path: None,
        in_rounds: false,
    }
}

/// The same with smoltcp as another peer.
fn with_smoltcp(mut case: Case) -> Case {
    case.subjects.push(Subject::Smoltcp);
    case
}

/// Who moves bulk data: the kernel in the three ways in which its figures differ.
const BULK_SUBJECTS: [Subject; 4] =
    [Subject::Sluice, Subject::Kernel, Subject::KernelTso, Subject::KernelBbr];
/// The usual MTU, and the largest that a frame of Sluice holds.
const MTUS: [u32; 2] = [1_500, 3_498];
/// How many connections there are at once, in rows that grow with them.
const AT_ONCE: [usize; 4] = [1, 32, 100, 1_000];
/// The cases of a short run.
const SMOKE: [&str; 2] = ["connect, 32 at once", "request 64 B, 32 at once"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoke_is_two_cases() {
        assert_eq!(cases(true, None).len(), SMOKE.len());
        assert!(cases(true, Some("bulk")).iter().all(|case| case.name.starts_with("bulk")));
    }

    #[test]
    fn filter_keeps_what_contains_it() {
        assert!(cases(false, Some("connect")).iter().all(|case| case.name.starts_with("connect")));
        assert!(cases(false, Some("no such row")).is_empty());
    }

    #[test]
    fn names_of_rows_are_unique() {
        let mut names: Vec<String> = all()
            .iter()
            .flat_map(|case| case.metrics().iter().map(|m| format!("{}{}", case.name, m.suffix)))
            .collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
