//! SYN floods: servers answer a flood from forged sources, while clients of the kernel connect, exchange
//! 1 KiB and close.
//!
//! Owns the cases and the course of each; what a sample is stands in `sample`, who is flooded in `ground`.
//! The flood is the generator's, the clients are `load::visits`; both are bounded in time and end by
//! themselves. Nothing leaves the namespaces.

mod cost;
mod ground;
mod rows;
mod sample;
mod soak;

use std::time::Duration;

use anyhow::{Context, Result};

use super::bed::Room;
use super::plan::Pace;
use crate::load::visits;
use crate::row::Row;
use crate::topology::Family;
use cost::Costs;
use ground::{Ground, Side};
use sample::{Rate, Sample};
use soak::Soak;

/// A flood of one rate, against each of the sides in turn, or a long one of a single side.
#[derive(Clone, Debug)]
pub(super) struct Flood {
    /// As the rows call the work.
    name: String,
    course: Course,
    /// Of all addresses.
    family: Family,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// So many SYNs in a second for all.
    Fixed(u64),
    /// For each the highest rate at which its interface drops less than [`LOSS`].
    Highest,
    /// As many as go.
    FlatOut,
    /// The same without clients, from the server's own CPU: generator, server and counter take turns, so
    /// that no frame waits and none is lost, and all that is done is done in the time of one CPU.
    OneCore,
    /// Memory before and after very many.
    Soak,
}

/// The floods whose name contains `filter`; without one all, or the one that shows that the instrument
/// works.
pub(super) fn cases(is_smoke: bool, filter: Option<&str>, family: Family) -> Vec<Flood> {
    let all = [
        (format!("{} k/s", FIXED / 1_000), Course::Fixed(FIXED)),
        ("highest rate".into(), Course::Highest),
        ("flat out".into(), Course::FlatOut),
        ("one core".into(), Course::OneCore),
        (format!("{} M SYNs", soak::SYNS / 1_000_000), Course::Soak),
    ];
    let begin = match family {
        Family::V4 => NAME,
        Family::V6 => NAME_V6,
    };
    let floods = all.into_iter().map(|(what, course)| {
        let name = format!("{begin}, {what}");
        Flood { name, course, family }
    });
    let is_wanted = |flood: &Flood| match filter {
        Some(part) => flood.name.contains(part),
        None => !is_smoke || matches!(flood.course, Course::Fixed(_)),
    };
    floods.filter(is_wanted).collect()
}

/// Work, subject and peer of every row that a full run makes.
#[cfg(test)]
pub(super) fn names() -> Vec<[String; 3]> {
    let of = |flood: &Flood| match flood.course {
        Course::Soak => soak::names(&flood.name),
        _ => rows::names(flood),
    };
    let families = [Family::V4, Family::V6];
    families
        .into_iter()
        .flat_map(|family| cases(false, None, family))
        .flat_map(|flood| of(&flood))
        .collect()
}

/// The rows of a flood.
///
/// # Errors
/// Where a server or the generator does not work, and on Ctrl-C.
pub(super) fn rows(room: &Room, flood: &Flood, pace: Pace) -> Result<Vec<Row>> {
    if flood.course == Course::Soak {
        return soak::rows(room, &Soak::of(flood, pace));
    }
    let mut missing = Vec::new();
    let mut run = Run { room, flood, grounds: Vec::new(), pace };
    for side in Side::ALL {
        match Ground::make(room, side, flood.family) {
            Ok(ground) => run.grounds.push(ground),
            // Not every kernel has what it needs.
            Err(error) if side == Side::Guard => {
                room.stop.check()?;
                eprintln!("  {} is left out: {error:#}", side.name());
                missing = rows::absent(flood, side, &format!("{error:#}"));
            }
            Err(error) => return Err(error),
        }
    }
    let (series, costs) = run.take()?;
    let rows = rows::of(room, &run.grounds, flood, (&series, &costs));
    Ok(rows.into_iter().chain(missing).collect())
}

/// All samples of a flood: by alternation, then by side.
struct Series {
    rounds: Vec<Vec<Sample>>,
    pace: Pace,
    alternations: usize,
    /// Alternations that were disturbed and done again.
    repeated: usize,
}

