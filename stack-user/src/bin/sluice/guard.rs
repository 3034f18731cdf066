//! `sluice guard`: the front line before listeners of the kernel. Checks what it needs, follows what
//! changes, says what was done, and leaves everything as it was.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use nix::poll::{PollFd, PollFlags};

use sluice::control::Refusal;
use sluice::control::guard::{Counts, Guard, Held, kernels_offer, object_path};
use sluice::control::netlink::{Event, Netlink, Watch};
use sluice::control::ports::is_listened;
use sluice::control::sysctl::{self, Changed};
use sluice::datapath::Clock;
use sluice::time::{Duration, Instant};
use sluice::wire::Addr;
use stack_ebpf::front::{Budget, Front};
use zerocopy::FromZeros;

use crate::capabilities;
use crate::cli::{Mode, seconds};
use crate::plan::link;
use crate::serve::{say, wait};
use crate::setup::{refuse, secrets};
use crate::signals::Signals;

/// The options of `sluice guard`.
#[derive(Debug, Args)]
pub(crate) struct GuardOptions {
    /// The interface by which the flood would come.
    #[arg(long, value_name = "IFACE")]
    pub(crate) iface: String,
    /// A TCP port that is guarded at every address of this host, whoever listens there. Any number of
    /// them.
    #[arg(long = "port", value_name = "PORT", required = true, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) ports: Vec<u16>,
    /// How the XDP program is attached.
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) mode: Mode,
    /// Sets net.ipv4.tcp_syncookies to 1 where it is 0, and puts it back at the end.
    #[arg(long)]
    pub(crate) set_sysctls: bool,
    /// Believes TCP checksums of received SYNs: for a link known to be local.
    #[arg(long)]
    pub(crate) trust_checksums: bool,
    /// Time between two lines that say what was done, in seconds; 0 for none but the last.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) report: Duration,
    /// Ends by itself after this time, in seconds.
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) limit: Option<Duration>,
    /// The guard's object file; without it `sluice-guard.o` beside or above the executable.
    #[arg(long, value_name = "FILE")]
    pub(crate) program: Option<PathBuf>,
}

/// `sluice guard`.
pub(crate) fn run(options: &GuardOptions) -> Result<()> {
    let clock = Clock::start();
    let signals = Signals::take().context("signalfd")?;
    // Before the first question, so that no change falls between the two.
    let watch = Watch::open().context("rtnetlink")?;
    capabilities::check()?;
    let mut netlink = Netlink::open().context("rtnetlink")?;
    let index = link(&options.iface, &mut netlink)?.index;
    let object = options.program.clone().map_or_else(object_path, Ok).map_err(refuse)?;
    // It goes after the programs.
    let changed = enable_cookies(options.set_sysctls)?;
    let mut guard = Guard::load(&object).map_err(refuse)?;
    guard.set(&front(options, clock)?, (&secrets()?, clock.now()))?;
    let mut guarding = Guarding { options, index, netlink, watch, guard, last: Counts::default() };
    guarding.refresh()?;
    let held = guarding.guard.attach(&options.iface, options.mode.into()).map_err(refuse)?;
    if changed.is_some() {
        tracing::info!("{COOKIES} is 1 until the end, then 0 again");
    }
    guarding.greet(&held)?;
    let done = guarding.serve(&signals, clock);
    drop(held);
    // Also after an error.
    say(&guarding.line()?);
    done
}

/// What holds for every listener.
fn front(options: &GuardOptions, clock: Clock) -> Result<Front> {
    let mut nonce = [0; 8];
    getrandom::fill(&mut nonce).context("the kernel gives no random numbers")?;
    let hops = sysctl::read("net.ipv4.ip_default_ttl").context("net.ipv4.ip_default_ttl")?;
    Ok(Front {
        origin: clock.origin().context("CLOCK_MONOTONIC")?,
        nonce: u64::from_ne_bytes(nonce) | 1,
        stray_cost: Budget::cost_of(STRAYS),
        flags: if options.trust_checksums { Front::TRUSTS_CHECKSUMS } else { 0 },
        hop_limit: hops,
        ..Front::new_zeroed()
    })
}

/// Without cookies the kernel takes no connection that is handed to a listener.
fn enable_cookies(may_change: bool) -> Result<Option<Changed>> {
    match sysctl::read(COOKIES) {
        Ok(0) if may_change => {
            let changed = Changed::to(COOKIES, 1);
            let changed = changed.map_err(|err| {
                Refusal::new(
                    format_args!("{COOKIES} cannot be set to 1: {err}"),
                    "make /proc/sys writable, or set it by hand",
                )
            })?;
            Ok(Some(changed))
        }
        Ok(0) => Err(Refusal::new(
            format_args!("{COOKIES} is 0, with which the kernel takes no connection by a cookie"),
            format_args!("`sysctl -w {COOKIES}=1`, or --set-sysctls"),
        )
        .into()),
        Ok(_) => Ok(None),
        Err(err) => Err(Refusal::new(
            format_args!("{COOKIES} cannot be read: {err}"),
            "mount /proc, and use a kernel with CONFIG_SYN_COOKIES",
        )
        .into()),
    }
}

