//! Two network namespaces joined by a veth pair, for one subject of a comparison.
//!
//! Owns both from their making to their removal, also those that a killed run left. Nothing outside
//! of them is touched. Why the ends are furnished as they are stands in docs/architecture.md under
//! "Living with veth".

mod middle;

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use relay::Relay;

use crate::load::Sources;
use crate::system::quiet;
use crate::tools;

/// The server's address.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The client's addresses: enough for the ports of a minute of short connections.
pub(crate) const CLIENTS: Sources = Sources { first: Ipv4Addr::new(10, 77, 1, 1), count: 32 };
/// The client's address where there is to be one alone. No other work uses it, since the kernel gives no
/// port away that an earlier socket left in TIME-WAIT.
pub(crate) const LONE_CLIENT: Sources = Sources { first: Ipv4Addr::new(10, 77, 2, 1), count: 1 };
/// The interface in the server's namespace.
pub(crate) const SERVER_END: &str = "veth0";
/// The interface in the client's namespace.
pub(crate) const CLIENT_END: &str = "veth1";

/// Of which family addresses are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    /// The server's address.
    pub(crate) fn server(self) -> IpAddr {
        self.of(SERVER)
    }

    /// What a host of this network is called in the family: in IPv6 the IPv4 address is its last 32 bits.
    pub(crate) fn of(self, address: Ipv4Addr) -> IpAddr {
        match self {
            Self::V4 => address.into(),
            Self::V6 => beside(NETWORK_V6, address).into(),
        }
    }
}

/// The address of the /96 of `network` whose last 32 bits are `address`.
pub(crate) fn beside(network: Ipv6Addr, address: Ipv4Addr) -> Ipv6Addr {
    let upper = u128::from(network) >> 32 << 32;
    Ipv6Addr::from(upper | u128::from(u32::from(address)))
}

/// What a link is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// The MTU of both ends.
    pub(crate) mtu: u32,
    /// What the ends leave to each other.
    pub(crate) offloads: Offloads,
}

/// What the ends of a link leave to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offloads {
    /// Checksums are made and verified, and no frame is longer than the MTU, as on a wire.
    Off,
    /// As veth comes: no checksums, and segments of up to 64 KiB (TSO).
    Default,
}

impl Offloads {
    /// As the rows say it.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Off => "tx checksum off, tso off on both ends",
            Self::Default => "tx checksum on, tso on on both ends",
        }
    }
}

/// The two namespaces.
pub(crate) struct Topology {
    /// The server's.
    pub(crate) server: Namespace,
    /// The client's.
    pub(crate) client: Namespace,
    /// Where a relay has room.
    middle: Option<Namespace>,
}

/// What lies between the two namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Between {
    /// A wire.
    Nothing,
    /// Another namespace, in which a relay has to run.
    Room,
}

impl Topology {
    /// Makes both and the link between them.
    ///
    /// # Errors
    /// Where `ip` or `ethtool` fail; what was made until then is removed.
    pub(crate) fn make(link: Link, between: Between) -> Result<Self> {
        Self::with_queues(link, between, 1)
    }

