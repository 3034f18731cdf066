//! What is done to a stack, and the checks that it was done.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use sluice::wire::tcp::Flags;

use super::peer::{self, Flow, Heard};
use super::{REPLY, REQUEST, Stack};
use crate::clock::Stopwatch;
use crate::micro::pair::Work;
use crate::rng::Rng;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// A segment of so many bytes comes in order, an acknowledgment goes out.
    Data(usize),
    /// The acknowledgment of a segment comes, nothing goes out.
    Ack,
    /// SYN, SYN-ACK, ACK, FIN, FIN-ACK, ACK: three frames in, two out, and one more in.
    Open,
}

impl Op {
    /// As the names of works have it.
    pub fn name(self) -> String {
        match self {
            Self::Data(len) => format!("data of {len} B in and ACK out"),
            Self::Ack => "ACK in".into(),
            Self::Open => "handshake and close".into(),
        }
    }
}

/// A stack, its peers, and the time.
pub struct World<S> {
    stack: S,
    /// First those whose connections stay, then those that come and go.
    flows: Vec<Flow>,
    /// How many stay.
    conns: usize,
    /// In nanoseconds; each frame takes [`FRAME_TIME`].
    now: u64,
    refreshed: u64,
    /// When ACKs were last measured.
    acked: u64,
    rng: Rng,
}

impl<S: Stack> World<S> {
    /// A stack with that many open connections.
    ///
    /// # Errors
    /// When they do not open.
    pub fn new(conns: usize) -> Result<Self> {
        let mut flows: Vec<Flow> = (0..conns + BATCH).map(Flow::new).collect();
        let (mut stack, mut now) = (S::new(conns), START);
        for flow in &mut flows[..conns] {
            now += FRAME_TIME;
            stack.adopt(flow, now).with_context(|| S::NAME)?;
        }
        let open = stack.open();
        ensure!(open == conns, "{}: {open} of {conns} connections are open", S::NAME);
        let rng = Rng::new(1);
        let mut world = Self { stack, flows, conns, now, refreshed: now, acked: 0, rng };
        if conns == 1 {
            // A SYN-ACK cannot say more than 64 KiB of window; the ACKs after it can.
            world.data(1, 1, &mut Stopwatch::new())?;
        }
        Ok(world)
    }

    /// Lets time pass until nothing is left to do.
    ///
    /// # Errors
    /// When something is sent.
    pub fn settle(&mut self) -> Result<()> {
        self.now += REST;
        self.stack.settle(self.now);
        self.refresh()?;
        ensure!(self.hear()?.is_empty(), "{}: something is sent though nothing is owed", S::NAME);
        Ok(())
    }

    /// Flows for a round, each open one as likely as any other.
    fn draw(&mut self, len: usize) -> Vec<usize> {
        (0..len).map(|_| self.rng.below(self.conns as u64) as usize).collect()
    }

    /// Gives the stack frames in batches, within `watch`.
    fn feed(
        &mut self,
        (frames, flows): (&[Vec<u8>], &[usize]),
        batch: usize,
        watch: &mut Stopwatch,
    ) {
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let Self { stack, now, .. } = self;
        watch.time(|| turns(stack, (&frames, flows), batch, now));
    }

    /// What the stack has sent, taken in by its peers.
    fn hear(&mut self) -> Result<Vec<Heard>> {
        let Self { stack, flows, .. } = self;
        let heard = stack.outbox().frames().map(|frame| peer::hear(flows, frame));
        let heard = heard.collect();
        stack.outbox().clear();
        heard
    }

    /// Before a round: what happens once in a while happens now.
    fn refresh(&mut self) -> Result<()> {
        if self.now - self.refreshed > REFRESH {
            self.refreshed = self.now;
            self.stack.refresh(self.now);
            ensure!(self.hear()?.is_empty(), "something was sent unasked");
        }
        Ok(())
    }

    fn data(&mut self, len: usize, batch: usize, watch: &mut Stopwatch) -> Result<u64> {
        let chosen = self.draw(S::round(self.conns));
        let text = vec![b'a'; len];
        let mut frames = Vec::with_capacity(chosen.len());
        let mut wanted = Vec::with_capacity(chosen.len());
        for flow in &chosen {
            frames.push(self.flows[*flow].say(Flags::ACK, &text, self.now));
            wanted.push((*flow, self.flows[*flow].nxt));
        }
        self.feed((&frames, &chosen), batch, watch);
        let heard = self.hear()?;
        ensure!(heard.iter().all(|heard| heard.flags == Flags::ACK && heard.len == 0), "not ACKs");
        // A flow is acknowledged once in a batch, up to its last segment.
        let mut acks: Vec<(usize, u32)> =
            heard.iter().map(|heard| (heard.flow, heard.ack)).collect();
        for batch in wanted.chunks(batch) {
            let mut last: Vec<(usize, u32)> = Vec::new();
            for (flow, nxt) in batch {
                match last.iter_mut().find(|(other, _)| other == flow) {
                    Some((_, last)) => *last = *nxt,
                    None => last.push((*flow, *nxt)),
                }
            }
            ensure!(
                acks.len() >= last.len(),
                "{} ACKs came, {} are missing",
                heard.len(),
                last.len()
            );
            let mut batch: Vec<(usize, u32)> = acks.drain(..last.len()).collect();
            batch.sort_unstable();
            last.sort_unstable();
            ensure!(batch == last, "ACKs {batch:?} and not {last:?}");
        }
        ensure!(acks.is_empty(), "{} ACKs more than asked for", acks.len());
        ensure!(self.stack.held(&chosen) == 0, "text was not taken");
        Ok(chosen.len() as u64)
    }

