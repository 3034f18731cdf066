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

use anyhow::{Context, Result, ensure};
use clap::Args;
use nix::unistd::geteuid;

use super::bed::{Places, Room};
use super::stop::Stop;
use super::{Options as Common, programs};
use crate::generator::{Kind, Mac};
use crate::row::{Row, SMOKE};
use crate::tools;
use crate::{machine, printer, topology};
use ground::Ground;
use source::{Source, Stream};

/// The options of `bench pktgen`.
#[derive(Debug, Args)]
pub struct Options {
    /// Sends out of this interface, to an address that Sluice serves behind it. Without it everything is
    /// measured over veth pairs in namespaces of its own.
    #[arg(long, value_name = "IFACE", requires = "to", requires = "mac")]
    iface: Option<String>,
    /// Where frames go; its port 80 is asked for what Sluice has counted.
    #[arg(long, value_name = "ADDR:PORT", requires = "iface")]
    to: Option<SocketAddrV4>,
    /// The link-layer address they go to.
    #[arg(long, value_name = "MAC", requires = "iface")]
    mac: Option<Mac>,
    /// Allows the interface of this name though it is no veth.
    #[arg(long, value_name = "IFACE")]
    i_own_this_network: Option<String>,
    /// Bytes of a frame from its Ethernet header on.
    #[arg(long, value_delimiter = ',', default_values_t = SIZES)]
    sizes: Vec<usize>,
    /// Receive queues.
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
    let common = Common {
        churn: None,
        filter: None,
        smoke: options.smoke,
        json: None,
        sluice: options.sluice.clone(),
        program: options.program.clone(),
    };
    let room =
        Room { tools: programs(&common)?, places: Places::find()?, stop: Stop::on_signals()? };
    topology::sweep();
    let rows = match &options.iface {
        Some(iface) => outside(&room, options, iface)?,
        None => inside(&room, options)?,
    };
    printer::print(&rows);
    options.json.as_ref().map_or(Ok(()), |path| printer::write_json(path, &rows))
}

/// In namespaces of our own.
fn inside(room: &Room, options: &Options) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let queues = if options.smoke { &QUEUES[..1] } else { &options.queues[..] };
    for queues in queues {
        for fate in [Fate::Receive, Fate::Drop, Fate::Forward] {
            let ground = Ground::make(room, fate, *queues)?;
            for size in sizes(options) {
                let stream = ground.stream(size, options.seconds);
                rows.push(measure(room, options, (&ground, fate), &stream)?);
            }
        }
    }
    Ok(rows)
}

/// To a Sluice that somebody else has started.
fn outside(room: &Room, options: &Options, iface: &str) -> Result<Vec<Row>> {
    let (to, mac) = (options.to.context("--to")?, options.mac.context("--mac")?);
    let ground = Ground::outside(to, mac);
    let mut rows = Vec::new();
    for size in sizes(options) {
        let stream = Stream {
            kind: Kind::Udp,
            iface: iface.into(),
            to,
            mac,
            size,
            seconds: options.seconds,
            cpus: vec![room.places.client],
            owned: options.i_own_this_network.clone(),
        };
        rows.push(measure(room, options, (&ground, Fate::Receive), &stream)?);
    }
    Ok(rows)
}

fn sizes(options: &Options) -> impl Iterator<Item = usize> {
    let most = if options.smoke { 1 } else { usize::MAX };
    options.sizes.iter().copied().take(most)
}

/// One row: so many samples of one stream.
fn measure(
    room: &Room,
    options: &Options,
    (ground, fate): (&Ground, Fate),
    stream: &Stream,
) -> Result<Row> {
    let (name, subject) = fate.names();
    let queues = ground.queues();
    let plural = if queues == 1 { "queue" } else { "queues" };
    let work = format!("{name}, {} B, {queues} {plural}", stream.size);
    let source = Source::find(ground.namespace());
    if source == Source::Kernel && fate == Fate::Drop {
        let why = "the kernel's pktgen sends sound UDP alone";
        return Ok(Row::absent(&work, subject, source.name(), UNIT, why).with(machine::config()));
    }
    eprintln!("{work}");
    let mut samples = Vec::new();
    let alternations = if options.smoke { 2 } else { ALTERNATIONS };
    // The first touches what is touched for the first time.
    for at in 0..=alternations {
        let before = ground.count(fate)?;
        let sent = source.send(room, ground.namespace(), stream)?;
        let after = ground.count(fate)?;
        if at > 0 {
            let taken = after.saturating_sub(before) as f64 / sent.seconds.max(1e-3);
            samples.push((taken, sent.rate()));
        }
    }
    let hit = stream.cpus.len();
    let spread = match source {
        Source::Live if (hit as u32) < queues => {
            format!("{hit} of {queues}: a veth takes the queue of the sending CPU's number")
        }
        _ => format!("{hit} of {queues}"),
    };
    let mut row = Row::measured(&work, subject, source.name(), UNIT, &samples)
        .with(machine::config())
        .with_setting("frames from", source.describe())
        .with_setting("driver mode", ground.mode())
        .with_setting("offloads", "none: frames that XDP sends")
        .with_setting("queues that frames come to", spread)
        .with_setting("subject/peer", "the share of what was sent")
        .with_setting("samples", format!("{alternations} of {} s", options.seconds));
    if options.smoke {
        row = row.with_setting(SMOKE, "short samples that measure nothing");
    }
    Ok(row)
}

const UNIT: &str = "frames/s";
const SIZES: [usize; 6] = [64, 128, 256, 512, 1024, 1500];
const QUEUES: [u32; 3] = [1, 2, 4];
const ALTERNATIONS: usize = 5;
