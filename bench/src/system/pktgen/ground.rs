//! Where the frames of `bench pktgen` go, and who counts them there.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use aya::Ebpf;
use aya::maps::{DevMap, HashMap, PerCpuArray};
use aya::programs::XdpMode;
use nix::net::if_::if_nametoindex;
use stack_ebpf::generate::{self, Answer, Sink};
use stack_ebpf::impair::{self, Port};
use zerocopy::transmute;

use super::Fate;
use super::source::Stream;
use crate::generator::{Mac, set};
use crate::object;
use crate::system::bed::Room;
use crate::system::process::Process;
use crate::system::quiet;
use crate::system::stop::Stop;
use crate::topology::{
    Between, CLIENT_END, Link, Namespace, Offloads, SERVER_END, SERVER_MAC, Topology, text,
};

/// Namespaces with a receiver, or somebody else's.
pub(super) struct Ground {
    receiver: Receiver,
    kind: Fate,
    to: SocketAddrV4,
    queues: u32,
    /// How Sluice works, as it says.
    mode: String,
    cpus: Vec<usize>,
    mac: Mac,
    topology: Option<Topology>,
}

/// Who takes the frames. Stands before the namespaces that it is in.
enum Receiver {
    /// Sluice, asked by HTTP what it has counted.
    Sluice { _process: Option<Process> },
    /// A program that redirects, and one behind it that counts.
    Programs { sink: Ebpf, _redirect: Ebpf },
}

impl Ground {
    /// In namespaces of its own.
    pub(super) fn make(room: &Room, kind: Fate, queues: u32) -> Result<Self> {
        let link = Link { mtu: 1_500, offloads: Offloads::Off };
        let topology = Topology::with_queues(link, Between::Nothing, queues)?;
        let to = SocketAddrV4::new(ADDRESS, 9);
        let neighbour =
            format!("{ADDRESS} lladdr {} dev {CLIENT_END} nud permanent", text(SERVER_MAC));
        topology.client.ip(&format!("neighbour replace {neighbour}"))?;
        let (receiver, mode) = match kind {
            Fate::Receive | Fate::Drop => sluice(room, &topology, queues)?,
            Fate::Forward => (programs(&topology.server, queues)?, "native".into()),
        };
        let mut cpus = match queues {
            1 => vec![room.places.client],
            _ => vec![room.places.server, room.places.client],
        };
        cpus.dedup();
        let mac = Mac(SERVER_MAC);
        Ok(Self { receiver, kind, to, queues, mode, cpus, mac, topology: Some(topology) })
    }

    /// Behind an interface of this namespace; frames come from so many CPUs.
    pub(super) fn outside((to, mac): (SocketAddrV4, Mac), cpus: &[usize]) -> Self {
        Self {
            receiver: Receiver::Sluice { _process: None },
            kind: Fate::Receive,
            to,
            queues: cpus.len() as u32,
            mode: "unknown: not ours".into(),
            cpus: cpus.to_vec(),
            mac,
            topology: None,
        }
    }

    /// The stream for it.
    pub(super) fn stream(&self, size: usize, seconds: f64) -> Stream {
        Stream {
            kind: self.kind.kind(),
            iface: CLIENT_END.into(),
            to: self.to,
            mac: self.mac,
            size,
            seconds,
            cpus: self.cpus.clone(),
            owned: None,
        }
    }

    pub(super) fn namespace(&self) -> Option<&Namespace> {
        self.topology.as_ref().map(|topology| &topology.client)
    }

    pub(super) fn queues(&self) -> u32 {
        self.queues
    }

    pub(super) fn mode(&self) -> String {
        match self.topology {
            Some(_) => format!("veth, {}", self.mode),
            None => self.mode.clone(),
        }
    }

    /// How many frames met `fate` until now.
    pub(super) fn count(&self, fate: Fate) -> Result<u64> {
        match &self.receiver {
            Receiver::Sluice { .. } => {
                let at = SocketAddrV4::new(*self.to.ip(), STATS);
                let stats = match self.namespace() {
                    Some(namespace) => namespace.inside(|| stats(at)),
                    None => stats(at),
                }?;
                let (group, name) = match fate {
                    Fate::Drop => ("program", "xdp_drop_tcp_header"),
                    Fate::Receive | Fate::Forward => ("counters", "frames_in"),
                };
                stats[group][name].as_u64().with_context(|| format!("/stats has no {name}"))
            }
            Receiver::Programs { sink, .. } => {
                let map = sink.map(generate::ANSWERS).context("no map of the answers")?;
                let map: PerCpuArray<_, u64> = map.try_into()?;
                Ok(map.get(&(Answer::Other as u32), 0)?.iter().sum())
            }
        }
    }
}

/// Sluice on an address of its own, so that UDP comes to its worker too.
fn sluice(room: &Room, topology: &Topology, queues: u32) -> Result<(Receiver, String)> {
    let mut command = topology.server.command(&room.tools.sluice);
    command.args(["run", "--iface", SERVER_END, "--addr", &format!("{ADDRESS}/16")]);
    command.args(["--listen", "80=http", "--for", LIFETIME]);
    command.arg("--program").arg(&room.tools.program);
    if queues == 1 {
        command.args(["--cpus", &room.places.server.to_string()]);
    }
    let mut process = Process::start("sluice", &mut command)?;
    let line = process.line("ready: ", PATIENCE, &room.stop)?;
    let mode = line.split(' ').find_map(|word| word.strip_prefix("mode="));
    let mode = mode.unwrap_or("unknown").to_string();
    Ok((Receiver::Sluice { _process: Some(process) }, mode))
}

