//! A row: one work, its subject beside one peer, and where it was measured.
//!
//! Owns what a row says and its form in JSON. How samples are taken is the caller's business, how rows
//! look to people the printer's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::spread::Spread;

/// Where and how a row was measured: machine, kernel, driver mode, offloads, congestion control,
/// commit, and every setting that is not the default.
pub type Config = BTreeMap<String, String>;

/// The key of [`Config`] that marks rows of a smoke run, whose figures mean nothing.
pub const SMOKE: &str = "smoke";

/// The key of [`Config`] that marks rows during which others used the machine, and how much.
pub const DISTURBED: &str = "disturbed";

/// The key of [`Config`] that marks rows in which something went wrong, and how.
pub const FAILED: &str = "failed";

/// The keys of [`Config`] that hold the peer's own median, least and greatest, in the row's unit.
pub const PEER: [&str; 3] = ["peer's median", "peer's min", "peer's max"];

/// One line of a measurement.
///
/// Work, subject, peer and unit together are its name, which no other row of a run has: two settings
/// of one work are told apart in `work`, not by `config` alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was done.
    pub work: String,
    /// Who did it.
    pub subject: String,
    /// Who did the same in the same run; `None` for a row that stands alone.
    pub peer: Option<String>,
    /// What the subject's figures count. Time and memory are better when small; everything whose unit
    /// ends in `/s` when large.
    pub unit: String,
    /// The median of the subject's samples; `None` where it was not measured.
    pub median: Option<f64>,
    /// The least of them.
    pub min: Option<f64>,
    /// The greatest of them.
    pub max: Option<f64>,
    /// The median of subject over peer, each taken within one alternation.
    pub ratio: Option<f64>,
    /// The least of these.
    pub ratio_min: Option<f64>,
    /// The greatest of these.
    pub ratio_max: Option<f64>,
    /// Where and how.
    pub config: Config,
    /// Why there is no figure, or no ratio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<String>,
}

impl Row {
    /// A row of samples (subject, peer), one pair for each alternation. It is marked absent where there
    /// is no pair, or none that has a ratio.
    pub fn measured(
        work: &str,
        subject: &str,
        peer: &str,
        unit: &str,
        samples: &[(f64, f64)],
    ) -> Self {
        let subjects = Spread::of(samples.iter().map(|(subject, _)| *subject));
        let ratios = Spread::of(samples.iter().map(|(subject, peer)| subject / peer));
        let absent = match (subjects, ratios) {
            _ if samples.is_empty() => Some("nothing was measured"),
            (Some(_), Some(_)) => None,
            _ => Some("the samples have no ratio"),
        };
        let mut row = Self::empty([work, subject, unit], Some(peer));
        row.absent = absent.map(String::from);
        row.set(subjects, ratios);
        if let Some(peers) = Spread::of(samples.iter().map(|(_, peer)| *peer)) {
            let figures = [peers.median, peers.min, peers.max].map(|figure| figure.to_string());
            row.config.extend(PEER.map(String::from).into_iter().zip(figures));
        }
        row
    }

    /// A row whose peer, or whose subject, is not there; `why` names what is missing.
    pub fn absent(work: &str, subject: &str, peer: &str, unit: &str, why: &str) -> Self {
        let row = Self::empty([work, subject, unit], Some(peer));
        Self { absent: Some(why.into()), ..row }
    }

    /// A row whose measurement went wrong in the way that `how` tells.
    pub fn failed(work: &str, subject: &str, peer: &str, unit: &str, how: &str) -> Self {
        let row = Self::absent(work, subject, peer, unit, &format!("failed: {how}"));
        row.with_setting(FAILED, how)
    }

    /// A row without a peer, one sample for each repetition.
    pub fn alone(work: &str, subject: &str, unit: &str, samples: &[f64]) -> Self {
        let mut row = Self::empty([work, subject, unit], None);
        let spread = Spread::of(samples.iter().copied());
        if spread.is_none() {
            row.absent = Some("nothing was measured".into());
        }
        row.set(spread, None);
        row
    }

    /// The same row with what it says about where and how; a key that is there already is replaced.
    #[must_use]
    pub fn with(mut self, config: Config) -> Self {
        self.config.extend(config);
        self
    }

    /// The same row with one setting more.
    #[must_use]
    pub fn with_setting(mut self, key: &str, value: impl ToString) -> Self {
        self.config.insert(key.into(), value.to_string());
        self
    }

    /// The subject's samples.
    pub fn spread(&self) -> Option<Spread> {
        let (median, min, max) = (self.median?, self.min?, self.max?);
        Some(Spread { median, min, max })
    }

