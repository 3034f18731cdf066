//! `bench pktgen`: frames in a second that reach the worker, that are dropped by verdict, and that are
//! redirected to another interface; by size and number of queues.
//!
//! Owns the options and the course. Frames come from the kernel's pktgen where it has one, else from
//! our generator of live frames; every row says which. Without an interface it makes namespaces of its
//! own.

mod ground;
mod kernel;
mod source;

use std::net::SocketAddrV4;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::{Pid, geteuid};

use super::bed::{Places, Room};
use super::stop::Stop;
use super::{programs, quiet};
use crate::busy::{self, Watch};
use crate::generator::{Kind, Mac, check_interface};
use crate::row::{DISTURBED, FAILED, Row, SMOKE};
use crate::tools;
use crate::{machine, printer, topology};
use ground::Ground;
use source::{Source, Stream};

/// The options of `bench pktgen`.
#[derive(Debug, Args)]
pub struct Options {
    /// Sends out of this interface, to an address that Sluice serves behind it. Without it everything is
    /// measured over veth pairs in namespaces of its own.
    #[arg(long, value_name = "IFACE")]
    iface: Option<String>,
    /// Where frames go; its port 80 is asked for what Sluice has counted. Without it to the neighbour on
    /// the interface that answers as Sluice does.
    #[arg(long, value_name = "ADDR:PORT", requires = "iface")]
    to: Option<SocketAddrV4>,
    /// The link-layer address they go to; without it that of the neighbour.
    #[arg(long, value_name = "MAC", requires = "iface")]
    mac: Option<Mac>,
    /// Allows the interface of this name though it is no veth.
    #[arg(long, value_name = "IFACE", requires = "iface")]
    i_own_this_network: Option<String>,
    /// Bytes of a frame from its Ethernet header on.
    #[arg(long, value_delimiter = ',', default_values_t = SIZES)]
    sizes: Vec<usize>,
    /// Receive queues. Out of an interface: CPUs that send, at most as many as there are.
    #[arg(long, value_delimiter = ',', default_values_t = QUEUES)]
    queues: Vec<u32>,
    /// Seconds of a sample.
    #[arg(long, default_value = "0.5")]
    seconds: f64,
    /// One size and one queue: shows that the instrument works, and measures nothing.
    #[arg(long)]
    smoke: bool,
    /// Also writes the rows to a file, as one array of JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Sluice's executable; without it `sluice` beside this program.
    #[arg(long, value_name = "FILE")]
    sluice: Option<PathBuf>,
    /// The XDP program; without it `sluice-xdp.o` beside or above this program.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// What becomes of the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The worker takes them from its receive ring.
    Receive,
    /// The program drops them, by the verdict on their TCP header.
    Drop,
    /// A program redirects them to another interface.
    Forward,
}

impl Fate {
    const ALL: [Self; 3] = [Self::Receive, Self::Drop, Self::Forward];

    /// What a row is called, and who is measured.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Receive => ("receive into the worker", "sluice"),
            Self::Drop => ("drop by verdict", "sluice"),
            Self::Forward => ("forward by redirect", "XDP redirect"),
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Receive | Self::Forward => Kind::Udp,
            Self::Drop => Kind::Bad,
        }
    }
}

/// Measures, prints the rows, and writes them where asked.
///
/// # Errors
/// Where the machine lacks what is needed, a program does not work, or on Ctrl-C.
pub fn run(options: &Options) -> Result<()> {
    ensure!(geteuid().is_root(), "frames are sent by BPF or by the kernel, which needs root");
    ensure!(options.queues.iter().all(|n| (1..=4).contains(n)), "one to four queues");
    ensure!(
        options.sizes.iter().all(|size| (60..=1514).contains(size)),
        "frames have 60 to 1514 B"
    );
    ensure!(options.seconds > 0.0 && options.seconds <= 60.0, "samples of 0 to 60 seconds");
    ensure!(tools::is_there("ip"), "{}", tools::missing("ip", "iproute2"));
    let tools = programs(options.sluice.as_deref(), options.program.as_deref())?;
    let room = Room { tools, places: Places::find()?, stop: Stop::on_signals()? };
    if let Some(path) = &options.json {
        printer::check_json(path)?;
    }
    topology::sweep();
    let mut run = Run { room, options, rows: Vec::new() };
    match &options.iface {
        Some(iface) => run.outside(iface)?,
        None => run.inside()?,
    }
    let rows = run.rows;
    printer::print(&rows);
    let failed = rows.iter().filter(|row| row.config.contains_key(FAILED)).count();
    ensure!(failed == 0, "{failed} rows failed");
    Ok(())
}

