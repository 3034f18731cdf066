//! The control thread: follows the kernel's changes, answers the shards, and ends in order.

use std::collections::HashMap;
use std::io::Write;
use std::os::fd::AsFd;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use sluice::control::front::FrontMaps;
use sluice::control::netlink::{Event, Netlink, Watch};
use sluice::control::program::attach_pass;
use sluice::datapath::{Clock, Running};
use sluice::shard::{Command, Request};
use sluice::time::{Duration, Instant};
use sluice::wire::{Addr, MacAddr};

use crate::cli::{PassOptions, RunOptions};
use crate::client::Driver;
use crate::plan::Plan;
use crate::setup::{self, Server, refuse};
use crate::signals::Signals;

/// `sluice run`.
pub(crate) fn run(options: &RunOptions) -> Result<()> {
    serve(options, None)
}

/// Serves until a signal, the end of the time, or the end of what `driver` opens.
pub(crate) fn serve(options: &RunOptions, mut driver: Option<&mut Driver>) -> Result<()> {
    let clock = Clock::start();
    let signals = Signals::take().context("signalfd")?;
    let mut netlink = Netlink::open().context("rtnetlink")?;
    // Before the first question, so that no change falls between the two.
    let watch = Watch::open().context("rtnetlink")?;
    let plan = Plan::make(options, &mut netlink)?;
    let mut server = setup::start(&plan, options, clock)?;
    for range in &plan.repaired {
        tracing::info!(%range, "took back local ports that a killed run had reserved");
    }
    let mut control = Control::new(&plan, netlink, watch);
    control.refresh(&server.running)?;
    say(&server.ready);
    if let Some(driver) = &mut driver {
        driver.begin(clock.now());
    }
    let end = options.limit.map_or(Instant::NEVER, |limit| clock.now() + limit);
    let Server { running, front, .. } = &mut server;
    let cause = control.serve((running, front), &signals, (end, driver.as_deref_mut()));
    if let Some(driver) = &driver {
        say(&driver.summary(&server.status.snapshot()));
    }
    if cause.is_ok() {
        wind_down(&mut server, &mut control, &signals, options.grace);
    }
    // Detached first: from here on frames are the kernel's.
    server.attached = None;
    server.running.stop();
    cause
}

/// `sluice pass`.
pub(crate) fn pass(options: &PassOptions) -> Result<()> {
    let signals = Signals::take().context("signalfd")?;
    let object = setup::object(options.program.clone())?;
    let _attached = attach_pass(&object, &options.iface).map_err(refuse)?;
    loop {
        wait(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], None)?;
        if signals.poll().is_some() {
            return Ok(());
        }
    }
}

/// A line for whoever started this; nobody may be reading.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Closes connections, and waits for that as long as the time of grace.
fn wind_down(server: &mut Server, control: &mut Control, signals: &Signals, grace: Duration) {
    let running = &server.running;
    let clock = running.clock();
    let deadline = clock.now() + grace;
    running.broadcast(&Command::Shutdown { deadline });
    // The resets of the deadline leave after it.
    let last = deadline + LINGER;
    while !running.is_drained() && clock.now() < last {
        // Neighbours are resolved to the last: the closing segments need them.
        if control.hear(running).is_err() {
            return;
        }
        control.answer(running);
        let left = last.since(clock.now());
        if control.wait(running, signals, Some(left)).is_err() {
            return;
        }
        if let Some(signal) = signals.poll() {
            tracing::info!(signal, "ending at once");
            return;
        }
        if running.poll_ended().is_some() {
            return;
        }
    }
}

/// What the control thread knows and asks.
struct Control {
    /// The interface's number and name.
    interface: (u32, String),
    /// The addresses that are served.
    addrs: Vec<Addr>,
    /// Whether routes and neighbours are the kernel's.
    is_shared: bool,
    netlink: Netlink,
    watch: Watch,
    /// Neighbours that the kernel has resolved.
    neighbours: HashMap<Addr, MacAddr>,
    is_up: bool,
}

impl Control {
    fn new(plan: &Plan, netlink: Netlink, watch: Watch) -> Self {
        Self {
            interface: (plan.link.index, plan.link.name.clone()),
            addrs: plan.addrs.clone(),
            is_shared: !plan.is_owned,
            netlink,
            watch,
            neighbours: HashMap::new(),
            is_up: true,
        }
    }

    /// Serves until a signal, the end of the time or that of what is driven; an error when the
    /// workers cannot go on.
    fn serve(
        &mut self,
        (running, front): (&Running, &mut FrontMaps),
        signals: &Signals,
        (end, mut driver): (Instant, Option<&mut Driver>),
    ) -> Result<()> {
        let clock = running.clock();
        loop {
            if let Some(signal) = signals.poll() {
                tracing::info!(signal, "closing connections");
                return Ok(());
            }
            if clock.now() >= end {
                tracing::info!("the time is over: closing connections");
                return Ok(());
            }
            if let Some(ended) = running.poll_ended() {
                let error = ended.error.map_or_else(String::new, |error| error.to_string());
                bail!("worker {} ended: {error}", ended.shard);
            }
            self.hear(running)?;
            self.answer(running);
            front.renew_keys(clock.now());
            // Keys are renewed in time whatever else happens.
            let mut left = Some(end.since(clock.now()).min(RENEWAL));
            if let Some(driver) = &mut driver {
                if driver.pump(running) {
                    return Ok(());
                }
                let interval = driver.interval();
                left = Some(left.map_or(interval, |left| left.min(interval)));
            }
            self.wait(running, signals, left)?;
        }
    }

