//! The generator of frames: floods and streams that a BPF program writes and sends, by live frames of
//! BPF_PROG_TEST_RUN.
//!
//! Owns the options, the run and its bounds. A run ends by its time, its count, a signal, or the end of
//! the process; nothing of it stays. It is a command of the bench, so that it can run inside of a
//! namespace; its last line on standard output is a [`Report`] as JSON.

mod frames;
mod target;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, PerCpuArray};
use aya::programs::links::FdLink;
use aya::programs::{ProgramError, TestRun, TestRunAttrs, Xdp, XdpMode};
use aya::{Ebpf, TestRunOptions};
use clap::Args;
use nix::errno::Errno;
use nix::sys::signal::{SigEvent, SigevNotify, Signal};
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGTERM};
use stack_ebpf::generate::{self, ANSWERS_LEN, Answer, Order, PACED_BATCH, PROGRAM, Sink, State};
use zerocopy::{IntoBytes, transmute};

use crate::clock::now;
use crate::load::pin;
use crate::object;
use crate::rng::Rng;
pub use frames::{Kind, Mac, Prefix};
use frames::{Spec, most_length};
pub(crate) use target::check_interface;

/// The options of the generator.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// What is sent.
    #[arg(value_enum)]
    pub kind: Kind,
    /// The interface that frames leave by: a veth, unless --i-own-this-network names it.
    #[arg(long, value_name = "IFACE")]
    pub iface: String,
    /// Where frames go.
    #[arg(long, value_name = "ADDR:PORT")]
    pub to: SocketAddr,
    /// The link-layer address they go to.
    #[arg(long, value_name = "MAC")]
    pub mac: Mac,
    /// Where frames claim to come from: at most the last 32 bits of the address are drawn.
    #[arg(long, value_name = "ADDR/LEN", default_value = "198.18.0.0/15")]
    pub from: Prefix,
    /// Bytes of a frame from its Ethernet header on; without it as few as the kind takes.
    #[arg(long, value_name = "BYTES")]
    pub size: Option<usize>,
    /// Frames in a second; 0 is as many as go.
    #[arg(long, value_name = "N", default_value = "0")]
    pub rate: u64,
    /// Frames that may follow each other at once after a pause.
    #[arg(long, value_name = "N", default_value = "16")]
    pub burst: u64,
    /// The time of the run.
    #[arg(long, value_name = "SECONDS", default_value = "2")]
    pub seconds: f64,
    /// The most frames.
    #[arg(long, value_name = "N", default_value = "1000000000")]
    pub frames: u64,
    /// The CPU it runs on, whose number chooses the receive queue of a veth.
    #[arg(long, value_name = "CPU")]
    pub cpu: Option<usize>,
    /// Where the draws begin.
    #[arg(long, value_name = "N", default_value = "1")]
    pub seed: u64,
    /// Allows the interface of this name though it is no veth. Say it of a network that is yours.
    #[arg(long, value_name = "IFACE")]
    pub i_own_this_network: Option<String>,
}

/// What was sent, and what came back to the spoofed sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Frames that were given to the interface.
    pub sent: u64,
    /// From the first to the last of them, in seconds.
    pub seconds: f64,
    /// Rounds in which no frame was due.
    pub held: u64,
    /// Seconds of its CPU in which it only waited for the next frame; zero flat out.
    pub waited: f64,
    /// SYN-ACKs for spoofed sources.
    pub syn_acks: u64,
    /// Resets for spoofed sources.
    pub resets: u64,
    /// What else came for them.
    pub others: u64,
}

impl Report {
    /// Frames sent in a second.
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.sent as f64 / self.seconds } else { 0.0 }
    }
}

impl Options {
    /// Refuses what makes no sense or is not allowed.
    fn check(&self) -> Result<()> {
        ensure!(self.seconds > 0.0 && self.seconds <= LONGEST, "0 to {LONGEST} seconds");
        ensure!(self.frames > 0, "no frame at all");
        ensure!((1..=256).contains(&self.burst), "a burst has 1 to 256 frames, as a veth's ring");
        ensure!(self.rate <= 100_000_000, "at most 100,000,000 frames in a second");
        ensure!(
            self.to.is_ipv4() == self.from.address.is_ipv4(),
            "--to and --from are of one family"
        );
        let (least, most) = (self.kind.least_length(self.to.is_ipv4()), most_length());
        if let Some(size) = self.size {
            ensure!((least..=most).contains(&size), "such frames have {least} to {most} B");
        }
        Ok(())
    }