/// A run under way.
struct Run<'a> {
    room: Room,
    options: &'a Options,
    rows: Vec<Row>,
}

impl Run<'_> {
    /// In namespaces of our own.
    fn inside(&mut self) -> Result<()> {
        let queues = if self.options.smoke { &QUEUES[..1] } else { &self.options.queues[..] };
        for queues in queues {
            for fate in Fate::ALL {
                let ground = Ground::make(&self.room, fate, *queues);
                for size in sizes(self.options) {
                    let row =
                        ground.as_ref().map_err(|error| anyhow!("{error:#}")).and_then(|ground| {
                            let stream = ground.stream(size, self.options.seconds);
                            measure(&self.room, self.options, (ground, fate), &stream)
                        });
                    self.take(row, &work(fate, size, *queues), fate)?;
                }
            }
        }
        Ok(())
    }

    /// To a Sluice that somebody else has started.
    fn outside(&mut self, iface: &str) -> Result<()> {
        let owned = self.options.i_own_this_network.clone();
        check_interface(iface, owned.as_deref(), quiet)?;
        let to = self.options.to.map_or_else(|| ground::find(iface, &self.room.stop), Ok)?;
        // Asks it once, so that the neighbour is known.
        let known = ground::answers(to);
        let mac = self.options.mac.map_or_else(|| ground::neighbour(iface, to), Ok);
        // Where nobody answers, no neighbour is known either.
        known?;
        let mac = mac?;
        let queues = if self.options.smoke { &QUEUES[..1] } else { &self.options.queues[..] };
        for queues in queues.iter().copied() {
            let cpus = cpus(queues as usize)?;
            let few = (cpus.len() < queues as usize)
                .then(|| format!("there are {} CPUs to send from", cpus.len()));
            let ground = Ground::outside((to, mac), &cpus);
            for fate in Fate::ALL {
                for size in sizes(self.options) {
                    let stream = Stream {
                        kind: fate.kind(),
                        iface: iface.into(),
                        to,
                        mac,
                        size,
                        seconds: self.options.seconds,
                        cpus: cpus.clone(),
                        owned: owned.clone(),
                    };
                    let work = work(fate, size, queues);
                    let row = match (&few, fate) {
                        (Some(few), _) => Ok(absent(&work, fate, few)),
                        (None, Fate::Forward) => Ok(absent(&work, fate, NO_FORWARD)),
                        _ => measure(&self.room, self.options, (&ground, fate), &stream),
                    };
                    self.take(row, &work, fate)?;
                }
            }
        }
        Ok(())
    }

    /// Keeps a row, one that says how it failed where it did, and writes what there is so far.
    ///
    /// # Errors
    /// On Ctrl-C.
    fn take(&mut self, row: Result<Row>, work: &str, fate: Fate) -> Result<()> {
        self.room.stop.check()?;
        let row = row.unwrap_or_else(|error| {
            eprintln!("  failed: {error:#}");
            let row = Row::failed(work, fate.names().1, "frames sent", UNIT, &format!("{error:#}"));
            row.with(machine::config())
        });
        self.rows.push(row);
        self.options.json.as_ref().map_or(Ok(()), |path| printer::write_json(path, &self.rows))
    }
}

/// The first so many CPUs that this process may run on.
fn cpus(count: usize) -> Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0)).context("sched_getaffinity")?;
    let all = (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false));
    // The last one first: a worker is on the first where there is one here.
    let mut all: Vec<usize> = all.collect();
    all.reverse();
    all.truncate(count);
    Ok(all)
}

fn sizes(options: &Options) -> impl Iterator<Item = usize> + use<> {
    let most = if options.smoke { 1 } else { usize::MAX };
    options.sizes.clone().into_iter().take(most)
}

/// A row that is not measured, and why.
fn absent(work: &str, fate: Fate, why: &str) -> Row {
    Row::absent(work, fate.names().1, "frames sent", UNIT, why).with(machine::config())
}