    /// The same, with so many queues each way on both ends.
    ///
    /// # Errors
    /// As [`Topology::make`].
    pub(crate) fn with_queues(link: Link, between: Between, queues: u32) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let stem = format!("{PREFIX}{}-{number}", std::process::id());
        // From here on a failure drops `made`, which removes what there is.
        let server = Namespace::make(format!("{stem}-s"))?;
        let client = Namespace::make(format!("{stem}-c"))?;
        let middle = match between {
            Between::Nothing => None,
            Between::Room => Some(Namespace::make(format!("{stem}-m"))?),
        };
        let made = Self { server, client, middle };
        let Link { mtu, offloads } = link;
        let ends = [(&made.server, SERVER_END, SERVER_MAC), (&made.client, CLIENT_END, CLIENT_MAC)];
        // With more queues on the other side of it, a veth takes no program in its driver.
        let queues = format!("numrxqueues {queues} numtxqueues {queues}");
        let [a, b] = ends.map(|(namespace, end, mac)| {
            let name = &namespace.name;
            format!("{end} netns {name} address {} mtu {mtu} {queues}", text(mac))
        });
        match &made.middle {
            None => drop(quiet(&format!("ip link add {a} type veth peer name {b}"))?),
            Some(middle) => {
                let name = &middle.name;
                let [c, d] =
                    middle::ENDS.map(|end| format!("{end} netns {name} mtu {mtu} {queues}"));
                quiet(&format!("ip link add {a} type veth peer name {c}"))?;
                quiet(&format!("ip link add {b} type veth peer name {d}"))?;
            }
        }
        made.server.ip(&format!("address add {SERVER}/{PREFIX_LEN} dev {SERVER_END}"))?;
        for address in clients() {
            made.client.ip(&format!("address add {address}/{PREFIX_LEN} dev {CLIENT_END}"))?;
        }
        for (namespace, end, _) in ends {
            namespace.ip("link set lo up")?;
            namespace.ip(&format!("link set {end} up"))?;
            // As a real interface has one: a full ring of veth, 256 frames, then holds the sender up;
            // without it frames are lost on the sender's own machine.
            namespace.run(&format!("tc qdisc add dev {end} root pfifo limit {QUEUE}"))?;
            if offloads == Offloads::Off {
                namespace.run(&format!("ethtool -K {end} tx off tso off"))?;
            }
        }
        if let Some(middle) = &made.middle {
            middle::furnish(middle, [&made.server, &made.client])?;
        }
        // What the kernel's default is differs between machines; with bbr a sender that met many losses at
        // once may stay slow for long.
        made.congestion(CONGESTION)?;
        made.introduce()?;
        Ok(made)
    }

    /// Gives both ends IPv6 addresses too, which are known to each other.
    ///
    /// # Errors
    /// Where the kernel has no IPv6.
    pub(crate) fn speak_v6(&self) -> Result<()> {
        let ends = [(&self.server, SERVER_END), (&self.client, CLIENT_END)];
        for (namespace, end) in ends {
            for scope in ["all", "default", end] {
                namespace.write_sysctl(&format!("net/ipv6/conf/{scope}/disable_ipv6"), "0")?;
            }
        }
        let of = |address| Family::V6.of(address);
        let add = |namespace: &Namespace, end: &str, address: Ipv4Addr| {
            // Nobody else is on this link: there is no need to wait until that is sure.
            let address = of(address);
            namespace.ip(&format!("address add {address}/{PREFIX_LEN_V6} dev {end} nodad"))
        };
        add(&self.server, SERVER_END, SERVER)?;
        self.client.ip(&neighbour(of(SERVER), SERVER_MAC, CLIENT_END))?;
        for address in (0..CLIENTS.count).map(|n| CLIENTS.nth(n.into())) {
            add(&self.client, CLIENT_END, address)?;
            self.server.ip(&neighbour(of(address), CLIENT_MAC, SERVER_END))?;
        }
        Ok(())
    }

    /// Has the kernel's connections of both ends begin with this congestion control. The route's choice
    /// stands above that of a socket which is not connected yet.
    ///
    /// # Errors
    /// Where `ip` fails: the kernel does not have it.
    pub(crate) fn congestion(&self, name: &str) -> Result<()> {
        for (namespace, end) in [(&self.server, SERVER_END), (&self.client, CLIENT_END)] {
            let route = format!("{NETWORK} proto kernel scope link congctl {name}");
            namespace.ip(&format!("route change {route} dev {end}"))?;
        }
        Ok(())
    }

    /// Has a relay carry what passes between both, as `link` says; nothing passes once it is dropped.
    ///
    /// # Errors
    /// Where there is no room for one, and where the kernel refuses its sockets.
    pub(crate) fn relay(&self, link: relay::Link) -> Result<Relay> {
        middle::relay(self.middle.as_ref().context("a wire has no room for a relay")?, link)
    }

    /// Makes the ends known to each other, so that no resolution falls into a measurement.
    fn introduce(&self) -> Result<()> {
        self.client.ip(&neighbour(SERVER.into(), SERVER_MAC, CLIENT_END))?;
        for address in clients() {
            self.server.ip(&neighbour(address.into(), CLIENT_MAC, SERVER_END))?;
        }
        Ok(())
    }
}

/// What `ip` is told, so that it knows a neighbour for good.
fn neighbour(address: IpAddr, mac: [u8; 6], end: &str) -> String {
    format!("neighbour replace {address} lladdr {} dev {end} nud permanent", text(mac))
}

/// All addresses of the client.
fn clients() -> impl Iterator<Item = Ipv4Addr> {
    [CLIENTS, LONE_CLIENT].into_iter().flat_map(|of| (0..of.count).map(move |n| of.nth(n.into())))
}

