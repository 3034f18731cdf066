//! What a verdict of the XDP program costs, by BPF_PROG_TEST_RUN, beside a program that passes at once.
//!
//! Both restore the frame at their entry, so that each round meets the same one, and that cost is in
//! both. Needs root; else the rows are absent. No frame leaves.

mod frames;
mod front;
mod limits;

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, HashMap, XskMap};
use aya::programs::{TestRun, Xdp};
use aya::{Ebpf, TestRunOptions};
use nix::unistd::geteuid;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::net::{AddressFamily, SocketType, socket};
use stack_ebpf::contract::{self, Address, Config, ListenerKey, PRESENT, Restored, mapped};
use stack_ebpf::hints::Hints;
use zerocopy::transmute;

use crate::micro::OURS;
use crate::micro::pair::Plan;
use crate::object;
use crate::printer::figure;
use crate::row::{DISTURBED, Row};
use crate::spread::Spread;
use frames::{EVERYWHERE, LISTENERS, MAC, SCENES, SECOND, SHARED, Scene};

/// Measures the verdicts that the plan wants.
///
/// # Errors
/// Where the kernel refuses the program, or the verdict is not the scene's.
pub(crate) fn rows(plan: &Plan) -> Result<Vec<Row>> {
    let wanted: Vec<_> = works().into_iter().filter(|work| plan.wants(work.work)).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let absent = |why: &str| {
        let row =
            |work: &Work| Row::absent(work.work, OURS, BARE, "ns", why).with(plan.config.clone());
        wanted.iter().map(row).collect()
    };
    if !geteuid().is_root() {
        return Ok(absent("BPF_PROG_TEST_RUN needs root"));
    }
    let ebpf = match object::load_sized(OBJECT, &front::SIZES) {
        Ok(ebpf) => ebpf,
        Err(error) => return Ok(absent(&format!("{error:#}"))),
    };
    let mut bed = Bed::make(ebpf)?;
    let mut rows = Vec::new();
    for work in wanted {
        match work.is_guarded {
            true => front::close(&mut bed.ebpf),
            false => front::open(&mut bed.ebpf),
        }?;
        limits::set(&mut bed.ebpf, work.is_limited)?;
        rows.extend(bed.measure(plan, &work).context(work.work)?);
    }
    Ok(rows)
}

/// What follows from the addresses and listeners that are set.
fn hints() -> Hints {
    let mut hints = Hints::EMPTY;
    [SHARED, SECOND].iter().for_each(|addr| hints.add_address(&mapped(*addr), Address::Shared));
    for (addr, port) in LISTENERS {
        hints.add_port(&mapped(addr), port, port == EVERYWHERE);
    }
    hints
}

/// A verdict that is measured.
struct Work {
    work: &'static str,
    frame: Vec<u8>,
    /// What the program returns.
    action: u32,
    /// What it may take over a bare XDP_PASS, in ns.
    limit: Option<u32>,
    /// Whether the gate is closed.
    is_guarded: bool,
    /// Whether there are a block list and a limit to SYNs.
    is_limited: bool,
}

fn works() -> Vec<Work> {
    let open = SCENES.iter().map(|scene: &Scene| {
        let Scene { work, action, limit, is_limited, .. } = *scene;
        Work { work, frame: scene.frame(), action, limit, is_guarded: false, is_limited }
    });
    let closed = front::GUARDED.iter().map(|guarded| {
        let front::Guarded { work, action, limit, .. } = *guarded;
        Work { work, frame: guarded.frame(), action, limit, is_guarded: true, is_limited: false }
    });
    open.chain(closed).collect()
}

/// Work, subject and peer of every row of a full run.
#[cfg(test)]
pub(crate) fn names() -> Vec<[String; 3]> {
    let rows = |scene: Work| {
        let [row, over] = [(scene.work.to_string(), BARE), (over(&scene), "")];
        [row, over].map(|(work, peer)| [work, OURS.into(), peer.into()])
    };
    works().into_iter().flat_map(rows).collect()
}

/// How the row is called that says what the verdict costs beyond a bare pass.
fn over(scene: &Work) -> String {
    format!("{}, over {BARE}", scene.work)
}

/// The loaded programs with their maps filled.
struct Bed {
    ebpf: Ebpf,
    /// Held because its entry in the map goes with it. Unbound: nothing is delivered.
    _socket: OwnedFd,
}

