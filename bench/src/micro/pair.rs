//! Two works in alternation: subject, peer, subject, peer, each for some milliseconds.
//!
//! What disturbs the machine for longer than a sample disturbs both of a pair, and leaves their ratio.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::busy::{self, Watch};
use crate::clock::{Clock, Stopwatch};
use crate::row::{Config, DISTURBED, Row, SMOKE};

/// Something that is done over and over.
pub trait Work {
    /// Does it some times, within `watch` only what is measured, and checks outside of it that it was
    /// done. Returns how often.
    ///
    /// # Errors
    /// When something else came out than the work is for.
    fn round(&mut self, watch: &mut Stopwatch) -> Result<u64>;
}

/// What is measured, and for how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Only works whose name holds this.
    pub filter: Option<String>,
    /// The smallest sizes alone.
    pub is_smoke: bool,
    /// How many samples of each.
    pub alternations: usize,
    /// The time of a sample.
    pub sample: Duration,
    /// What every row says.
    pub config: Config,
}

impl Plan {
    /// A whole measurement.
    pub fn full(filter: Option<String>, config: Config) -> Self {
        let sample = Duration::from_millis(10);
        Self { filter, is_smoke: false, alternations: 7, sample, config }
    }

    /// Everything once, for tests of the bench itself.
    pub fn smoke(filter: Option<String>, mut config: Config) -> Self {
        config.insert(SMOKE.into(), "shows that the bench works, and measures nothing".into());
        let sample = Duration::from_micros(200);
        Self { filter, is_smoke: true, alternations: 2, sample, config }
    }

    /// Whether the work is asked for.
    pub fn wants(&self, work: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| work.contains(filter.as_str()))
    }

    /// Those of `sizes` that are measured: the first alone where all has to be quick.
    pub fn sizes<'a, T>(&self, sizes: &'a [T]) -> &'a [T] {
        if self.is_smoke { &sizes[..sizes.len().min(1)] } else { sizes }
    }

    /// Measures two works beside each other, in nanoseconds. Where one of them did something else than
    /// it is for, the row says so and names it.
    pub fn pair(
        &self,
        work: &str,
        (name, subject): (&str, &mut dyn Work),
        (peer_name, peer): (&str, &mut dyn Work),
    ) -> Row {
        eprintln!("{work}: {name} beside {peer_name}");
        let taken =
            self.undisturbed(|| self.samples((name, &mut *subject), (peer_name, &mut *peer)));
        let (samples, disturbed) = match taken {
            Ok(taken) => taken,
            Err(error) => {
                let row = Row::failed(work, name, peer_name, "ns", &format!("{error:#}"));
                return row.with(self.config.clone());
            }
        };
        let row = Row::measured(work, name, peer_name, "ns", &samples).with(self.config.clone());
        let row = row.with_setting("alternations", self.alternations);
        match disturbed {
            Some(how) => row.with_setting(DISTURBED, how),
            None => row,
        }
    }

    /// What `take` finds, done again where others disturbed it, and what the rows have to say of them. A
    /// smoke run measures nothing that could be disturbed.
    ///
    /// # Errors
    /// Those of `take`.
    pub(crate) fn undisturbed<T>(
        &self,
        mut take: impl FnMut() -> Result<T>,
    ) -> Result<(T, Option<String>)> {
        busy::until_quiet(busy::REPEATS, || {
            let watch = (!self.is_smoke).then(Watch::begin);
            let taken = take()?;
            Ok((taken, watch.map_or(0.0, |watch| watch.others())))
        })
    }

    /// One alternation after the other, in nanoseconds.
    fn samples(
        &self,
        (name, subject): (&str, &mut dyn Work),
        (peer_name, peer): (&str, &mut dyn Work),
    ) -> Result<Vec<(f64, f64)>> {
        let mut samples = Vec::with_capacity(self.alternations);
        // The first of each warms caches and predictors, and counts for nothing.
        for alternation in 0..=self.alternations {
            let ours = self.sample(subject).with_context(|| name.to_string())?;
            let theirs = self.sample(peer).with_context(|| peer_name.to_string())?;
            if alternation > 0 {
                samples.push((ours, theirs));
            }
        }
        Ok(samples)
    }

    /// Nanoseconds of one operation.
    fn sample(&self, work: &mut dyn Work) -> Result<f64> {
        let (clock, mut watch) = (Clock::start(), Stopwatch::new());
        let mut done = 0;
        // What lies between the measured parts may take longer than they do, though not for ever.
        while done == 0
            || (u128::from(watch.nanos()) < self.sample.as_nanos()
                && clock.elapsed() < self.sample * PATIENCE)
        {
            done += work.round(&mut watch)?;
        }
        Ok(watch.nanos() as f64 / done as f64)
    }
}

/// How many times the length of a sample it may take to come by one.
const PATIENCE: u32 = 20;

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use anyhow::bail;

    use super::*;
    use crate::row::FAILED;

    struct Noted<'a>(&'static str, &'a RefCell<String>);

    impl Work for Noted<'_> {
        fn round(&mut self, watch: &mut Stopwatch) -> Result<u64> {
            self.1.borrow_mut().push_str(self.0);
            watch.time(|| std::hint::black_box((0..1_000).sum::<u64>()));
            Ok(1_000)
        }
    }

    struct Wrong;

    impl Work for Wrong {
        fn round(&mut self, _watch: &mut Stopwatch) -> Result<u64> {
            bail!("nothing came out")
        }
    }

    fn plan(filter: Option<&str>) -> Plan {
        let plan = Plan::smoke(filter.map(String::from), Config::new());
        Plan { sample: Duration::ZERO, ..plan }
    }

    #[test]
    fn samples_alternate_and_the_first_pair_warms_up() {
        let order = RefCell::default();
        let (mut a, mut b) = (Noted("a", &order), Noted("b", &order));
        let row = plan(None).pair("sum", ("a", &mut a), ("b", &mut b));
        assert_eq!(order.into_inner(), "ababab");
        assert_eq!(row.config["alternations"], "2");
        assert_eq!(row.name(), ["sum", "a", "b", "ns"]);
    }

    #[test]
    fn work_that_goes_wrong_is_named() {
        let order = RefCell::default();
        let row = plan(None).pair("sum", ("a", &mut Noted("a", &order)), ("b", &mut Wrong));
        assert_eq!(row.config[FAILED], "b: nothing came out");
        assert_eq!(row.median, None);
    }

    #[test]
    fn filter_is_a_part_of_the_name() {
        assert!(plan(Some("hit")).wants("flow lookup, hit") && plan(None).wants("anything"));
        assert!(!plan(Some("hit")).wants("flow lookup, miss"));
    }

    #[test]
    fn smoke_takes_the_first_size_alone() {
        assert_eq!(plan(None).sizes(&[1, 2, 3]), [1]);
        assert_eq!(Plan::full(None, Config::new()).sizes(&[1, 2, 3]), [1, 2, 3]);
    }
}
