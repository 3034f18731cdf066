//! From a plan to workers that run: what is held meanwhile is given back when dropped, in the order
//! of its fields.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};

use sluice::control::Refusal;
use sluice::control::blocks::Blocks;
use sluice::control::config::{ServiceKind, SynLimit};
use sluice::control::front::{FrontMaps, FrontSize};
use sluice::control::maps::Maps;
use sluice::control::ports::{self, HeldPorts, ReservedPorts};
use sluice::control::probe::{self, Membership, Place};
use sluice::control::program::{Attached, Program, object_path};
use sluice::control::receive_hash;
use sluice::datapath::{
    Clock, CopyMode, Datapath, DatapathConfig, Error, Running, Waiting, shared,
};
use sluice::observe::{Board, Facts, Published};
use sluice::service::http::Status;
use sluice::service::{Chargen, Client, Discard, Echo, Http, Service};
use sluice::shard::{Command, Limits, LocalAddr, Secrets, Shard, ShardConfig};
use sluice::tables::listeners::Listener;
use sluice::tables::region::{Identity, Region};
use sluice::tables::rss::Rss;
use sluice::tcp::SynCookies;
use sluice::time::Duration;
use sluice::wire::Addr;
use stack_ebpf::contract::{Address, Config};
use stack_ebpf::flows;
use stack_ebpf::front::{Budget, Front};
use zerocopy::FromZeros;

use crate::cli::RunOptions;
use crate::plan::Plan;

/// A server that serves.
pub(crate) struct Server {
    /// The program's hold on the interface; `None` once it has been let go.
    pub(crate) attached: Option<Attached>,
    /// The workers.
    pub(crate) running: Running,
    /// The line that says so.
    pub(crate) ready: String,
    /// What the workers count.
    pub(crate) status: Arc<dyn Status>,
    /// The front line's arrays, and its keys.
    pub(crate) front: FrontMaps,
    /// For other processes to read the shards' regions.
    _regions: Vec<OwnedFd>,
    _reserved: Option<ReservedPorts>,
    _held: Option<HeldPorts>,
    _groups: Vec<Membership>,
}

/// Takes hold of everything and starts the workers.
pub(crate) fn start(plan: &Plan, options: &RunOptions, clock: Clock) -> Result<Server> {
    let object = object(options.program.clone())?;
    let held = match plan.is_owned {
        true => None,
        false => Some(ports::hold(&plan.listeners, &plan.addrs, plan.link.index)?),
    };
    let mut program = Program::load_for(&object, front_size(plan, options)).map_err(refuse)?;
    tell(&mut program.maps, plan, options)?;
    limit(&mut program.blocks, plan, options)?;
    let place = place(plan, options);
    let groups = join(plan)?;
    make_sure(plan, place, clock)?;
    let attached = program.attach(&plan.link.name, options.mode.into()).map_err(refuse)?;
    let datapath = open(plan, options, clock)?;
    for (queue, socket) in datapath.sockets().enumerate() {
        let set = program.maps.set_socket(u32::try_from(queue)?, &socket);
        set.context("a socket cannot be given to the program")?;
    }
    let reserved = match plan.local_ports {
        Some(range) if !plan.is_owned => Some(ports::reserve(range)?),
        _ => None,
    };
    let copying = if datapath.is_zero_copy() { "zero-copy" } else { "copy" };
    let mode = format!("{},{copying}", attached.mode);
    let ready = ready_line(plan, &mode);
    let (regions, words) = memory(plan, options)?;
    let secrets = secrets()?;
    let (status, mut stacks) = stacks(plan, options, (mode, program.maps, words, secrets), clock)?;
    let front = front(program.front, options, (&secrets, clock))?;
    let rss = rss(plan);
    for (index, (shard, _)) in (0..).zip(&mut stacks) {
        shard.set_front(front.words(index));
        if let Some(rss) = &rss {
            shard.set_rss(Arc::clone(rss));
        }
    }
    let running = datapath.start(stacks).context("the workers cannot be started")?;
    if let Some(err) = &attached.native_refused {
        tracing::warn!(%err, "native mode is not to be had: the program is attached in generic mode");
    }
    announce(plan, place);
    connect(options, plan, &running)?;
    Ok(Server {
        attached: Some(attached),
        running,
        ready,
        status,
        front,
        _regions: regions,
        _reserved: reserved,
        _held: held,
        _groups: groups,
    })
}