impl Bed {
    fn make(mut ebpf: Ebpf) -> Result<Self> {
        let config = Config { mac: MAC, vlan: 0, ports_first: 61_000, ports_last: 61_999 };
        let config: [u8; size_of::<Config>()] = transmute!(config);
        let mut map: Array<_, [u8; size_of::<Config>()]> = map(&mut ebpf, contract::CONFIG)?;
        map.set(0, config, 0)?;
        let mut map: HashMap<_, [u8; 16], u32> = self::map(&mut ebpf, contract::ADDRESSES)?;
        for addr in [SHARED, SECOND].map(mapped) {
            map.insert(addr, Address::Shared as u32, 0)?;
        }
        let mut map: HashMap<_, [u8; size_of::<ListenerKey>()], u32> =
            self::map(&mut ebpf, contract::LISTENERS)?;
        for (addr, port) in LISTENERS {
            let key: [u8; size_of::<ListenerKey>()] =
                transmute!(ListenerKey::new(mapped(addr), port));
            map.insert(key, PRESENT, 0)?;
        }
        let hints: [u8; size_of::<Hints>()] = transmute!(hints());
        let mut map: Array<_, [u8; size_of::<Hints>()]> = self::map(&mut ebpf, contract::HINTS)?;
        map.set(0, hints, 0)?;
        let socket = socket(AddressFamily::XDP, SocketType::RAW, None).context("AF_XDP")?;
        let mut map: XskMap<_> = self::map(&mut ebpf, contract::SOCKETS)?;
        map.set(0, socket.as_raw_fd(), 0)?;
        for name in [contract::BENCH_STEER, contract::BENCH_PASS] {
            object::program(&mut ebpf, name)?;
        }
        Ok(Self { ebpf, _socket: socket })
    }

    /// The row of a scene beside the bare pass, and that of their difference.
    fn measure(&mut self, plan: &Plan, scene: &Work) -> Result<[Row; 2]> {
        eprintln!("{}: {OURS} beside {BARE}", scene.work);
        let frame = &scene.frame;
        let words: &[u8; size_of::<Restored>()] =
            frame.first_chunk().context("a frame holds what is restored")?;
        let words: Restored = transmute!(*words);
        let mut map: Array<_, Restored> = self::map(&mut self.ebpf, contract::BENCH_FRAME)?;
        map.set(0, words, 0)?;
        let repeat = if plan.is_smoke { 1_000 } else { REPEAT };
        let (samples, disturbed) =
            plan.undisturbed(|| self.samples(plan.alternations, scene, repeat))?;
        let differences: Vec<f64> = samples.iter().map(|(ours, bare)| ours - bare).collect();
        let over = Spread::of(differences.iter().copied()).context("there are samples")?;
        let limit = scene.limit.map_or("none".into(), |limit| format!("+{limit} ns"));
        let instructions = object::program(&mut self.ebpf, contract::BENCH_STEER)?.info()?;
        let instructions = instructions.verified_instruction_count().unwrap_or(0);
        let say = |row: Row| {
            let row = row.with(plan.config.clone());
            let row = row.with_setting("alternations", plan.alternations);
            let row =
                row.with_setting("rounds", format!("{repeat}, the kernel's mean in whole ns"));
            let row = row.with_setting("verified instructions", instructions);
            let row = match &disturbed {
                Some(how) => row.with_setting(DISTURBED, how),
                None => row,
            };
            row.with_setting("required over bare XDP_PASS", &limit)
                .with_setting("restored", format!("{} B at entry, both", words.len() * 8))
        };
        let difference =
            format!("{} ns ({} to {})", figure(over.median), figure(over.min), figure(over.max));
        let row = Row::measured(scene.work, OURS, BARE, "ns", &samples);
        let row = row.with_setting("over bare XDP_PASS", difference);
        let over = Row::alone(&self::over(scene), OURS, "ns", &differences);
        Ok([say(row), say(over)])
    }

    /// So many pairs of a scene and a bare pass, in nanoseconds.
    fn samples(
        &mut self,
        alternations: usize,
        scene: &Work,
        repeat: u32,
    ) -> Result<Vec<(f64, f64)>> {
        let mut samples = Vec::new();
        // The first pair warms up.
        for alternation in 0..=alternations {
            let ours = self.sample(contract::BENCH_STEER, &scene.frame, (repeat, scene.action))?;
            let bare = self.sample(contract::BENCH_PASS, &scene.frame, (repeat, XDP_PASS))?;
            if alternation > 0 {
                samples.push((ours, bare));
            }
        }
        Ok(samples)
    }

    /// Nanoseconds of one round, as the kernel has counted them.
    fn sample(&mut self, name: &str, frame: &[u8], (repeat, action): (u32, u32)) -> Result<f64> {
        let xdp: &Xdp = object::program(&mut self.ebpf, name)?;
        let run =
            xdp.test_run(TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() })?;
        let found = run.return_value;
        ensure!(found == action, "{name} returned {found} instead of {action}");
        Ok(run.duration.as_nanos() as f64)
    }
}

fn map<'a, M>(ebpf: &'a mut Ebpf, name: &str) -> Result<M>
where
    M: TryFrom<&'a mut aya::maps::Map, Error = aya::maps::MapError>,
{
    let map = ebpf.map_mut(name).with_context(|| format!("no map {name}"))?;
    M::try_from(map).with_context(|| format!("map {name}"))
}

/// The build of the program that restores frames.
const OBJECT: &str = "sluice-xdp-bench.o";
/// The peer.
const BARE: &str = "bare XDP_PASS";
/// Rounds of a sample.
const REPEAT: u32 = 1_000_000;
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;
