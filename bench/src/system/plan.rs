//! What is measured: the cases of a run, and how long each takes.

use super::bed::Subject;
use crate::load::{self, Quantiles, Report};
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
}

/// What the client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Our load client's.
    Load(load::Work),
    /// wrk's.
    Wrk,
}

/// How many samples are taken, and how long each is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) alternations: usize,
    /// Seconds of one sample.
    pub(super) seconds: f64,
    /// The most alternations of a case that are done again because something disturbed them.
    pub(super) repeats: usize,
}

impl Pace {
    pub(super) const FULL: Self = Self { alternations: 5, seconds: 2.0, repeats: 3 };
    pub(super) const SMOKE: Self = Self { alternations: 3, seconds: 0.5, repeats: 1 };
}

/// One figure of a work.
pub(super) struct Metric {
    /// What follows the work's name.
    pub(super) suffix: &'static str,
    pub(super) unit: &'static str,
    /// The figure, where the report has it.
    pub(super) of: fn(&Report, Option<Quantiles>) -> Option<f64>,
}

impl Case {
    /// The figures that a row is made of each.
    pub(super) fn metrics(&self) -> &'static [Metric] {
        match self.work {
            Work::Load(load::Work::Connect | load::Work::Fetch) => &CONNECTIONS,
            Work::Load(load::Work::Request) | Work::Wrk => &REQUESTS,
            Work::Load(load::Work::Send | load::Work::Receive) => &BULK,
        }
    }

    /// The service that the work needs.
    pub(super) fn service(&self) -> Service {
        match self.work {
            Work::Load(load::Work::Connect | load::Work::Request) => Service::Echo,
            Work::Load(load::Work::Fetch) | Work::Wrk => Service::Http,
            Work::Load(load::Work::Send) => Service::Discard,
            Work::Load(load::Work::Receive) => Service::Chargen,
        }
    }
}

const CONNECTIONS: [Metric; 1] =
    [Metric { suffix: "", unit: "conn/s", of: |report, _| Some(report.rate()) }];
const REQUESTS: [Metric; 4] = [
    Metric { suffix: ", rate", unit: "req/s", of: |report, _| Some(report.rate()) },
    Metric { suffix: ", p50", unit: "µs", of: |_, found| Some(found?.p50 as f64 / 1e3) },
    Metric { suffix: ", p99", unit: "µs", of: |_, found| Some(found?.p99 as f64 / 1e3) },
    Metric { suffix: ", p99.9", unit: "µs", of: |_, found| Some(found?.p999 as f64 / 1e3) },
];
const BULK: [Metric; 1] =
    [Metric { suffix: "", unit: "Gbit/s", of: |report, _| Some(report.gigabits()) }];

/// The cases of a run: all, or the two that show that the instrument works; of these the ones whose
/// name contains `filter`.
pub(super) fn cases(is_smoke: bool, filter: Option<&str>) -> Vec<Case> {
    let is_wanted = |case: &Case| {
        (!is_smoke || SMOKE.contains(&&*case.name))
            && filter.is_none_or(|part| case.name.contains(part))
    };
    all().into_iter().filter(is_wanted).collect()
}

fn all() -> Vec<Case> {
    let case = |name: String, work: load::Work, connections: usize| Case {
        name,
        work: Work::Load(work),
        connections,
        mtu: 1500,
        subjects: vec![Subject::Sluice, Subject::Kernel],
        has_spinners: false,
    };
    let mut cases = Vec::new();
    for n in AT_ONCE {
        cases.push(case(format!("connect, {n} at once"), load::Work::Connect, n));
    }
    for n in AT_ONCE {
        cases.push(case(format!("request 64 B, {n} at once"), load::Work::Request, n));
    }
    cases
}

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