/// How the interface spreads segments over its queues, where there are several and connections are
/// opened.
fn rss(plan: &Plan) -> Option<Arc<Rss>> {
    if plan.queues < 2 || plan.local_ports.is_none() {
        return None;
    }
    match receive_hash::read(&plan.link.name, plan.queues) {
        Ok(rss) => {
            tracing::info!(?rss, "local ports are chosen by the queue of their answers");
            Some(Arc::new(rss))
        }
        Err(why) => {
            tracing::info!(%why, "local ports are chosen without regard to queues");
            None
        }
    }
}

/// How large the arrays of the front line are.
fn front_size(plan: &Plan, options: &RunOptions) -> FrontSize {
    let flows = match plan.tcp.syn_cookies {
        // No gate is ever closed.
        SynCookies::Never => 0,
        SynCookies::WhenFull | SynCookies::Always => limits(plan, options).layout().flows,
    };
    FrontSize {
        shards: plan.queues,
        doors: plan.listeners.len().max(1) as u32,
        buckets: flows::buckets_for(flows),
        sources: if options.syn_limit.is_some() { SOURCES } else { 1 },
    }
}

/// Tells the front line what holds for all shards.
fn front(
    mut maps: FrontMaps,
    options: &RunOptions,
    (secrets, clock): (&Secrets, Clock),
) -> Result<FrontMaps> {
    let mut nonce = [0; 8];
    getrandom::fill(&mut nonce).context("the kernel gives no random numbers")?;
    let tcp = options.transport.config()?;
    let flags = if options.trust_checksums { Front::TRUSTS_CHECKSUMS } else { 0 };
    let front = Front {
        origin: clock.origin().context("CLOCK_MONOTONIC")?,
        nonce: u64::from_ne_bytes(nonce) | 1,
        stray_cost: Budget::cost_of(STRAYS),
        reset_cost: Budget::cost_of(options.transport.resets()),
        flags,
        traffic_class: tcp.traffic_class.into(),
        hop_limit: tcp.hop_limit.into(),
        ..Front::new_zeroed()
    };
    maps.set(&front, secrets, clock.now());
    Ok(maps)
}

/// The program's object: what was named, else what is found.
pub(crate) fn object(named: Option<PathBuf>) -> Result<PathBuf> {
    match named {
        Some(path) => Ok(path),
        None => object_path().map_err(refuse),
    }
}

/// An error of the set-up, which tells what to do itself, as what the user has to change.
pub(crate) fn refuse(err: impl core::fmt::Display) -> anyhow::Error {
    Refusal::new(err, "nothing was changed").into()
}

/// Tells the program what is ours.
fn tell(maps: &mut Maps, plan: &Plan, options: &RunOptions) -> Result<()> {
    let ports = plan.local_ports.filter(|_| !plan.is_owned);
    maps.set_config(Config {
        mac: plan.link.mac.0,
        vlan: options.vlan.unwrap_or(0),
        ports_first: ports.map_or(0, |range| range.first),
        ports_last: ports.map_or(0, |range| range.last),
    })?;
    let kind = if plan.is_owned { Address::Own } else { Address::Shared };
    for addr in &plan.addrs {
        maps.set_address(*addr, kind).map_err(refuse)?;
    }
    for listener in &plan.listeners {
        maps.set_listener(listener.addr, listener.port).map_err(refuse)?;
    }
    Ok(())
}

/// Tells the program whom not to hear, and how often.
fn limit(blocks: &mut Blocks, plan: &Plan, options: &RunOptions) -> Result<()> {
    blocks.add(&plan.blocked).map_err(refuse)?;
    if let Some(SynLimit { rate, burst }) = options.syn_limit {
        blocks.limit_syns(rate, burst)?;
    }
    Ok(())
}

fn place(plan: &Plan, options: &RunOptions) -> Place {
    Place { index: plan.link.index, mac: plan.link.mac, vlan: options.vlan }
}

/// The addresses that are ours alone.
fn own(plan: &Plan) -> impl Iterator<Item = &Addr> {
    plan.addrs.iter().filter(|_| plan.is_owned)
}

/// Has the interface take the frames by which own addresses of IPv6 are asked for (RFC 4862, 5.4.2:
/// before they are probed).
fn join(plan: &Plan) -> Result<Vec<Membership>> {
    let join = |addr: &Addr| {
        let joined = Membership::join(plan.link.index, addr);
        joined.with_context(|| format!("{} does not join the group of {addr}", plan.link.name))
    };
    own(plan).filter(|addr| !addr.is_v4()).map(join).collect()
}