    /// Subject over peer.
    pub fn ratio_spread(&self) -> Option<Spread> {
        let (median, min, max) = (self.ratio?, self.ratio_min?, self.ratio_max?);
        Some(Spread { median, min, max })
    }

    /// The peer's samples, where the row has them.
    pub fn peer_spread(&self) -> Option<Spread> {
        let [median, min, max] = PEER.map(|key| self.config.get(key)?.parse().ok());
        Some(Spread { median: median?, min: min?, max: max? })
    }

    /// What tells the row from all others of its run.
    pub fn name(&self) -> [&str; 4] {
        [&self.work, &self.subject, self.peer.as_deref().unwrap_or(""), &self.unit]
    }

    fn empty([work, subject, unit]: [&str; 3], peer: Option<&str>) -> Self {
        Self {
            work: work.into(),
            subject: subject.into(),
            peer: peer.map(String::from),
            unit: unit.into(),
            median: None,
            min: None,
            max: None,
            ratio: None,
            ratio_min: None,
            ratio_max: None,
            config: Config::new(),
            absent: None,
        }
    }

    fn set(&mut self, subjects: Option<Spread>, ratios: Option<Spread>) {
        self.median = subjects.map(|spread| spread.median);
        self.min = subjects.map(|spread| spread.min);
        self.max = subjects.map(|spread| spread.max);
        self.ratio = ratios.map(|spread| spread.median);
        self.ratio_min = ratios.map(|spread| spread.min);
        self.ratio_max = ratios.map(|spread| spread.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Config {
        pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    }

    #[test]
    fn ratio_is_taken_within_each_alternation() {
        // The machine is twice as slow in the second alternation: the ratio does not see it.
        let row = Row::measured("w", "ours", "theirs", "ns", &[(10.0, 20.0), (20.0, 40.0)]);
        assert_eq!((row.ratio, row.ratio_min, row.ratio_max), (Some(0.5), Some(0.5), Some(0.5)));
        assert_eq!((row.median, row.min, row.max), (Some(15.0), Some(10.0), Some(20.0)));
        assert_eq!(row.peer_spread(), Some(Spread { median: 30.0, min: 20.0, max: 40.0 }));
        assert_eq!(row.absent, None);
    }

    #[test]
    fn peer_of_zero_has_no_ratio_and_is_marked() {
        let row = Row::measured("w", "ours", "theirs", "ns", &[(10.0, 0.0)]);
        assert_eq!((row.ratio, row.median), (None, Some(10.0)));
        assert!(row.absent.is_some());
    }

    #[test]
    fn no_alternation_is_marked_and_never_zero() {
        let row = Row::measured("w", "ours", "theirs", "ns", &[]);
        assert_eq!((row.median, row.ratio), (None, None));
        assert!(row.absent.is_some());
    }

    #[test]
    fn absent_says_why_and_has_no_figure() {
        let row = Row::absent("w", "ours", "wrk", "req/s", "wrk is missing (package wrk)");
        assert_eq!(row.spread().or(row.ratio_spread()), None);
        assert_eq!(row.absent.as_deref(), Some("wrk is missing (package wrk)"));
    }

    #[test]
    fn failed_is_absent_and_marked() {
        let row = Row::failed("w", "ours", "theirs", "ns", "the sum is wrong");
        assert_eq!((row.median, row.peer_spread()), (None, None));
        assert_eq!(row.absent.as_deref(), Some("failed: the sum is wrong"));
        assert_eq!(row.config[FAILED], "the sum is wrong");
    }

    #[test]
    fn alone_has_a_spread_and_no_peer() {
        let row = Row::alone("memory", "ours", "B", &[400.0, 410.0, 420.0]);
        assert_eq!((row.median, row.ratio, row.peer), (Some(410.0), None, None));
        assert_eq!(row.absent, None);
    }

    #[test]
    fn json_has_the_names_of_the_format_and_null_for_what_is_not_there() {
        let row =
            Row::absent("w", "ours", "theirs", "ns", "why").with(config(&[("kernel", "6.1")]));
        let json = serde_json::to_value(&row).unwrap();
        let fields = ["work", "subject", "peer", "unit", "median", "min", "max"];
        for field in fields.iter().chain(&["ratio", "ratio_min", "ratio_max", "config"]) {
            assert!(json.get(field).is_some(), "{field}");
        }
        assert!(json["median"].is_null() && json["config"]["kernel"] == "6.1");
        assert_eq!(serde_json::from_value::<Row>(json).unwrap(), row);
    }

    #[test]
    fn setting_replaces_an_earlier_one() {
        let row = Row::alone("w", "ours", "ns", &[1.0]).with(config(&[("a", "1"), ("b", "2")]));
        let row = row.with_setting("a", 3);
        assert_eq!(row.config, config(&[("a", "3"), ("b", "2")]));
    }
}
