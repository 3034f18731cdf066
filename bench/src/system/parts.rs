//! The parts of a run: which there are, how long they take, and what is done where one of them fails.
//!
//! What is measured stands with each of them.

use anyhow::Result;

use super::bed::{Bed, Room};
use super::check::{self, Check};
use super::flood::{self, Flood};
use super::plan::{self, Case, Pace};
use super::{Common, Options, churn, furnish, loss, memory, present, rows, series};
use crate::machine;
use crate::micro::OURS;
use crate::row::{FAILED, Row};
use crate::topology::Family;

/// A part of a run.
pub(super) enum Part {
    /// Samples of clients, in turns.
    Case(Box<Case>),
    /// Our client beside another.
    Check(Box<Check>),
    /// Clients during a flood.
    Flood(Flood),
    /// Memory of connections.
    Memory(memory::State),
    /// The relay of the works with loss, alone.
    Relay,
    /// Short connections for long.
    Churn(churn::Length),
}

impl Part {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Case(case) => &case.name,
            Self::Check(check) => check.name(),
            Self::Flood(flood) => flood.name(),
            Self::Memory(state) => state.name(),
            Self::Relay => loss::CEILING,
            Self::Churn(_) => "churn",
        }
    }

    /// Seconds that it takes, about.
    pub(super) fn estimate(&self, pace: Pace) -> f64 {
        let rounds = pace.alternations as f64;
        // Before a sample others are watched; starting and ending take time as well.
        let sample = 1.1 * pace.seconds + 0.5;
        match self {
            Self::Case(case) => rounds * case.subjects.len() as f64 * sample,
            Self::Check(_) => rounds * 2.0 * sample,
            Self::Flood(flood) => flood.estimate(pace),
            Self::Memory(_) if pace.is_smoke() => rounds * 10.0,
            Self::Memory(state) => rounds * state.estimate(),
            Self::Relay => rounds * (pace.seconds / 4.0 + 0.3),
            Self::Churn(length) => length.estimate(),
        }
    }
}

/// What these options ask for.
pub(super) fn all(options: &Options) -> Vec<Part> {
    let Options { common: Common { filter, smoke, .. }, churn } = options;
    let (filter, is_smoke) = (filter.as_deref(), *smoke);
    if let Some(minutes) = *churn {
        let seconds = if is_smoke { 2.0 } else { churn::MINUTE };
        return vec![Part::Churn(churn::Length { minutes, seconds })];
    }
    let is_wanted = |part: &Part| match filter {
        Some(wanted) => part.name().contains(wanted),
        None => !is_smoke,
    };
    let cases = plan::cases(is_smoke, filter).into_iter().map(Box::new).map(Part::Case);
    let checks = check::all(filter).into_iter().map(Box::new).map(Part::Check);
    let others = memory::State::ALL.map(Part::Memory).into_iter().chain([Part::Relay]);
    // A run of all has them in a command of their own, `bench flood`.
    let floods = filter.map_or_else(Vec::new, |_| floods(&options.common, Family::V4));
    cases.chain(checks).chain(others.filter(is_wanted)).chain(floods).collect()
}

/// The floods that these options ask for.
pub(super) fn floods(options: &Common, family: Family) -> Vec<Part> {
    let floods = flood::cases(options.smoke, options.filter.as_deref(), family);
    floods.into_iter().map(Part::Flood).collect()
}

/// A run under way.
pub(super) struct Run {
    /// Before the room they use.
    beds: Vec<Bed>,
    room: Room,
    pace: Pace,
    pub(super) rows: Vec<Row>,
    /// What did not go as it should.
    pub(super) failures: Vec<String>,
}

impl Run {
    pub(super) fn new(room: Room, pace: Pace) -> Self {
        Self { beds: Vec::new(), room, pace, rows: Vec::new(), failures: Vec::new() }
    }