/// What a row is called.
fn work(fate: Fate, size: usize, queues: u32) -> String {
    let plural = if queues == 1 { "queue" } else { "queues" };
    format!("pktgen, {}, {size} B, {queues} {plural}", fate.names().0)
}

/// One row: so many samples of one stream.
fn measure(
    room: &Room,
    options: &Options,
    (ground, fate): (&Ground, Fate),
    stream: &Stream,
) -> Result<Row> {
    let (queues, subject) = (ground.queues(), fate.names().1);
    let work = work(fate, stream.size, queues);
    let source = Source::find(ground.namespace());
    if source == Source::Kernel && fate == Fate::Drop {
        let why = "the kernel's pktgen sends sound UDP alone";
        return Ok(Row::absent(&work, subject, source.name(), UNIT, why).with(machine::config()));
    }
    eprintln!("{work}");
    let mut samples = Vec::new();
    let alternations = if options.smoke { 2 } else { ALTERNATIONS };
    let (mut repeated, mut most) = (0, 0.0_f64);
    // The first touches what is touched for the first time.
    let mut is_first = true;
    // The one behind the interface of a user is what is measured.
    let spared = options.iface.is_some().then_some("sluice");
    while samples.len() < alternations {
        let watch = Watch::begin_beside(spared);
        let before = ground.count(fate)?;
        let sent = source.send(room, ground.namespace(), stream)?;
        let after = ground.count(fate)?;
        let others = watch.others();
        if std::mem::take(&mut is_first) {
            continue;
        }
        if busy::is_disturbed(others) && repeated < busy::REPEATS && !options.smoke {
            repeated += 1;
            continue;
        }
        most = most.max(others);
        let taken = after.saturating_sub(before) as f64 / sent.seconds.max(1e-3);
        samples.push((taken, sent.rate()));
    }
    let hit = stream.cpus.len();
    let spread = match source {
        _ if options.iface.is_some() => format!("as the receiver spreads them; {hit} CPUs send"),
        Source::Live if (hit as u32) < queues => {
            format!("{hit} of {queues}: a veth takes the queue of the sending CPU's number")
        }
        _ => format!("{hit} of {queues}"),
    };
    ensure!(samples.iter().any(|(taken, _)| *taken > 0.0), "{}", NOTHING);
    let mut row = Row::measured(&work, subject, source.name(), UNIT, &samples)
        .with(machine::config())
        .with_setting("frames from", source.describe())
        .with_setting("driver mode", ground.mode())
        .with_setting("offloads", "none: frames that XDP sends")
        .with_setting("congestion control", "none: frames of no connection")
        .with_setting("queues that frames come to", spread)
        .with_setting("subject/peer", "the share of what was sent")
        .with_setting("samples", format!("{alternations} of {} s", options.seconds));
    if busy::is_disturbed(most) {
        let percent = most * 100.0;
        let how = format!("others used up to {percent:.0} % of a core, {repeated} repeated");
        row = row.with_setting(DISTURBED, how);
    }
    if options.smoke {
        row = row.with_setting(SMOKE, "short samples that measure nothing");
    }
    Ok(row)
}

const UNIT: &str = "frames/s";
/// Why there is no such row out of an interface.
const NO_FORWARD: &str = "Sluice redirects to its sockets alone; measured without --iface";
/// Why a row that shows zero would show nothing.
const NOTHING: &str = "no frame was counted: UDP comes to the worker of an address of its own alone \
                       (`sluice run --addr`), and a bad TCP header is looked at where Sluice serves";
const SIZES: [usize; 6] = [64, 128, 256, 512, 1024, 1500];
const QUEUES: [u32; 3] = [1, 2, 4];
const ALTERNATIONS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_of_one_group() {
        let name = work(Fate::Drop, 64, 1);
        assert_eq!(name, "pktgen, drop by verdict, 64 B, 1 queue");
        assert!(work(Fate::Receive, 1_500, 4).ends_with("1500 B, 4 queues"));
    }

    #[test]
    fn senders_are_cpus_that_there_are() {
        assert_eq!(cpus(1).unwrap().len(), 1);
        let all = cpus(usize::MAX).unwrap();
        assert!(all.windows(2).all(|two| two[0] > two[1]), "{all:?}");
    }
}
