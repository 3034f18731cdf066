//! Random operations on random connections over bad paths, between nodes that may crash.
//!
//! One seed is one run: opens from both ends at random times, an [`Actor`] on each end of each
//! connection, two directions with faults of their own that change on the way, crashes. Whatever
//! happens, the octets are the right ones, every end is told, and nothing is left behind.

mod actor;
mod setup;
mod world;

use sluice::counters::Counter;
use sluice::service::Service;
use sluice::shard::{Command, Open, Shard};
use sluice::tables::listeners::ListenerId;
use sluice::tcp::SynCookies;
use sluice::time::{Duration, Instant};

use self::actor::Actor;
use self::setup::ON_CALL;
use self::setup::{Setup, faults, local_ports, setup, strips};
use self::world::World;
use crate::impairment::Impairment;
use crate::network::{Fate, Network};
use crate::node::{Node, PORT, addr, config};
use crate::seed::{self, Rng};

#[test]
fn any_operations_bring_the_right_octets_and_leave_nothing() {
    seed::each_of((500, 10_000), |seed| Run::new(seed).run());
}

/// One run.
struct Run {
    rng: Rng,
    seed: u64,
    net: Network,
    world: World,
    setups: [Setup; 2],
    /// How often each node has crashed.
    lives: [u32; 2],
}

/// What happens to the network as a whole.
#[derive(Clone, Copy, Debug)]
enum Action {
    /// Node opens a connection to that port of the other.
    Open(usize, u16),
    /// Node opens a connection from that port of its own to that of the other, which may do the same.
    Cross(usize, [u16; 2]),
    /// Node accepts that many of the connections that wait, or will.
    Accept(usize, usize),
    /// Node no longer listens where connections wait, and does so again.
    Relisten(usize),
    /// Node loses everything and comes back, or does not.
    Crash(usize, Back),
    /// The direction from this node changes.
    Path(usize),
    /// Nothing arrives for that long.
    Outage(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Back {
    AtOnce,
    Never,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x0af7_e55e);
        let mtu = [576, 1280, 1500, 1500, 3498][rng.below(5) as usize];
        let ports = local_ports(&mut rng);
        let setups = [1, 2].map(|n| setup(n, seed, (mtu, ports.clone()), &mut rng));
        let world = World::default();
        let node = |index: usize, rng: Rng| node(&setups[index], (index, 0), &world, rng);
        let nodes = [node(0, Rng::new(rng.next())), node(1, Rng::new(rng.next()))];
        let strips = strips(&mut rng);
        let mut net = Network::new(nodes, faults(&mut rng, mtu, strips), seed);
        net.links[1].impairment = faults(&mut rng, mtu, strips);
        net.now = Instant::from_millis(rng.below(1 << 33));
        net.is_checked = true;
        Self { rng, seed, net, world, setups, lives: [0; 2] }
    }

    fn run(mut self) {
        let start = self.net.now;
        for (at, action) in self.plan() {
            let wait = (start + at).since(self.net.now);
            self.net.run_for(wait);
            self.act(action);
            self.check_bounds();
        }
        for index in [0, 1] {
            self.act(Action::Accept(index, usize::MAX / 2));
        }
        self.heal_after(Duration::from_secs(2 * 3_600));
        self.net.run_to_end(Duration::from_secs(4 * 3_600));
        // A segment that overtakes the first after a SYN cookie is answered by RST, and then the first
        // opens what its sender has given up.
        let is_sender = |setup: &Setup| setup.config.tcp.syn_cookies != SynCookies::Never;
        let has_cookies = self.setups.iter().any(is_sender);
        self.world.check(has_cookies);
        self.shut_down();
        for (_, node) in self.net.alive() {
            node.assert_clean();
        }
        self.check_frames();
    }

    /// The path is whole from then on: at a loss of 30 %, with small windows and no timestamps, a
    /// transfer may take days.
    fn heal_after(&mut self, time: Duration) {
        self.net.run_for(time);
        for link in &mut self.net.links {
            let Impairment { delay, mtu, strips, .. } = link.impairment;
            link.impairment = Impairment { mtu, strips, ..Impairment::delay(delay) };
        }
    }