/// A guard at work.
struct Guarding<'a> {
    options: &'a GuardOptions,
    /// The interface's number.
    index: u32,
    netlink: Netlink,
    watch: Watch,
    guard: Guard,
    /// What was said last.
    last: Counts,
}

impl Guarding<'_> {
    /// Says that it has begun, and of what the user should know.
    fn greet(&self, held: &Held) -> Result<()> {
        if let Some(err) = &held.xdp.native_refused {
            tracing::warn!(%err, "native mode is not to be had: the program is attached in generic mode");
        }
        for port in &self.options.ports {
            if !is_listened(*port) {
                tracing::warn!(
                    port,
                    "nobody listens there yet: the kernel answers until somebody does"
                );
            }
        }
        let ports: Vec<_> = self.options.ports.iter().map(u16::to_string).collect();
        let (iface, mode) = (&self.options.iface, held.xdp.mode);
        say(&format!("ready: {iface} ports={} mode={mode}", ports.join(",")));
        Ok(())
    }

    /// Guards until a signal or the end of the time.
    fn serve(&mut self, signals: &Signals, clock: Clock) -> Result<()> {
        let end = self.options.limit.map_or(Instant::NEVER, |limit| clock.now() + limit);
        let interval = self.options.report;
        let mut report = clock.now() + interval;
        loop {
            if let Some(signal) = signals.poll() {
                tracing::info!(signal, "ending");
                return Ok(());
            }
            let now = clock.now();
            if now >= end {
                return Ok(());
            }
            self.hear()?;
            self.guard.renew_keys(now);
            if interval > Duration::ZERO && now >= report {
                report = now + interval;
                self.report()?;
            }
            let mut left = end.since(now).min(TICK);
            if interval > Duration::ZERO {
                left = left.min(report.since(now));
            }
            let mut fds = [
                PollFd::new(signals.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.watch.as_fd(), PollFlags::POLLIN),
            ];
            wait(&mut fds, Some(left))?;
        }
    }

    /// Follows changes of addresses, of the interface and of settings.
    fn hear(&mut self) -> Result<()> {
        let mut events = Vec::new();
        self.watch.poll(&mut events);
        for event in &events {
            if matches!(event, Event::LinkGone { interface } if *interface == self.index) {
                bail!("the interface {} was removed", self.options.iface);
            }
        }
        self.refresh()
    }

    /// Tells the programs what this host has and would offer.
    fn refresh(&mut self) -> Result<()> {
        let link = self.netlink.link_at(self.index).context("rtnetlink does not tell of links")?;
        let link =
            link.with_context(|| format!("the interface {} was removed", self.options.iface))?;
        let door = kernels_offer(link.mtu).context("the kernel's settings cannot be read")?;
        self.guard.offer(link.mac, &door)?;
        let addresses =
            self.netlink.all_addresses().context("rtnetlink does not tell addresses")?;
        let addrs: BTreeSet<Addr> = addresses.into_iter().map(|address| address.addr).collect();
        let ports = &self.options.ports;
        let places = addrs.iter().flat_map(|addr| ports.iter().map(|port| (*addr, *port)));
        Ok(self.guard.guard(&places.collect())?)
    }

    /// Says what was done, if anything was.
    fn report(&mut self) -> Result<()> {
        let counts = self.guard.counts()?;
        if counts != self.last {
            self.last = counts;
            say(&self.line()?);
        }
        if counts.bare > 0 {
            tracing::warn!(
                "the driver leaves no room ahead of frames: connections are reset, here it cannot guard"
            );
        }
        if counts.declined > 0 && sysctl::read(COOKIES).is_ok_and(|value| value == 0) {
            tracing::warn!("{COOKIES} was set to 0: the kernel takes no connection");
        }
        Ok(())
    }

    fn line(&self) -> Result<String> {
        let Counts { answered, verified, refused, passed, bare, granted, declined } =
            self.guard.counts()?;
        Ok(format!(
            "guard: syns_answered={answered} acks_verified={verified} refused={refused} \
             passed={passed} bare={bare} connections={granted} declined={declined}"
        ))
    }
}

/// The sysctl without which the kernel takes no cookie, its own or another's, for a connection.
const COOKIES: &str = "net.ipv4.tcp_syncookies";
/// How often what may change without a word is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How many segments of no connection and no cookie each CPU passes to the kernel in a second, which may
/// have sent a cookie itself, and else resets.
const STRAYS: u32 = 1_000;