    fn ack(&mut self, batch: usize, watch: &mut Stopwatch) -> Result<u64> {
        if self.conns > 1 {
            return self.acknowledge(S::round(self.conns), batch, watch);
        }
        // The congestion window of one connection lets that many segments out only after some rounds,
        // and falls back while nothing is sent.
        if self.now > self.acked + IDLE {
            let ramp = std::iter::successors(Some(FIRST_FLIGHT), |len| Some(2 * len));
            for len in ramp.take_while(|len| *len < IN_FLIGHT) {
                self.acknowledge(len, 1, &mut Stopwatch::new())?;
            }
        }
        let done = self.acknowledge(IN_FLIGHT, batch, watch)?;
        self.acked = self.now;
        Ok(done)
    }

    fn acknowledge(&mut self, len: usize, batch: usize, watch: &mut Stopwatch) -> Result<u64> {
        let chosen = self.draw(len);
        // Each asks for something to acknowledge, and does not acknowledge it yet.
        let mut unheard = HashMap::new();
        let mut acks = Vec::with_capacity(len);
        for flow in &chosen {
            let asking = &mut self.flows[*flow];
            let ack = *unheard.entry(*flow).or_insert(asking.ack);
            let request = asking.say_with((Flags::ACK, ack), &[REQUEST], self.now);
            self.now += FRAME_TIME;
            self.stack.turn(&[&request], &[*flow], self.now);
            let heard = self.hear()?;
            let is_reply =
                heard.len() == 1 && heard[0].flow == *flow && heard[0].len == REPLY.len();
            ensure!(is_reply, "a request was answered by {heard:?}");
            acks.push(self.flows[*flow].ack);
        }
        let asking: Vec<usize> = unheard.into_keys().collect();
        let held = self.stack.held(&asking);
        ensure!(held >= len * REPLY.len(), "{held} B wait for their ACK");
        let frame = |(flow, ack): (&usize, &u32)| self.flows[*flow].acknowledge(*ack, self.now);
        let frames: Vec<Vec<u8>> = chosen.iter().zip(&acks).map(frame).collect();
        self.feed((&frames, &chosen), batch, watch);
        let heard = self.hear()?;
        ensure!(heard.is_empty(), "ACKs were answered by {heard:?}");
        ensure!(self.stack.held(&asking) == 0, "text is still held after its ACK");
        Ok(len as u64)
    }

    fn open(&mut self, batch: usize, watch: &mut Stopwatch) -> Result<u64> {
        let flows = self.conns..self.conns + batch;
        self.stack.expect(flows.clone());
        let chosen: Vec<usize> = flows.collect();
        self.flows[self.conns..].iter_mut().for_each(Flow::renew);
        let (fin, syn) = (Flags::FIN.union(Flags::ACK), Flags::SYN.union(Flags::ACK));
        // What the peers say, and what the stack answers to it.
        let steps =
            [(Flags::SYN, Some(syn)), (Flags::ACK, None), (fin, Some(fin)), (Flags::ACK, None)];
        for (says, answer) in steps {
            let now = self.now;
            let frames: Vec<Vec<u8>> =
                chosen.iter().map(|flow| self.flows[*flow].say(says, &[], now)).collect();
            self.feed((&frames, &chosen), batch, watch);
            let heard = self.hear()?;
            let wanted = if answer.is_some() { batch } else { 0 };
            ensure!(heard.len() == wanted, "{says:?} was answered by {heard:?}");
            ensure!(heard.iter().all(|heard| Some(heard.flags) == answer), "{heard:?}");
            let is_heard = |flow: &usize| self.flows[*flow].una == self.flows[*flow].nxt;
            ensure!(answer.is_none() || chosen.iter().all(is_heard), "not all was acknowledged");
        }
        let open = self.stack.open();
        ensure!(open == self.conns, "{open} connections are open, and not {}", self.conns);
        Ok(batch as u64)
    }
}