    fn length(&self) -> usize {
        self.size.unwrap_or_else(|| self.kind.least_length(self.to.is_ipv4()))
    }

    fn order(&self) -> Order {
        let interval = Order::interval_of(self.rate);
        Order {
            interval,
            burst: (self.burst - 1) * interval,
            frames: self.frames,
            length: self.length() as u32,
            templates: self.kind.segments().len() as u32,
            mask: self.from.drawn(),
            pad: 0,
        }
    }

    /// The options as the command line has them.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![self.kind.to_string()];
        let mut say = |name: &str, value: String| arguments.extend([name.into(), value]);
        say("--iface", self.iface.clone());
        say("--to", self.to.to_string());
        say("--mac", self.mac.to_string());
        say("--from", self.from.to_string());
        say("--rate", self.rate.to_string());
        say("--burst", self.burst.to_string());
        say("--seconds", self.seconds.to_string());
        say("--frames", self.frames.to_string());
        say("--seed", self.seed.to_string());
        if let Some(size) = self.size {
            say("--size", size.to_string());
        }
        if let Some(cpu) = self.cpu {
            say("--cpu", cpu.to_string());
        }
        if let Some(owned) = &self.i_own_this_network {
            say("--i-own-this-network", owned.clone());
        }
        arguments
    }
}

/// Sends, and prints what was sent.
///
/// # Errors
/// Where an option makes no sense, the interface is not allowed, or the kernel refuses.
pub fn run(options: &Options) -> Result<()> {
    options.check()?;
    ensure!(geteuid().is_root(), "the generator runs a BPF program, which needs root");
    let link = target::check(&options.iface, options.i_own_this_network.as_deref())?;
    if let Some(cpu) = options.cpu {
        pin(cpu)?;
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let mut generator = Generator::load(options, link)?;
    println!("{READY}");
    generator.send(options, &stop)?;
    println!("{}", serde_json::to_string(&generator.report()?)?);
    Ok(())
}

/// The line that says that frames begin.
pub const READY: &str = "sending";

/// The loaded program with its order.
struct Generator {
    ebpf: Ebpf,
    /// The interface, and what its MAC address is.
    index: u32,
    frame: Vec<u8>,
    /// The sink's attachment. `None` where another program is there, which then has to pass answers.
    _sink: Option<FdLink>,
}

impl Generator {
    fn load(options: &Options, link: target::Link) -> Result<Self> {
        let mut ebpf = object::load(OBJECT)?;
        let spec = Spec {
            macs: [options.mac.0, link.mac],
            from: options.from,
            to: options.to,
            length: options.length(),
        };
        for (at, segment) in options.kind.segments().iter().enumerate() {
            let template = spec.template(*segment);
            set(&mut ebpf, generate::TEMPLATES, at as u32, bytes_of::<TEMPLATE>(&template)?)?;
        }
        let order: [u8; size_of::<Order>()] = transmute!(options.order());
        set(&mut ebpf, generate::ORDER, 0, order)?;
        let random = Rng::new(options.seed).bits() | 1;
        let state: [u8; STATE] = transmute!(State { random, ..State::default() });
        set(&mut ebpf, generate::STATE, 0, state)?;
        let sink: [u8; size_of::<Sink>()] = transmute!(options.from.sink());
        set(&mut ebpf, generate::SINK, 0, sink)?;
        object::program(&mut ebpf, PROGRAM)?;
        let sink = attach_sink(&mut ebpf, &options.iface)?;
        Ok(Self { ebpf, index: link.index, frame: vec![0; spec.length], _sink: sink })
    }

    /// Sends until the time is over, the count is reached, or `stop` is set.
    fn send(&mut self, options: &Options, stop: &AtomicBool) -> Result<()> {
        // The alarm ends the call that runs; it would else take as long as all of its rounds.
        let over = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGALRM, Arc::clone(&over))?;
        let notify = SigevNotify::SigevSignal { signal: Signal::SIGALRM, si_value: 0 };
        let mut timer = Timer::new(ClockId::CLOCK_MONOTONIC, SigEvent::new(notify))?;
        let time = TimeSpec::from_duration(Duration::from_secs_f64(options.seconds));
        timer.set(Expiration::OneShot(time), TimerSetTimeFlags::empty())?;
        let end = now() + Duration::from_secs_f64(options.seconds);
        let is_over = || [&*over, stop].iter().any(|flag| flag.load(Ordering::Relaxed));
        while !is_over() && now() < end {
            let left = options.frames.saturating_sub(self.state()?.sent);
            if left == 0 {
                break;
            }
            self.call(options.rate > 0, u32::try_from(left).unwrap_or(u32::MAX))?;
        }
        Ok(())
    }

    /// One call into the kernel.
    fn call(&mut self, is_paced: bool, left: u32) -> Result<()> {
        // As struct xdp_md lies: data, its end, metadata, interface, queue, egress.
        let context = [0, self.frame.len() as u32, 0, self.index, 0, 0];
        let xdp: &Xdp = object::program(&mut self.ebpf, PROGRAM)?;
        // Where most rounds send nothing, the count of rounds says nothing of frames. Frames leave at the
        // end of a batch at the latest.
        let (repeat, batch) = if is_paced { (u32::MAX, PACED_BATCH) } else { (left, FLAT_OUT) };
        let run = xdp.test_run(TestRunOptions {
            data_in: Some(&self.frame),
            ctx_in: Some(context.as_bytes()),
            repeat,
            attrs: TestRunAttrs::new().xdp_live_frames(batch),
            ..TestRunOptions::new()
        });
        match run {
            Err(error) if !is_interrupted(&error) => Err(error).context("live frames"),
            _ => Ok(()),
        }
    }

    fn state(&mut self) -> Result<State> {
        let map = self.ebpf.map(generate::STATE).context("no map of the state")?;
        let map: Array<_, [u8; STATE]> = map.try_into()?;
        Ok(transmute!(map.get(&0, 0)?))
    }

    fn report(&mut self) -> Result<Report> {
        let state = self.state()?;
        let map = self.ebpf.map(generate::ANSWERS).context("no map of the answers")?;
        let map: PerCpuArray<_, u64> = map.try_into()?;
        let mut counts = [0; ANSWERS_LEN as usize];
        for (at, count) in (0..).zip(&mut counts) {
            *count = map.get(&at, 0)?.iter().sum();
        }
        let of = |answer: Answer| counts[answer as usize];
        Ok(Report {
            sent: state.sent,
            seconds: Duration::from_nanos(state.last - state.first).as_secs_f64(),
            held: state.held,
            waited: Duration::from_nanos(state.waited).as_secs_f64(),
            syn_acks: of(Answer::SynAck),
            resets: of(Answer::Reset),
            others: of(Answer::Other),
        })
    }
}

