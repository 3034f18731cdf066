//! Random operations on random connections over bad paths, between nodes that may crash.
//!
//! One seed is one run: opens from both ends at random times, an [`Actor`] on each end of each
//! connection, two directions with faults of their own that change on the way, crashes. Whatever
//! happens, the octets are the right ones, every end is told, and nothing is left behind.

mod actor;
mod world;

use sluice::service::Service;
use sluice::shard::{Command, Limits, ShardConfig};
use sluice::tcp;
use sluice::time::{Duration, Instant};

use self::actor::{Actor, Temper};
use self::world::World;
use crate::impairment::{Impairment, Strips};
use crate::network::{Fate, Network};
use crate::node::{Node, PORT, config};
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

/// What a node is made of, each time it comes back.
#[derive(Clone)]
struct Setup {
    config: ShardConfig,
    temper: Temper,
}

/// What happens to the network as a whole.
#[derive(Clone, Copy, Debug)]
enum Action {
    /// Node opens a connection to that port of the other.
    Open(usize, u16),
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
        let ports = ports(&mut rng);
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
        self.net.run_to_end(Duration::from_secs(12 * 3_600));
        self.world.check();
        self.shut_down();
        for (_, node) in self.net.alive() {
            node.assert_clean();
        }
        self.check_frames();
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
            let ports = &self.setups[1 - from].config.local_ports;
            let crossing = ports.start() + rng.below(3) as u16;
            let port = match rng.below(16) {
                0 => PORT + 1,
                1 | 2 => crossing,
                _ => PORT,
            };
            plan.push((time(rng), Action::Open(from, port)));
        }
        for _ in 0..rng.scaled(4) {
            let action = match rng.chance(0.7) {
                true => Action::Path(rng.below(2) as usize),
                false => Action::Outage(Duration::from_millis(rng.scaled(20_000))),
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
        let notes = self.world.notes();
        let octets: u64 = notes.ends.iter().map(|end| end.sent).sum();
        let opens = notes.begun.len() as u64;
        let bound = FRAMES_EACH * (opens + 1) + octets / OCTETS_EACH;
        if std::env::var_os("SLUICE_STATS").is_some() {
            let overs: Vec<_> = notes.ends.iter().map(|end| end.over).collect();
            eprintln!(
                "{} frames {octets} octets {opens} opens, {overs:?} {:?}",
                self.net.sent, notes.failed
            );
        }
        assert!(self.net.sent <= bound, "{} frames for {octets} octets", self.net.sent);
    }
}

fn node(setup: &Setup, life: (usize, u32), world: &World, rng: Rng) -> Node {
    let actor: Box<dyn Service> = Box::new(Actor::new(world, life, setup.temper, rng));
    Node::new(setup.config.clone(), vec![actor])
}

type LocalPorts = std::ops::RangeInclusive<u16>;

/// Many local ports, or so few that names are used again at once.
fn ports(rng: &mut Rng) -> LocalPorts {
    40_000..=[40_002, 40_007, 49_999][rng.below(3) as usize]
}

fn setup(n: u8, seed: u64, (mtu, ports): (usize, LocalPorts), rng: &mut Rng) -> Setup {
    let mut config = config(n, seed);
    config.mtu = mtu as u16;
    config.local_ports = ports;
    if rng.chance(0.3) {
        config.limits = Limits {
            connections: 2 + rng.below(16) as usize,
            half_open: 1 + rng.below(8) as usize,
            time_wait: rng.below(8) as usize,
            buffers: 1 << (20 + rng.below(3)),
            ..config.limits
        };
    }
    config.tcp = stack(rng);
    let temper = Temper {
        operations: 1 + rng.below(24),
        burst_bits: 8 + rng.below(13),
        pause: Duration::from_micros(1 + rng.scaled(8_000_000)),
        abort: if rng.chance(0.5) { 0.3 } else { 0.0 },
    };
    Setup { config, temper }
}

fn stack(rng: &mut Rng) -> tcp::Config {
    let usual = tcp::Config::default();
    let window = 600 + rng.scaled(200_000) as u32;
    tcp::Config {
        receive_window: window,
        max_receive_window: window.max(1 << (10 + rng.below(14))),
        max_send_buffer: 4_000 + rng.scaled(4 << 20) as u32,
        nodelay: rng.chance(0.5),
        retries: 5 + rng.below(8) as u8,
        syn_retries: 1 + rng.below(7) as u8,
        syn_ack_retries: 1 + rng.below(5) as u8,
        fin_wait_2: Duration::from_secs(5 + rng.below(600)),
        time_wait: Duration::from_millis(1 + rng.scaled(240_000)),
        ..usual
    }
}

/// The faults of one direction.
fn faults(rng: &mut Rng, mtu: usize, strips: Strips) -> Impairment {
    let mut part = |most: f64| match rng.chance(0.5) {
        true => (rng.below(1_000) as f64 / 1_000.0) * most,
        false => 0.0,
    };
    let impairment = Impairment {
        loss: part(0.3),
        reorder: part(0.3),
        duplicate: part(0.3),
        corrupt: part(0.1),
        mtu,
        strips,
        ..Impairment::default()
    };
    Impairment {
        delay: Duration::from_micros(1 + rng.scaled(200_000)),
        jitter: Duration::from_micros(rng.scaled(40_000)),
        lateness: Duration::from_micros(rng.scaled(300_000)),
        rate: rng.chance(0.3).then(|| 200_000 + rng.scaled(100_000_000)),
        queue: Duration::from_millis(5 + rng.scaled(500)),
        ..impairment
    }
}

/// Both directions lose the same options: a box that takes an answer away that was agreed breaks any
/// connection.
fn strips(rng: &mut Rng) -> Strips {
    if rng.chance(0.6) {
        return Strips::default();
    }
    Strips {
        mss: rng.chance(0.2),
        window_scale: rng.chance(0.4),
        sack: rng.chance(0.4),
        timestamps: rng.chance(0.4),
    }
}

/// Frames that a connection may need besides those that carry its octets: both ends open, close, probe
/// and repeat, each for as long as its patience lasts.
const FRAMES_EACH: u64 = 20_000;
/// Octets that a frame brings at the very least, with everything that is repeated.
const OCTETS_EACH: u64 = 20;