    /// The actions with their times, in order.
    fn plan(&mut self) -> Vec<(Duration, Action)> {
        let rng = &mut self.rng;
        let mut plan = Vec::new();
        let most = Duration::from_secs(8).as_micros() as u64;
        let time = |rng: &mut Rng| Duration::from_micros(rng.scaled(most));
        let has_crashes = rng.chance(0.3);
        let is_one_sided = rng.chance(0.3);
        for _ in 0..1 + rng.below(24) {
            let from = if is_one_sided { 0 } else { rng.below(2) as usize };
            let at = time(rng);
            if rng.chance(0.1) {
                // Both at once, or nearly.
                let ports = [0, 1].map(|_| 40_000 + rng.below(3) as u16);
                let later = Duration::from_micros(rng.scaled(500_000));
                plan.push((at, Action::Cross(from, ports)));
                plan.push((at + later, Action::Cross(1 - from, ports)));
            } else {
                let port = match rng.below(16) {
                    0 => PORT + 2,
                    1..5 => ON_CALL,
                    _ => PORT,
                };
                plan.push((at, Action::Open(from, port)));
            }
        }
        for _ in 0..rng.scaled(4) {
            let action = match rng.chance(0.7) {
                true => Action::Path(rng.below(2) as usize),
                false => Action::Outage(Duration::from_millis(rng.scaled(20_000))),
            };
            plan.push((time(rng), action));
        }
        for _ in 0..rng.below(8) {
            let node = rng.below(2) as usize;
            let action = match rng.chance(0.8) {
                true => Action::Accept(node, 1 + rng.below(3) as usize),
                false => Action::Relisten(node),
            };
            plan.push((time(rng), action));
        }
        if has_crashes {
            for _ in 0..1 + rng.below(2) {
                let back = if rng.chance(0.8) { Back::AtOnce } else { Back::Never };
                plan.push((time(rng), Action::Crash(rng.below(2) as usize, back)));
            }
        }
        plan.sort_by_key(|(at, _)| *at);
        plan
    }

    fn act(&mut self, action: Action) {
        if std::env::var_os("SLUICE_TRACE").is_some() {
            eprintln!("{:?} {action:?}", self.net.now);
        }
        let now = self.net.now;
        match action {
            Action::Open(from, port) => {
                if let Some((_, node)) = self.net.alive().find(|(index, _)| *index == from) {
                    self.world.notes().begun.push((from, self.lives[from]));
                    node.connect(2 - from as u8, port, now);
                }
            }
            Action::Cross(from, ports) => self.cross(from, ports),
            Action::Accept(index, count) => {
                if let Some((_, left)) = &mut self.net.nodes[index].on_call {
                    *left += count;
                    self.net.poke(index);
                }
            }
            Action::Relisten(index) => self.relisten(index),
            Action::Crash(index, back) => self.crash(index, back),
            Action::Path(from) => {
                let Impairment { mtu, strips, .. } = self.net.links[from].impairment;
                self.net.links[from].impairment = faults(&mut self.rng, mtu, strips);
            }
            Action::Outage(time) => {
                let end = now + time;
                self.net.filter =
                    Box::new(move |sight| if sight.at < end { Fate::Drop } else { Fate::Carry });
            }
        }
    }

    fn cross(&mut self, from: usize, ports: [u16; 2]) {
        let now = self.net.now;
        let life = self.lives[from];
        let Some((_, node)) = self.net.alive().find(|(index, _)| *index == from) else { return };
        let open = Open {
            local: None,
            local_port: Some(ports[from]),
            remote: addr(2 - from as u8),
            remote_port: ports[1 - from],
            service: 0,
            settings: Vec::new(),
            user: 0,
        };
        if node.shard.open(&open, now).is_ok() {
            self.world.notes().begun.push((from, life));
        }
    }