/// Redirects what comes to the server's end into another pair, whose far end counts it.
fn programs(server: &Namespace, queues: u32) -> Result<Receiver> {
    let count = format!("numrxqueues {queues} numtxqueues {queues}");
    server.ip(&format!("link add f0 {count} type veth peer name f1 {count}"))?;
    for end in ["f0", "f1"] {
        server.ip(&format!("link set {end} up"))?;
    }
    let (sink, redirect) = server.inside(|| {
        let mut sink = object::load("generate.o")?;
        let whole = Sink::v4(ADDRESS.octets(), [u8::MAX; 4]);
        let whole: [u8; size_of::<Sink>()] = transmute!(whole);
        set(&mut sink, generate::SINK, 0, whole)?;
        object::program(&mut sink, generate::SINK_PROGRAM)?.attach("f1", XdpMode::Driver)?;
        let mut redirect = object::load("impair.o")?;
        let map = redirect.map_mut(impair::DEVICES).context("no map of devices")?;
        DevMap::try_from(map)?.set(0, if_nametoindex("f0")?, None, 0)?;
        let port: [u8; size_of::<Port>()] = transmute!(Port::default());
        let map = redirect.map_mut(impair::PORTS).context("no map of ports")?;
        let mut map: HashMap<_, u32, [u8; size_of::<Port>()]> = map.try_into()?;
        map.insert(if_nametoindex(SERVER_END)?, port, 0)?;
        object::program(&mut redirect, impair::PROGRAM)?.attach(SERVER_END, XdpMode::Driver)?;
        Ok((sink, redirect))
    })?;
    Ok(Receiver::Programs { sink, _redirect: redirect })
}

/// The neighbour on an interface that answers as Sluice does.
///
/// # Errors
/// Where none does, and on Ctrl-C.
pub(super) fn find(iface: &str, stop: &Stop) -> Result<SocketAddrV4> {
    let text = quiet(&format!("ip -json -4 neighbour show dev {iface}"))?;
    for address in neighbours(&text)? {
        stop.check()?;
        let to = SocketAddrV4::new(address, STATS);
        if answers(to).is_ok() {
            return Ok(to);
        }
    }
    bail!("no known neighbour on {iface} answers http://ADDR/stats as Sluice does: say --to")
}

/// The addresses that `ip` shows with a link-layer address.
fn neighbours(text: &str) -> Result<Vec<Ipv4Addr>> {
    let shown: Vec<serde_json::Value> = serde_json::from_str(text).context("what `ip` says")?;
    let known = shown.iter().filter(|one| one["lladdr"].is_string());
    Ok(known.filter_map(|one| one["dst"].as_str()?.parse().ok()).collect())
}

/// Fails where no Sluice is found by this address.
pub(super) fn answers(to: SocketAddrV4) -> Result<()> {
    stats(SocketAddrV4::new(*to.ip(), STATS)).map(|_| ())
}

/// The link-layer address of a neighbour, as `ip` knows it.
pub(super) fn neighbour(iface: &str, to: SocketAddrV4) -> Result<Mac> {
    let address = to.ip();
    let text = quiet(&format!("ip -json neighbour show {address} dev {iface}"))?;
    let shown: serde_json::Value = serde_json::from_str(&text).context("what `ip` says")?;
    let mac = shown[0]["lladdr"].as_str();
    mac.with_context(|| format!("{address} is no neighbour on {iface}: say --mac"))?.parse()
}

/// What Sluice has counted, from this thread's namespace.
fn stats(at: SocketAddrV4) -> Result<serde_json::Value> {
    let mut stream = TcpStream::connect_timeout(&at.into(), TIMEOUT).with_context(|| {
        format!("nobody answers http://{at}/stats (`sluice run --listen 80=http`)")
    })?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(b"GET /stats HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let Some((_, body)) = text.split_once("\r\n\r\n") else { bail!("no reply from {at}") };
    serde_json::from_str(body).context("/stats is no JSON")
}

/// The port by which Sluice tells what it has counted.
const STATS: u16 = 80;
/// An address that the kernel does not have.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 9);
/// Seconds after which a server ends though nobody ended it.
const LIFETIME: &str = "1800";
const PATIENCE: Duration = Duration::from_secs(20);
const TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_those_whose_link_layer_address_is_known() {
        let text = r#"[{"dst":"10.0.0.9","lladdr":"02:00:00:00:00:01","state":["REACHABLE"]},
            {"dst":"10.0.0.7","state":["FAILED"]}]"#;
        assert_eq!(neighbours(text).unwrap(), [Ipv4Addr::new(10, 0, 0, 9)]);
        assert!(neighbours("[]").unwrap().is_empty() && neighbours("nothing").is_err());
    }
}
