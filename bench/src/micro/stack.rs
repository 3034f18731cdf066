//! The whole stack, from the bytes of frames that come in to those that go out: ours beside smoltcp.
//!
//! Owns the scenes. Both stacks hear the same frames from `peer`, at the same virtual time, and every
//! frame they answer with is parsed and its checksums verified outside of the measured parts.

pub mod count;
mod floor;
mod ours;
mod outbox;
mod peer;
mod scene;
mod smol;

use anyhow::Result;

use self::ours::Ours;
use self::outbox::Outbox;
use self::peer::Flow;
use self::scene::{Op, Scene, World};
use self::smol::Smol;
use super::pair::Plan;
use super::{OURS, count};
use crate::row::Row;

/// The rows of this file.
pub fn rows(plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for conns in plan.sizes(&CONNECTIONS) {
        let mut works = works(*conns);
        works.retain(|(work, _, _)| plan.wants(work));
        if works.is_empty() {
            continue;
        }
        eprintln!("stack: {} connections are opened", count(*conns));
        let (mut ours, mut theirs) = (World::<Ours>::new(*conns)?, World::<Smol>::new(*conns)?);
        for (work, op, batch) in works {
            // What one scene leaves behind, timers above all, is none of the next one's business.
            ours.settle()?;
            theirs.settle()?;
            let mut subject = Scene { world: &mut ours, op, batch };
            let mut peer = Scene { world: &mut theirs, op, batch };
            let row = plan.pair(&work, (OURS, &mut subject), (Smol::NAME, &mut peer));
            rows.push(with_settings(row, *conns));
        }
    }
    rows.extend(count::rows(plan)?);
    Ok(rows)
}

/// What is done to a stack with so many connections: the work's name, what it is, and how many frames
/// come at once.
fn works(conns: usize) -> Vec<(String, Op, usize)> {
    let at = match conns {
        1 => "1 connection".into(),
        _ => format!("{} connections uniform", count(conns)),
    };
    let ops = [Op::Data(1), Op::Data(64), Op::Data(1_448), Op::Ack, Op::Open];
    let each = |op: Op| {
        [1, 64].map(|batch| (format!("stack, {}, {at}, batch of {batch}", op.name()), op, batch))
    };
    ops.into_iter().flat_map(each).collect()
}

/// Work, subject and peer of every row of a full run but those of instructions.
#[cfg(test)]
pub(super) fn names() -> Vec<[String; 3]> {
    let works = CONNECTIONS.into_iter().flat_map(works);
    works.map(|(work, _, _)| [&work, OURS, Smol::NAME].map(String::from)).collect()
}

fn with_settings(row: Row, conns: usize) -> Row {
    row.with_setting("congestion control", "sluice cubic, smoltcp none")
        .with_setting("options", "MSS, window scale, SACK, timestamps")
        .with_setting("receive window", format!("{} KiB on both sides", window(conns) >> 10))
        .with_setting("acknowledgments", "at once: without delay on both sides")
        .with_setting("Nagle", "off on both sides")
        .with_setting("smoltcp's application", "is told which sockets have something")
}

/// The receive window in octets. A batch of 64 full segments for one connection has to fit.
const fn window(conns: usize) -> usize {
    if conns == 1 { 256 << 10 } else { 64 << 10 }
}

/// A stack that is given frames, and its application.
///
/// The application takes what arrives, answers a text that begins with [`REQUEST`] by [`REPLY`], and
/// closes when the peer does.
trait Stack: Sized {
    /// What rows call it.
    const NAME: &'static str;

    /// How many frames a round has with so many connections: fewer where each takes long. At least a
    /// batch, and at most [`scene::ROUND`].
    fn round(_conns: usize) -> usize {
        scene::ROUND
    }

    /// A stack with room for that many connections, which know none of them yet.
    fn new(conns: usize) -> Self;

    /// Opens a connection that stays.
    fn adopt(&mut self, flow: &mut Flow, now: u64) -> Result<()>;

    /// Makes ready for these flows, behind those that stay, to open once.
    fn expect(&mut self, flows: core::ops::Range<usize>);

    /// One turn of a worker: takes frames of these flows, and sends what is owed for them. Time is in
    /// nanoseconds.
    fn turn(&mut self, frames: &[&[u8]], flows: &[usize], now: u64);

    /// Now and then, outside of what is measured: the next hop stays known.
    fn refresh(&mut self, now: u64);

    /// Runs all timers that are due.
    fn settle(&mut self, now: u64);

    /// What was sent since it was last emptied.
    fn outbox(&mut self) -> &mut Outbox;

    /// How many connections are open.
    fn open(&self) -> usize;

    /// At least as many bytes as the application did not take of what came for these flows, or the
    /// peer did not acknowledge; zero only where there are none.
    fn held(&self, flows: &[usize]) -> usize;
}

/// How many connections there are.
const CONNECTIONS: [usize; 2] = [1, 100_000];
/// How a text begins that is answered.
const REQUEST: u8 = b'?';
/// The answer.
const REPLY: [u8; 64] = [b'.'; 64];