impl Flood {
    /// Seconds that it takes, about.
    pub(super) fn estimate(&self, pace: Pace) -> f64 {
        let sample = pace.seconds + 2.0 * AROUND.as_secs_f64() + 1.0;
        // Those whose clients fail are waited for.
        let waits = 2.0 * visits::PATIENCE.as_secs_f64();
        // Nobody is flooded at each of their rates.
        let round = Side::ALL.len() as f64 * (sample + 2.0) + waits;
        match self.course {
            Course::Soak => soak::estimate(pace),
            Course::Highest => self.alternations(pace) as f64 * round + SEARCH,
            Course::OneCore => self.alternations(pace) as f64 * (round - waits),
            _ => self.alternations(pace) as f64 * round,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where the generator runs. With clients it is not the server's CPU: it would hold them up.
    fn cpu(&self, room: &Room) -> usize {
        if self.course == Course::OneCore { room.places.server } else { room.places.client }
    }

    fn alternations(&self, pace: Pace) -> usize {
        if pace.is_smoke() { 1 } else { pace.alternations.min(MOST) }
    }
}

/// A flood under way.
struct Run<'a> {
    room: &'a Room,
    flood: &'a Flood,
    grounds: Vec<Ground>,
    pace: Pace,
}

impl Run<'_> {
    fn take(&mut self) -> Result<(Series, Costs)> {
        let mut rates = self.rates()?;
        let mut nobody = Ground::make(self.room, Side::Drop, self.flood.family)?;
        let mut costs = Costs::on(self.flood.cpu(self.room));
        let alternations = self.flood.alternations(self.pace);
        let mut series = Series { rounds: Vec::new(), pace: self.pace, alternations, repeated: 0 };
        while series.rounds.len() < alternations {
            let mut round = Vec::new();
            for (ground, rate) in self.grounds.iter_mut().zip(&mut rates) {
                let name = ground.side.name();
                let sample = match self.flood.course {
                    Course::OneCore => {
                        let time = Duration::from_secs_f64(self.pace.seconds);
                        ground.probe(self.room, (*rate, self.flood.cpu(self.room)), time)
                    }
                    course => sample(self.room, (ground, course), rate, self.pace),
                };
                round.push(sample.with_context(|| format!("{} with {name}", self.flood.name))?);
            }
            for (ground, sample) in self.grounds.iter().zip(&round) {
                eprintln!("  {}", rows::line(ground.side.name(), sample));
            }
            // Close to the samples in time: what a frame takes depends on what else the machine does.
            let rates: Vec<Rate> = round.iter().map(|sample| sample.rate).collect();
            costs.look(self.room, &mut nobody, &rates)?;
            if rows::disturbance(&round) > rows::QUIET && series.repeated < self.pace.repeats {
                series.repeated += 1;
                continue;
            }
            series.rounds.push(round);
        }
        Ok((series, costs))
    }

    /// How fast each side is flooded.
    fn rates(&mut self) -> Result<Vec<Rate>> {
        match self.flood.course {
            Course::Fixed(rate) => Ok(vec![Rate::Paced(rate); self.grounds.len()]),
            Course::FlatOut | Course::OneCore | Course::Soak => {
                Ok(vec![Rate::FlatOut; self.grounds.len()])
            }
            Course::Highest => self.grounds.iter_mut().map(|g| highest(self.room, g)).collect(),
        }
    }
}

/// One sample. Where the highest rate is sought and the interface drops more than it may, twice in turn,
/// the rate is lowered and the sample taken again.
fn sample(
    room: &Room,
    (ground, course): (&mut Ground, Course),
    rate: &mut Rate,
    pace: Pace,
) -> Result<Sample> {
    let mut tries = 0;
    loop {
        let sample = ground.sample(room, *rate, pace)?;
        let (Course::Highest, Some(less)) = (course, lower(*rate)) else { return Ok(sample) };
        if sample.lost() < LOSS {
            return Ok(sample);
        }
        tries += 1;
        eprintln!(
            "  {}: the interface drops {:.2} % at {} SYN/s",
            ground.side.name(),
            sample.lost() * 100.0,
            rate.asked(),
        );
        if tries == TRIES {
            eprintln!("  {}: {less:?} from now on", ground.side.name());
            (*rate, tries) = (less, 0);
        }
    }
}

/// The highest rate of [`LADDER`] at which the interface drops less than [`LOSS`], or the lowest. Clients
/// come meanwhile: without them a server answers on the CPU of the generator, which then waits for it.
fn highest(room: &Room, ground: &mut Ground) -> Result<Rate> {
    let (mut good, mut bad) = (0, LADDER.len());
    while bad - good > 1 {
        let middle = usize::midpoint(good, bad);
        match is_taken(room, ground, LADDER[middle])? {
            true => good = middle,
            false => bad = middle,
        }
    }
    eprintln!("  {}: {} SYN/s at most", ground.side.name(), LADDER[good]);
    Ok(Rate::Paced(LADDER[good]))
}

