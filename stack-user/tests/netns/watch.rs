//! What a test wants done to the segments of one port as they pass the relay, and what it saw.
//!
//! Owns the record of segments, which is bounded.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::process::wait_until;
use crate::segment::Segment;
use crate::topology::{Middle, Options, PATIENCE, Topology};
use relay::{Fate, Link, Relay, Way};

/// Two namespaces with a relay that carries everything at once.
pub(crate) fn relayed() -> Topology {
    let middle = Middle { relay: Some(Link::default()), ..Middle::default() };
    Topology::with(&Options { middle, ..Options::default() })
}

/// The segments of one port, as they came to the relay.
#[derive(Clone)]
pub(crate) struct Seen(Arc<Mutex<Vec<(Way, Segment)>>>);

impl Seen {
    /// Carries everything and remembers the segments of `port`.
    pub(crate) fn on(relay: &Relay, port: u16) -> Self {
        Self::with(relay, port, |_, _| Fate::Carry)
    }

    /// Remembers the segments of `port`, and does to them as `fate` says.
    pub(crate) fn with(
        relay: &Relay,
        port: u16,
        mut fate: impl FnMut(Way, &Segment) -> Fate + Send + 'static,
    ) -> Self {
        let seen = Self(Arc::default());
        let record = seen.clone();
        relay.filter(move |way, frame| {
            let Some(segment) = Segment::of(frame).filter(|segment| segment.is_of(port)) else {
                return Fate::Carry;
            };
            let fate = fate(way, &segment);
            let mut record = record.0.lock().unwrap();
            if record.len() < MOST {
                record.push((way, segment));
            }
            fate
        });
        seen
    }

    /// Those that went `way` and satisfy `wanted`.
    pub(crate) fn all(&self, way: Way, wanted: impl Fn(&Segment) -> bool) -> Vec<Segment> {
        let seen = self.0.lock().unwrap();
        let wanted = seen.iter().filter(|(its, segment)| *its == way && wanted(segment));
        wanted.map(|(_, segment)| segment.clone()).collect()
    }

    /// The first that is as `begin` says, and all that came after it.
    pub(crate) fn since(
        &self,
        begin: impl Fn(Way, &Segment) -> bool,
    ) -> impl Iterator<Item = (Way, Segment)> {
        let seen = self.0.lock().unwrap().clone();
        seen.into_iter().skip_while(move |(way, segment)| !begin(*way, segment))
    }

    /// Waits until `count` went `way` that satisfy `wanted`; gives them.
    pub(crate) fn wait(
        &self,
        what: &str,
        (way, count): (Way, usize),
        wanted: impl Fn(&Segment) -> bool,
    ) -> Vec<Segment> {
        wait_until(what, PATIENCE, || self.all(way, &wanted).len() >= count);
        self.all(way, wanted)
    }

    /// Whether any segment either way satisfies `wanted`.
    pub(crate) fn any(&self, wanted: impl Fn(&Segment) -> bool) -> bool {
        self.0.lock().unwrap().iter().any(|(_, segment)| wanted(segment))
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(seen) = self.0.lock()
        {
            eprintln!("the last segments that the relay saw:");
            let skipped = seen.len().saturating_sub(SHOWN);
            for (way, segment) in &seen[skipped..] {
                eprintln!("{way:?} {segment}");
            }
        }
    }
}

/// Drops the first `count` segments that go `way` and satisfy `wanted`.
pub(crate) fn drop_first(
    count: usize,
    way: Way,
    wanted: impl Fn(&Segment) -> bool + Send + 'static,
) -> impl FnMut(Way, &Segment) -> Fate + Send + 'static {
    let left = AtomicUsize::new(count);
    move |its, segment| {
        let is_one = its == way && wanted(segment);
        let takes = |left: usize| left.checked_sub(1);
        match is_one && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, takes).is_ok() {
            true => Fate::Drop,
            false => Fate::Carry,
        }
    }
}

/// The most segments that are remembered.
const MOST: usize = 100_000;
/// How many are shown when a test fails.
const SHOWN: usize = 40;
