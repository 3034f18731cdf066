//! Goodput over links that lose and delay frames: the cases, and what the relay between the ends does.
//!
//! Both ends meet the same relay, which runs wherever the kernel puts it; what it can carry at most is
//! a row of its own.

use std::time::Duration;

use anyhow::{Context, Result};
use relay::{Fate, Link, Way};

use super::bed::{Bed, Room, Subject};
use super::plan::{Case, Pace, case};
use super::rows;
use crate::busy::{self, Watch};
use crate::clock::{now, pause};
use crate::load;
use crate::machine;
use crate::rng::Rng;
use crate::row::{DISTURBED, Row, SMOKE};
use crate::topology::{Between, CLIENT_END, Namespace};

/// What frames pass, each way alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// How many of 1,000 frames are lost.
    loss: u64,
    /// How long each takes, in milliseconds.
    delay: u64,
}

impl Path {
    pub(super) fn link(self) -> Link {
        Link { delay: Duration::from_millis(self.delay), ..Link::default() }
    }

    /// Says of each frame what becomes of it: the same of the same sequence of frames.
    pub(super) fn losses(self, seed: u64) -> impl FnMut(Way, &[u8]) -> Fate + Send + 'static {
        let mut rngs = [Rng::new(2 * seed), Rng::new(2 * seed + 1)];
        move |way, _| {
            let rng = &mut rngs[usize::from(way == Way::ToClient)];
            if rng.below(1_000) < self.loss { Fate::Drop } else { Fate::Carry }
        }
    }

    /// As the rows say it.
    pub(super) fn describe(self) -> String {
        let (loss, queue) = (self.loss as f64 / 10.0, self.link().queue >> 20);
        let end = "congestion control by socket option, tcp_no_metrics_save=1";
        format!(
            "relay in user space, {loss} % lost and {} ms each way, {queue} MiB wait; {end}",
            self.delay
        )
    }
}

/// All of them, with Sluice as sender and as receiver.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for delay in DELAYS {
        for loss in LOSSES {
            for (name, work) in [("send", load::Work::Receive), ("receive", load::Work::Send)] {
                let percent = loss as f64 / 10.0;
                let name = format!("{WORK}, {percent} % lost, {delay} ms each way, {name}");
                cases.push(Case { path: Some(Path { loss, delay }), ..case(name, work, 1) });
            }
        }
    }
    cases
}

/// What the relay carries at most: frames of full length, as many as come, one way.
pub(super) fn ceiling(room: &Room, pace: Pace) -> Result<Row> {
    let mut bed = Bed::make(Subject::Kernel, 1_500, Between::Room)?;
    bed.lead(Path { loss: 0, delay: 0 }, 0)?;
    let time = Duration::from_secs_f64(pace.seconds / 4.0);
    let (samples, disturbed) = busy::until_quiet(pace.repeats, || {
        let watch = Watch::begin();
        let one = |_| room.stop.check().and_then(|()| flood(&bed, time));
        let samples = (0..pace.alternations).map(one).collect::<Result<Vec<f64>>>()?;
        Ok((samples, watch.others()))
    })?;
    let row = Row::alone(CEILING, "relay", "frame/s", &samples).with(machine::config());
    let row = row.with(rows::wire(Some("packet sockets of the relay")));
    let row = row.with_setting("congestion control", "none: frames of no connection");
    let row = row
        .with_setting("frames", format!("{FRAME} B, one way"))
        .with_setting("samples", format!("{} of {time:?}", pace.alternations));
    let row = if pace.is_smoke() { row.with_setting(SMOKE, "short samples") } else { row };
    Ok(match disturbed {
        Some(how) => row.with_setting(DISTURBED, how),
        None => row,
    })
}

/// Sends without pause from the client's end; how many frames a second the relay sent on.
fn flood(bed: &Bed, time: Duration) -> Result<f64> {
    let client: &Namespace = &bed.topology.client;
    let socket = client.inside(|| Ok(::relay::PacketSocket::open(CLIENT_END)?))?;
    let mut frame = vec![0xff; FRAME];
    // For local experiments: no kernel has a protocol of this number.
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    let carried = bed.relay.as_ref().context("the relay runs")?.carried();
    let sent_on = || {
        use std::sync::atomic::Ordering::Relaxed;
        let lost = carried.overflown.load(Relaxed) + carried.refused.load(Relaxed);
        carried.frames.load(Relaxed).saturating_sub(lost)
    };
    let (begin, before) = (now(), sent_on());
    while now() < begin + time {
        for _ in 0..64 {
            // Refused where the queue is full: that is what is wanted.
            socket.send(&frame);
        }
    }
    let rate = (sent_on() - before) as f64 / (now() - begin).as_secs_f64();
    // What waits is not part of the next sample.
    pause(Duration::from_millis(200));
    Ok(rate)
}

/// What the names of the cases begin with.
const WORK: &str = "goodput";
/// The name of the row of the relay itself.
pub(super) const CEILING: &str = "goodput, the relay alone";
/// Frames of 1,000 that are lost.
const LOSSES: [u64; 4] = [0, 1, 10, 50];
/// Milliseconds that each takes.
const DELAYS: [u64; 3] = [0, 10, 50];
/// Bytes of a full frame.
const FRAME: usize = 1_514;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_as_many_as_said_and_the_same_with_one_seed() {
        let lost = |seed| {
            let mut fate = Path { loss: 10, delay: 0 }.losses(seed);
            let fates = (0..100_000).map(move |_| fate(Way::ToServer, &[]));
            fates.map(|fate| fate == Fate::Drop).collect::<Vec<_>>()
        };
        assert_eq!(lost(5), lost(5));
        assert_ne!(lost(5), lost(6));
        let count = lost(5).iter().filter(|is_lost| **is_lost).count();
        assert!((900..1_100).contains(&count), "{count}");
    }

    #[test]
    fn link_without_loss_carries_everything() {
        let mut fate = Path { loss: 0, delay: 0 }.losses(1);
        assert!((0..10_000).all(|_| fate(Way::ToClient, &[]) == Fate::Carry));
    }

    #[test]
    fn every_cell_is_measured_both_ways() {
        assert_eq!(cases().len(), 2 * LOSSES.len() * DELAYS.len());
    }
}