    /// Measures a part; where that fails its rows say so, and the run goes on.
    ///
    /// # Errors
    /// On Ctrl-C.
    pub(super) fn take(&mut self, part: Part) -> Result<()> {
        let name = part.name().to_string();
        let rows = match part {
            Part::Case(case) => {
                let (case, absent) = present(*case);
                self.rows.extend(absent);
                self.cases(&case)?
            }
            Part::Check(check) => check.rows(&self.room, &mut self.beds, self.pace)?,
            other => {
                // Their servers would be other processes of the machine.
                self.beds.clear();
                let taken = self.alone(&other);
                self.told(taken)?.unwrap_or_else(|why| {
                    vec![Row::failed(&name, OURS, "kernel", "", &why).with(machine::config())]
                })
            }
        };
        self.room.stop.check()?;
        let how = rows.iter().find_map(|row| row.config.get(FAILED));
        self.failures.extend(how.map(|how| format!("{name}: {how}")));
        self.rows.extend(rows);
        Ok(())
    }

    /// The rows of a case. Where it fails, each peer is tried without the others, which may be whole.
    fn cases(&mut self, case: &Case) -> Result<Vec<Row>> {
        let taken = self.case(case);
        let why = match self.told(taken)? {
            Ok(rows) => return Ok(rows),
            Err(why) => why,
        };
        if case.subjects.len() == 2 {
            return Ok(rows::failed(case, &why));
        }
        let mut rows = Vec::new();
        for peer in &case.subjects[1..] {
            let pair = Case { subjects: vec![case.subjects[0], *peer], ..case.clone() };
            let taken = self.case(&pair);
            rows.extend(self.told(taken)?.unwrap_or_else(|why| rows::failed(&pair, &why)));
        }
        Ok(rows)
    }

    /// Rows, or why there are none, which is told; whatever is broken about the beds is no matter of
    /// what comes next.
    ///
    /// # Errors
    /// On Ctrl-C.
    fn told(&mut self, taken: Result<Vec<Row>>) -> Result<Result<Vec<Row>, String>> {
        self.room.stop.check()?;
        Ok(taken.map_err(|error| {
            eprintln!("  failed: {error:#}");
            self.beds.clear();
            format!("{error:#}")
        }))
    }

    fn case(&mut self, case: &Case) -> Result<Vec<Row>> {
        if case.subjects.len() < 2 {
            return Ok(Vec::new());
        }
        furnish(&mut self.beds, case)?;
        let series = series::take(&self.room, &mut self.beds, case, self.pace)?;
        Ok(rows::of(&self.room, &self.beds, case, &series))
    }

    fn alone(&mut self, part: &Part) -> Result<Vec<Row>> {
        match part {
            Part::Case(_) | Part::Check(_) => Ok(Vec::new()),
            Part::Flood(flood) => flood::rows(&self.room, flood, self.pace),
            Part::Memory(state) => Ok(vec![memory::row(&self.room, *state, self.pace)?]),
            Part::Relay => Ok(vec![loss::ceiling(&self.room, self.pace)?]),
            Part::Churn(length) => churn::rows(&self.room, *length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(filter: Option<&str>) -> Options {
        let filter = filter.map(String::from);
        let common = Common { filter, smoke: false, json: None, sluice: None, program: None };
        Options { common, churn: None }
    }

    #[test]
    fn floods_are_run_where_a_filter_names_them() {
        let is_flood = |part: &Part| matches!(part, Part::Flood(_));
        assert!(!all(&options(None)).iter().any(is_flood));
        let found = all(&options(Some("syn flood, 100 k/s")));
        assert!(found.len() == 1 && found.iter().all(is_flood));
    }

    #[test]
    fn floods_are_planned_to_take_as_long_as_their_help_says() {
        let common = options(None).common;
        for family in [Family::V4, Family::V6] {
            let parts = floods(&common, family);
            let seconds: f64 = parts.iter().map(|part| part.estimate(Pace::FULL)).sum();
            assert!(seconds / 60.0 > 10.0 && seconds / 60.0 < 12.0, "{seconds} s");
            assert!(parts.iter().any(|part| part.name().ends_with(", flat out")));
        }
    }

    #[test]
    fn whole_run_is_planned_to_end_within_40_minutes() {
        let seconds: f64 = all(&options(None)).iter().map(|part| part.estimate(Pace::FULL)).sum();
        assert!(seconds < 40.0 * 60.0, "{seconds} s");
        const { assert!(Pace::FULL.alternations >= 5) };
    }
}