/// Refuses an own address that another host has.
fn make_sure(plan: &Plan, place: Place, clock: Clock) -> Result<()> {
    for addr in own(plan) {
        let conflict = probe::probe(place, *addr, clock)
            .with_context(|| format!("{addr} cannot be probed on {}", plan.link.name))?;
        if let Some(conflict) = conflict {
            let what = format!("--addr {addr} is in use by {}", conflict.owner);
            return Err(Refusal::new(what, "give an address that nobody has").into());
        }
    }
    Ok(())
}

fn announce(plan: &Plan, place: Place) {
    for addr in own(plan) {
        if let Err(err) = probe::announce(place, *addr) {
            tracing::warn!(%addr, %err, "the address could not be announced");
        }
    }
}

fn open(plan: &Plan, options: &RunOptions, clock: Clock) -> Result<Datapath> {
    let copy = match (options.copy, options.zero_copy) {
        (true, _) => CopyMode::Copy,
        (_, true) => CopyMode::ZeroCopy,
        _ => CopyMode::Auto,
    };
    let config = DatapathConfig {
        interface: plan.link.name.clone(),
        mtu: plan.mtu,
        queues: plan.queues,
        copy,
        cpus: plan.cpus.clone(),
        waiting: match options.busy_poll {
            true => Waiting::BusyPoll,
            false => Waiting::Sleep(Duration::from_micros(options.spin)),
        },
        clock,
    };
    let name = &plan.link.name;
    Datapath::open(config).map_err(|err| {
        let errno = match &err {
            Error::Bind(err) | Error::Umem(err) => err.raw_os_error(),
            _ => None,
        };
        let remedy = match errno {
            Some(nix::libc::EOPNOTSUPP | nix::libc::EINVAL) if options.zero_copy => {
                format!("the driver of {name} has no zero-copy mode, leave out --zero-copy")
            }
            Some(nix::libc::EBUSY) => {
                format!("another process has an AF_XDP socket on {name}, stop it")
            }
            Some(nix::libc::ENOBUFS | nix::libc::ENOMEM) => {
                "run with CAP_IPC_LOCK or raise `ulimit -l`".to_owned()
            }
            Some(nix::libc::EAFNOSUPPORT) => "use a kernel with CONFIG_XDP_SOCKETS".to_owned(),
            _ => format!("see what {name} and its driver allow"),
        };
        Refusal::new(err, remedy).into()
    })
}

/// One shard for each queue, with what it publishes to.
type Stacks = Vec<(Shard, Published)>;

/// The shards, and who reads all of that.
fn stacks(
    plan: &Plan,
    options: &RunOptions,
    (mode, maps, regions, secrets): (String, Maps, Vec<Region>, Secrets),
    clock: Clock,
) -> Result<(Arc<dyn Status>, Stacks)> {
    let published: Vec<_> = (0..plan.queues).map(|_| Published::default()).collect();
    let facts = Facts {
        interface: plan.link.name.clone(),
        addresses: plan.addrs.clone(),
        listeners: plan
            .listeners
            .iter()
            .map(|listener| (listener.port, listener.service.name().to_owned()))
            .collect(),
        mode,
    };
    let program = move || {
        let counters = maps.counters().unwrap_or_default();
        counters.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    };
    let read_clock = Box::new(move || clock.now());
    let board: Arc<dyn Status> =
        Arc::new(Board::new(facts, published.clone(), read_clock, Box::new(program)));
    let mut shards = (0..)
        .zip(regions)
        .map(|(index, region)| {
            let services = services(plan, options, (index, &board));
            Ok(Shard::over(region, shard_config(plan, options, index, secrets)?, services))
        })
        .collect::<Result<Vec<_>>>()?;
    let readers: Vec<_> =
        (0..).zip(&shards).map(|(index, shard)| (index, shard.flow_reader())).collect();
    for (index, shard) in (0..).zip(&mut shards) {
        let others = readers.iter().filter(|(other, _)| *other != index);
        shard.set_peers(others.cloned().collect());
    }
    Ok((board, shards.into_iter().zip(published).collect()))
}

/// Memory for each shard that other processes can read, and the regions in it.
fn memory(plan: &Plan, options: &RunOptions) -> Result<(Vec<OwnedFd>, Vec<Region>)> {
    let layout = limits(plan, options).layout();
    let mut boot = [0; 16];
    getrandom::fill(&mut boot).context("the kernel gives no random numbers")?;
    let make = |shard: u16| {
        let name = format!("sluice-shard-{shard}");
        let (fd, words) = shared::create(&name, layout.words()).context("memory for the tables")?;
        let boot = u128::from_ne_bytes(boot);
        let process = std::process::id();
        let identity = Identity { boot, process, shard, shards: plan.queues };
        Ok((fd, Region::create(words, layout, identity)))
    };
    (0..plan.queues).map(make).collect()
}