/// A link-layer address as `ip` takes it.
pub(crate) fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// A network namespace, removed when dropped.
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    fn make(name: String) -> Result<Self> {
        quiet(&format!("ip netns add {name}"))?;
        let made = Self { name };
        // Where nothing speaks IPv6, its own packets and address states would only disturb.
        for scope in ["all", "default"] {
            made.write_sysctl(&format!("net/ipv6/conf/{scope}/disable_ipv6"), "1")?;
        }
        Ok(made)
    }

    /// A command that runs in this namespace, under its own process id.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program).env("PATH", tools::path());
        command
    }

    /// `ip` for this namespace.
    pub(crate) fn ip(&self, line: &str) -> Result<String> {
        quiet(&format!("ip -n {} {line}", self.name))
    }

    /// Runs `line`, split at spaces, in this namespace.
    pub(crate) fn run(&self, line: &str) -> Result<String> {
        quiet(&format!("ip netns exec {} {line}", self.name))
    }

    /// Sets a sysctl of this namespace; `path` is below `/proc/sys`.
    pub(crate) fn write_sysctl(&self, path: &str, value: &str) -> Result<()> {
        let file = format!("/proc/sys/{path}");
        // /proc/sys/net shows that of who opens. A kernel without IPv6 has none of its settings.
        let write = || if fs::exists(&file)? { Ok(fs::write(&file, value)?) } else { Ok(()) };
        self.inside(write).with_context(|| format!("{path} in {}", self.name))
    }

    /// Does `work` on a thread that has entered this namespace. Sockets stay in the namespace where they
    /// were made, whoever uses them.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let enter = || {
            setns(File::open(Path::new(DIR).join(&self.name))?, CloneFlags::CLONE_NEWNET)?;
            work()
        };
        let done = std::thread::scope(|scope| scope.spawn(enter).join());
        done.map_err(|_| anyhow!("the thread in {} panicked", self.name))?
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = quiet(&format!("ip netns delete {}", self.name)) {
            eprintln!("warning: {error:#}");
        }
    }
}

/// Removes the namespaces of runs that were killed, and ends what still runs in them.
pub(crate) fn sweep() {
    let Ok(entries) = fs::read_dir(DIR) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if owner(&name).is_none_or(|pid| fs::exists(format!("/proc/{pid}")).unwrap_or(true)) {
            continue;
        }
        eprintln!("removing {name}, left by a run that was killed");
        // Its own processes only: the name of the namespace is ours.
        let pids = quiet(&format!("ip netns pids {name}")).unwrap_or_default();
        for pid in pids.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            // It may have ended by now.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = quiet(&format!("ip netns delete {name}"));
    }
}

/// The process that made the namespace `name`; `None` where it is not one of a bench.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

/// Where `ip netns` keeps its names.
const DIR: &str = "/run/netns";
/// What the names begin with; the process id follows.
const PREFIX: &str = "sluice-bench-";
const NETWORK: &str = "10.77.0.0/16";
const PREFIX_LEN: u8 = 16;
/// Of addresses that nobody else has (RFC 4193).
const NETWORK_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0);
const PREFIX_LEN_V6: u8 = 64;
/// The link-layer address of the server's end.
pub(crate) const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The link-layer address of the client's end.
pub(crate) const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// Frames that wait before an interface that is busy: the kernel's default of txqueuelen.
pub(crate) const QUEUE: u32 = 1_000;
/// The congestion control of both kernels and Sluice's default.
pub(crate) const CONGESTION: &str = "cubic";
/// The one that some kernels have by default.
pub(crate) const BBR: &str = "bbr";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_the_same_last_bits_in_both_families() {
        assert_eq!(Family::V4.server().to_string(), "10.77.0.1");
        assert_eq!(Family::V6.server().to_string(), "fd77::a4d:1");
        let client = |n| Family::V6.of(CLIENTS.nth(n));
        assert_eq!(
            [client(0), client(1)].map(|at| at.to_string()),
            ["fd77::a4d:101", "fd77::a4d:102"]
        );
    }

    #[test]
    fn owner_is_read_from_names_of_ours_alone() {
        assert_eq!(owner("sluice-bench-123-0-s"), Some(123));
        for name in ["sluice-bench-x-0-s", "sluice-test-123-0-s", "sluice-bench-", "other"] {
            assert_eq!(owner(name), None, "{name}");
        }
    }
}