    fn wait(
        &mut self,
        running: &Running,
        signals: &Signals,
        timeout: Option<Duration>,
    ) -> Result<()> {
        // What was put in between is seen here; what comes later is told.
        let is_busy = running.prepare_wait();
        let timeout = if is_busy { Some(Duration::ZERO) } else { timeout };
        let mut fds = [
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.watch.as_fd(), PollFlags::POLLIN),
            PollFd::new(running.as_fd(), PollFlags::POLLIN),
        ];
        let waited = wait(&mut fds, timeout);
        running.finish_wait();
        waited
    }

    /// Answers what the shards ask: the kernel has the latest, and keeps it fresh when asked.
    fn answer(&mut self, running: &Running) {
        while let Some((shard, Request::Resolve(addr))) = running.poll_request() {
            let answer = self.netlink.resolve(self.interface.0, addr).unwrap_or_else(|err| {
                tracing::debug!(%addr, %err, "the kernel does not resolve a neighbour");
                None
            });
            // What the kernel forgot may do until it has resolved the neighbour again.
            if let Some(mac) = answer.or_else(|| self.neighbours.get(&addr).copied()) {
                self.neighbours.insert(addr, mac);
                // A full queue: the shard asks again.
                let _ = running.send(shard, Command::Neighbour { addr, mac: Some(mac) });
            }
        }
    }

    /// Follows changes of the interface, its routes and neighbours.
    fn hear(&mut self, running: &Running) -> Result<()> {
        let mut events = Vec::new();
        self.watch.poll(&mut events);
        let mut is_stale = false;
        for event in events {
            match event {
                Event::Link(link) if link.index == self.interface.0 => {
                    self.on_link(link.is_up);
                    // IPv4 routes go with their link without a message of their own.
                    is_stale = true;
                }
                Event::LinkGone { interface } if interface == self.interface.0 => {
                    bail!("the interface {} was removed", self.interface.1);
                }
                Event::AddressGone(address)
                    if address.interface == self.interface.0
                        && self.is_shared
                        && self.addrs.contains(&address.addr) =>
                {
                    tracing::warn!(addr = %address.addr, "an address that is served was removed");
                    is_stale = true;
                }
                Event::Route { .. }
                | Event::RouteGone
                | Event::Address(_)
                | Event::AddressGone(_) => is_stale = true,
                Event::Lost => {
                    is_stale = true;
                    // The neighbours that are left are told again.
                    self.neighbours.clear();
                }
                Event::Neighbour { interface, addr, mac } if interface == self.interface.0 => {
                    self.on_neighbour(addr, mac, running);
                }
                Event::Link(_) | Event::LinkGone { .. } | Event::Neighbour { .. } => {}
            }
        }
        if is_stale { self.refresh(running) } else { Ok(()) }
    }

    fn on_link(&mut self, is_up: bool) {
        let name = &self.interface.1;
        match (self.is_up, is_up) {
            (true, false) => tracing::warn!("{name} is down: waiting for it"),
            (false, true) => tracing::info!("{name} is up again"),
            _ => {}
        }
        self.is_up = is_up;
    }

    fn on_neighbour(&mut self, addr: Addr, mac: Option<MacAddr>, running: &Running) {
        if !self.is_shared {
            return;
        }
        let known = match mac {
            Some(mac) => self.neighbours.insert(addr, mac),
            None => self.neighbours.remove(&addr),
        };
        // What is unresolvable is told each time: a shard may have asked anew.
        if mac.is_none() || known != mac {
            running.broadcast(&Command::Neighbour { addr, mac });
        }
    }

    /// Asks for the link, routes and neighbours anew and tells the shards.
    fn refresh(&mut self, running: &Running) -> Result<()> {
        // The kernel tells of a link before it has taken the link's routes; this question waits
        // until it has.
        match self.netlink.link_at(self.interface.0) {
            Ok(Some(link)) => self.on_link(link.is_up),
            Ok(None) => bail!("the interface {} was removed", self.interface.1),
            Err(err) => tracing::warn!(%err, "the link cannot be read"),
        }
        if !self.is_shared {
            return Ok(());
        }
        match self.netlink.routes(self.interface.0) {
            Ok(routes) => {
                running.broadcast(&Command::Routes(Arc::from(routes)));
            }
            Err(err) => tracing::warn!(%err, "the routes cannot be read"),
        }
        match self.netlink.neighbours(self.interface.0) {
            Ok(neighbours) => {
                for (addr, mac) in neighbours {
                    self.on_neighbour(addr, Some(mac), running);
                }
            }
            Err(err) => tracing::warn!(%err, "the neighbours cannot be read"),
        }
        Ok(())
    }
}

/// Waits until one of them can be read, so long at most.
pub(crate) fn wait(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> Result<()> {
    match ppoll(fds, timeout.map(TimeSpec::from_duration), None) {
        Ok(_) | Err(nix::Error::EINTR) => Ok(()),
        Err(errno) => Err(errno).context("ppoll"),
    }
}

/// How often the keys of cookies are looked after.
const RENEWAL: Duration = Duration::from_secs(60);
/// How long after the deadline the last resets may take.
const LINGER: Duration = Duration::from_millis(200);