/// Attaches the sink, unless something is attached already: without any program the kernel knows no
/// receive queue of a veth that frames could be said to come from.
fn attach_sink(ebpf: &mut Ebpf, iface: &str) -> Result<Option<FdLink>> {
    let xdp = object::program(ebpf, generate::SINK_PROGRAM)?;
    match xdp.attach(iface, XdpMode::Driver) {
        Ok(link) => Ok(Some(xdp.take_link(link)?.try_into()?)),
        Err(error) if has_errno(&error, Errno::EBUSY) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("the sink on {iface}")),
    }
}

fn is_interrupted(error: &ProgramError) -> bool {
    has_errno(error, Errno::EINTR)
}

/// Whether the kernel said so.
fn has_errno(error: &ProgramError, errno: Errno) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(at) = source {
        if let Some(io) = at.downcast_ref::<std::io::Error>() {
            return io.raw_os_error() == Some(errno as i32);
        }
        source = at.source();
    }
    false
}

/// Sets an element of an array.
pub(crate) fn set<const N: usize>(
    ebpf: &mut Ebpf,
    name: &str,
    at: u32,
    value: [u8; N],
) -> Result<()> {
    let map = ebpf.map_mut(name).with_context(|| format!("no map {name}"))?;
    let mut map: Array<_, [u8; N]> = map.try_into().with_context(|| format!("map {name}"))?;
    map.set(at, value, 0).with_context(|| format!("map {name}"))
}

fn bytes_of<const N: usize>(value: &generate::Template) -> Result<[u8; N]> {
    value.as_bytes().try_into().context("a template is as long as it is")
}

const TEMPLATE: usize = size_of::<generate::Template>();
const STATE: usize = size_of::<State>();
/// The program's object.
const OBJECT: &str = "generate.o";
/// Rounds between two looks at whether somebody else wants the CPU, flat out.
const FLAT_OUT: u32 = 64;
/// The longest run in seconds.
const LONGEST: f64 = 600.0;

#[cfg(test)]
mod tests;