    fn relisten(&mut self, index: usize) {
        let now = self.net.now;
        let Some((_, node)) = self.net.alive().find(|(alive, _)| *alive == index) else { return };
        let Some((id, left)) = node.on_call.take() else { return };
        assert!(node.shard.unlisten(id, now));
        assert!(!node.shard.unlisten(id, now), "a listener that is gone");
        node.on_call = listen(&mut node.shard, &self.setups[index]).map(|id| (id, left));
    }

    fn crash(&mut self, index: usize, back: Back) {
        self.world.crash(index, self.lives[index]);
        self.lives[index] += 1;
        let rng = Rng::new(self.rng.next());
        let life = self.lives[index];
        let mut setup = self.setups[index].clone();
        let n = index as u8 + 1;
        // It does not remember what nobody else may know.
        setup.config.secrets = config(n, self.seed ^ u64::from(life) << 48).secrets;
        let next = node(&setup, (index, life), &self.world, rng);
        self.net.crash(index, (back == Back::AtOnce).then_some(next));
    }

    /// Both nodes shut down, over a path that is whole again.
    fn shut_down(&mut self) {
        let now = self.net.now;
        self.net.filter = Box::new(|_| Fate::Carry);
        let deadline = now + Duration::from_secs(10);
        for (_, node) in self.net.alive() {
            node.shard.on_command(Command::Shutdown { deadline }, now);
        }
        self.net.run_to_end(Duration::from_secs(3_600));
    }

    /// What is in the tables never exceeds what they were given.
    fn check_bounds(&mut self) {
        let limits = self.setups.each_ref().map(|setup| setup.config.limits);
        for (index, node) in self.net.alive() {
            let limits = limits[index];
            let flows = limits.connections + limits.half_open + limits.time_wait;
            assert!(node.shard.flows() <= flows);
            assert!(node.shard.buffered() <= limits.buffers);
        }
    }

    /// No loop without end: what was sent is of the order of what there was to send.
    fn check_frames(&self) {
        let (octets, opens) = {
            let notes = self.world.notes();
            let octets: u64 = notes.ends.iter().map(|end| end.sent).sum();
            (octets, notes.begun.len() as u64)
        };
        let bound = FRAMES_EACH * (opens + 1) + octets / OCTETS_EACH;
        if std::env::var_os("SLUICE_STATS").is_some() {
            self.print(octets);
        }
        assert!(self.net.sent <= bound, "{} frames for {octets} octets", self.net.sent);
    }

    /// What the run was like, for whoever tunes it: `SLUICE_STATS=1`.
    fn print(&self, octets: u64) {
        let notes = self.world.notes();
        let ends: Vec<_> = notes.ends.iter().map(|end| end.over).collect();
        let failed = &notes.failed;
        eprintln!("{} frames, {octets} octets: {ends:?} {failed:?}", self.net.sent);
        for node in &self.net.nodes {
            let counted = Counter::ALL.iter().filter(|counter| node.count(**counter) > 0);
            counted.for_each(|counter| eprintln!("{} {}", counter.name(), node.count(*counter)));
        }
    }
}

fn node(setup: &Setup, life: (usize, u32), world: &World, rng: Rng) -> Node {
    let actor: Box<dyn Service> = Box::new(Actor::new(world, life, setup.temper, rng));
    let mut node = Node::new(setup.config.clone(), vec![actor]);
    node.on_call = listen(&mut node.shard, setup).map(|id| (id, 0));
    node
}

fn listen(shard: &mut Shard, setup: &Setup) -> Option<ListenerId> {
    let id = shard.listen(setup.on_call.clone(), Instant::ZERO);
    Some(id.expect("a possible listener"))
}

/// Frames that a connection may need besides those that carry its octets: both ends open, close, probe
/// and repeat, each for as long as its patience lasts.
const FRAMES_EACH: u64 = 20_000;
/// Octets that a frame brings at the very least, with everything that is repeated.
const OCTETS_EACH: u64 = 20;