/// What is measured, and all of it: a turn for each batch. It has a symbol of its own, by which
/// callgrind counts its instructions and no others.
#[inline(never)]
fn turns<S: Stack>(
    stack: &mut S,
    (frames, flows): (&[&[u8]], &[usize]),
    batch: usize,
    now: &mut u64,
) {
    for (frames, flows) in frames.chunks(batch).zip(flows.chunks(batch)) {
        *now += FRAME_TIME * frames.len() as u64;
        stack.turn(frames, flows, *now);
    }
}

/// How callgrind finds [`turns`].
pub const MEASURED: &str = "*scene::turns*";

/// One operation on a stack.
pub struct Scene<'a, S> {
    pub world: &'a mut World<S>,
    pub op: Op,
    pub batch: usize,
}

impl<S: Stack> Work for Scene<'_, S> {
    fn round(&mut self, watch: &mut Stopwatch) -> Result<u64> {
        let world = &mut *self.world;
        world.refresh()?;
        match self.op {
            Op::Data(len) => world.data(len, self.batch, watch),
            Op::Ack => world.ack(self.batch, watch),
            Op::Open => world.open(self.batch, watch),
        }
    }
}

/// A flow that is not in a world yet takes the stack's SYN-ACK in.
///
/// # Errors
/// When it is none.
pub fn learn(flow: &mut Flow, frame: &[u8]) -> Result<()> {
    let heard = peer::hear_alone(flow, frame)?;
    ensure!(heard.flags == Flags::SYN.union(Flags::ACK), "a SYN was answered by {heard:?}");
    Ok(())
}

/// How many frames a round has at most.
pub const ROUND: usize = 512;
/// The most frames of a batch.
pub const BATCH: usize = 64;
/// Replies in flight of one connection: within the first congestion window, and after it has grown.
const FIRST_FLIGHT: usize = 8;
const IN_FLIGHT: usize = 128;
/// For how long nothing may be sent before the window is opened anew, in nanoseconds.
const IDLE: u64 = 1_000_000;
/// How far a frame takes the virtual time: a million of them in a second.
const FRAME_TIME: u64 = 1_000;
/// When the virtual time begins, and how often the next hop is refreshed.
const START: u64 = 1_000_000_000_000;
const REFRESH: u64 = 5_000_000_000;
/// How long the stack rests between two scenes: longer than any timer of an idle connection.
const REST: u64 = 10_000_000_000;

#[cfg(test)]
mod tests {
    use super::super::ours::Ours;
    use super::super::smol::Smol;
    use super::*;

    fn works<S: Stack>(conns: usize) {
        let mut world = World::<S>::new(conns).unwrap();
        let mut watch = Stopwatch::new();
        for op in [Op::Data(1), Op::Data(1_448), Op::Ack, Op::Open, Op::Data(64), Op::Open] {
            for batch in [1, BATCH] {
                world.settle().unwrap();
                let mut scene = Scene { world: &mut world, op, batch };
                for _ in 0..3 {
                    let done = scene.round(&mut watch);
                    let done = done.with_context(|| format!("{op:?} {batch}")).unwrap();
                    assert!(done >= batch as u64);
                }
            }
        }
    }

    #[test]
    fn ours_does_what_scenes_are_for() {
        works::<Ours>(1);
        works::<Ours>(300);
    }

    #[test]
    fn smoltcp_does_what_scenes_are_for() {
        works::<Smol>(1);
        works::<Smol>(300);
    }

    /// A stack that forgets to send.
    struct Mute(Ours);

    impl Stack for Mute {
        const NAME: &'static str = "mute";

        fn new(conns: usize) -> Self {
            Self(Ours::new(conns))
        }

        fn adopt(&mut self, flow: &mut Flow, now: u64) -> Result<()> {
            self.0.adopt(flow, now)
        }

        fn expect(&mut self, flows: core::ops::Range<usize>) {
            self.0.expect(flows);
        }

        fn turn(&mut self, frames: &[&[u8]], flows: &[usize], now: u64) {
            self.0.turn(frames, flows, now);
            self.0.outbox().clear();
        }

        fn refresh(&mut self, now: u64) {
            self.0.refresh(now);
        }

        fn settle(&mut self, now: u64) {
            self.0.settle(now);
        }

        fn outbox(&mut self) -> &mut super::super::Outbox {
            self.0.outbox()
        }

        fn open(&self) -> usize {
            self.0.open()
        }

        fn held(&self, flows: &[usize]) -> usize {
            self.0.held(flows)
        }
    }

    #[test]
    fn answer_that_does_not_come_is_noticed() {
        let mut world = World::<Mute>::new(3).unwrap();
        for op in [Op::Data(64), Op::Ack, Op::Open] {
            let mut scene = Scene { world: &mut world, op, batch: 1 };
            assert!(scene.round(&mut Stopwatch::new()).is_err(), "{op:?}");
        }
    }
}