/// The bounds of each shard's tables.
fn limits(plan: &Plan, options: &RunOptions) -> Limits {
    let mut limits = Limits::default();
    for (most, limit) in [
        (options.max_connections, &mut limits.connections),
        (options.max_half_open, &mut limits.half_open),
        (options.max_time_wait, &mut limits.time_wait),
    ] {
        if let Some(most) = most {
            *limit = most.div_ceil(u32::from(plan.queues)) as usize;
        }
    }
    limits
}

fn shard_config(
    plan: &Plan,
    options: &RunOptions,
    index: u16,
    secrets: Secrets,
) -> Result<ShardConfig> {
    let local_ports = match plan.local_ports {
        Some(range) => range.part(index, plan.queues).ok_or_else(|| anyhow!("too few ports"))?,
        // No active open will ask.
        #[expect(clippy::reversed_empty_ranges, reason = "an empty range of ports")]
        None => 1..=0,
    };
    Ok(ShardConfig {
        index,
        mac: plan.link.mac,
        mtu: plan.mtu,
        vlan: options.vlan,
        addrs: plan
            .addrs
            .iter()
            .map(|addr| LocalAddr { addr: *addr, is_owned: plan.is_owned })
            .collect(),
        routes: plan.routes.clone().into(),
        listeners: (0..)
            .zip(&plan.listeners)
            .map(|(service, spec)| {
                let listener = Listener::new(spec.addr, spec.port, service);
                let backlog = options.backlog.unwrap_or(listener.backlog);
                Listener { backlog, ..listener }
            })
            .collect(),
        local_ports,
        verify_checksums: !options.trust_checksums,
        secrets,
        limits: limits(plan, options),
        tcp: plan.tcp.clone(),
    })
}

/// Those of the listeners, then those of the connections to open, in their order, then that of the
/// load.
fn services(
    plan: &Plan,
    options: &RunOptions,
    (shard, board): (u16, &Arc<dyn Status>),
) -> Vec<Box<dyn Service>> {
    let kinds = plan.listeners.iter().map(|spec| spec.service);
    let kinds = kinds.chain(options.connect.iter().map(|spec| spec.service));
    let load = options.load.iter().map(|load| -> Box<dyn Service> {
        let target = load.target(shard, plan.queues, &plan.addrs);
        Box::new(Client::new(load.task, target, Arc::clone(&load.tally)))
    });
    kinds
        .map(|kind| -> Box<dyn Service> {
            match kind {
                ServiceKind::Echo => Box::new(Echo),
                ServiceKind::Discard => Box::new(Discard),
                ServiceKind::Chargen => Box::new(Chargen),
                ServiceKind::Http => Box::new(Http::new(Arc::clone(board))),
            }
        })
        .chain(load)
        .collect()
}

/// Secrets of this run.
pub(crate) fn secrets() -> Result<Secrets> {
    let key = || {
        let mut key = [0; 16];
        getrandom::fill(&mut key).map(|()| key).context("the kernel gives no random numbers")
    };
    Ok(Secrets { flow: key()?, isn: key()?, port: key()? })
}

/// Asks the shards in turn to open the connections.
fn connect(options: &RunOptions, plan: &Plan, running: &Running) -> Result<()> {
    for (index, peer) in options.connect.iter().enumerate() {
        let service = u16::try_from(plan.listeners.len() + index)?;
        let shard = (index % usize::from(running.count())) as u16;
        let command = Command::Connect { remote: peer.addr, remote_port: peer.port, service };
        if running.send(shard, command).is_err() {
            tracing::warn!(addr = %peer.addr, "a connection was not opened: the queue is full");
        }
    }
    Ok(())
}

/// What `cargo xtask run` and people read.
fn ready_line(plan: &Plan, mode: &str) -> String {
    let addresses: Vec<String> = plan.addrs.iter().map(ToString::to_string).collect();
    let address = addresses.join(",");
    let listeners: String = plan.listeners.iter().map(|spec| format!("{spec} ")).collect();
    let (name, queues) = (&plan.link.name, plan.queues);
    format!("ready: {name} {address} {listeners}mode={mode} queues={queues}")
}

/// Acknowledgments of no known flow that go to shards in a second from each CPU, while not all flows are
/// known.
const STRAYS: u32 = 20_000;
/// Sources whose SYNs are counted, where they are limited; of more than that, those that came last.
const SOURCES: u32 = 1 << 16;