/// Whether the interface takes so many frames in a second. A CPU that something else had for a millisecond
/// is no reason to go without all higher rates: a rate is refused after [`TRIES`].
fn is_taken(room: &Room, ground: &mut Ground, rate: u64) -> Result<bool> {
    for _ in 0..TRIES {
        let sample = ground.visited(room, Rate::Paced(rate), PROBE)?;
        // A generator that was held up by what it has sent says nothing of this rate.
        let is_reached = sample.flood.rate() >= 0.9 * rate as f64;
        if sample.lost() < LOSS && is_reached {
            return Ok(true);
        }
        eprintln!(
            "  {}: {:.3} % dropped of {:.0} SYN/s at {rate}",
            ground.side.name(),
            sample.lost() * 100.0,
            sample.flood.rate(),
        );
    }
    Ok(false)
}

/// The next rate below.
fn lower(rate: Rate) -> Option<Rate> {
    LADDER.into_iter().rfind(|less| *less < rate.asked()).map(Rate::Paced)
}

/// Clients that come in a second.
const VISITS: u32 = 200;
/// Where the flood claims to come from: addresses set apart for measurements (RFC 2544, RFC 5180).
fn sources(family: Family) -> &'static str {
    match family {
        Family::V4 => "198.18.0.0/15",
        Family::V6 => "2001:2::/96",
    }
}

/// What all works begin with.
const NAME: &str = "syn flood";
const NAME_V6: &str = "syn flood over IPv6";
/// SYNs in a second that the kernel can answer too.
const FIXED: u64 = 100_000;
/// The most alternations: each has thousands of clients and millions of SYNs.
const MOST: usize = 3;
/// The share of frames that an interface may drop at the highest rate.
const LOSS: f64 = 0.001;
/// Where the highest rate is sought: steps of a ninth to an eighth.
const LADDER: [u64; 31] = [
    100_000, 125_000, 140_000, 160_000, 180_000, 200_000, 225_000, 250_000, 280_000, 315_000,
    355_000, 400_000, 450_000, 500_000, 560_000, 630_000, 710_000, 800_000, 900_000, 1_000_000,
    1_120_000, 1_250_000, 1_400_000, 1_600_000, 1_800_000, 2_000_000, 2_250_000, 2_500_000,
    2_800_000, 3_150_000, 3_550_000,
];
/// How long a look for the highest rate floods.
const PROBE: Duration = Duration::from_millis(1_500);
/// Seconds of the search for all sides, about.
const SEARCH: f64 = 110.0;
/// How often a rate is tried.
const TRIES: u32 = 2;
/// The time of the flood before the clients come, and about that after them.
const AROUND: Duration = Duration::from_millis(300);
/// Time for a program to begin or to end.
const PATIENCE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoke_is_one_flood_and_a_filter_names_others() {
        let count = |is_smoke, filter| cases(is_smoke, filter, Family::V4).len();
        assert_eq!((count(true, None), count(false, None)), (1, 5));
        assert_eq!((count(true, Some("highest")), count(false, Some("connect"))), (1, 0));
        assert_eq!(count(false, Some("syn flood")), 5);
    }

    #[test]
    fn floods_of_both_families_are_alike_and_have_names_of_their_own() {
        let [v4, v6] = [Family::V4, Family::V6].map(|family| cases(false, None, family));
        for (v4, v6) in v4.iter().zip(&v6) {
            assert_eq!(v4.course, v6.course);
            assert_eq!(v6.name, v4.name.replacen(NAME, NAME_V6, 1));
        }
        assert!(v6.iter().any(|flood| flood.name == "syn flood over IPv6, flat out"));
        for family in [Family::V4, Family::V6] {
            let prefix: crate::generator::Prefix = sources(family).parse().unwrap();
            assert_eq!(prefix.address.is_ipv4(), Ground::address(family).is_ipv4());
        }
    }

    #[test]
    fn ladder_rises_and_ends_below() {
        assert!(LADDER.is_sorted_by(|a, b| a < b));
        assert_eq!(lower(Rate::Paced(200_000)), Some(Rate::Paced(180_000)));
        assert_eq!(lower(Rate::Paced(LADDER[0])), None);
    }
}
