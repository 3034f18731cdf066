//! Two namespaces joined by a veth pair: the server's end is `veth0`, the client's `veth1`.
//!
//! Owns the namespaces: their names carry the process id, they go when the value is dropped, also
//! when a test fails, and those of processes that are gone are swept by the next run.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::Backlog;

use crate::family::Ip;
pub(crate) use crate::family::{CLIENT, FREE, SERVER};
use crate::impair::Impairment;
use crate::packets;
use crate::process::{Process, quiet, wait_until};
use relay::{Link, Relay};

/// The server's addresses, as the ready line has them.
pub(crate) const SERVED: &str = "10.77.0.1,fd77::1,fe80::1";
/// The link-layer address of the server's end.
pub(crate) const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The link-layer address of the client's end.
pub(crate) const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// How long a test waits for one step of a peer before it fails. To load the program alone takes a second of
/// a CPU, of which a busy machine may have a twentieth left.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a topology is made of.
pub(crate) struct Options {
    /// Queues of each end, both for receiving and sending.
    pub(crate) queues: u32,
    /// The MTU of both ends.
    pub(crate) mtu: u32,
    /// Whether the client's end gets the program that passes everything.
    pub(crate) has_peer_program: bool,
    /// What lies between the two ends.
    pub(crate) middle: Middle,
    /// Whether frames that the other end has no room for wait, instead of being lost.
    pub(crate) waits: bool,
}

/// What lies between the two ends: a third namespace, where it is anything.
#[derive(Clone, Copy, Default)]
pub(crate) struct Middle {
    /// A link that may lose, repeat and reorder frames.
    pub(crate) impairs: bool,
    /// A relay of this kind, on the client's side of it.
    pub(crate) relay: Option<Link>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            queues: 1,
            mtu: 1500,
            has_peer_program: true,
            middle: Middle::default(),
            waits: false,
        }
    }
}

impl Options {
    /// One end of a veth pair, as `ip link add` takes it.
    fn end(&self, namespace: &Namespace, name: &str) -> String {
        let Self { queues, mtu, .. } = self;
        let queues = format!("numrxqueues {queues} numtxqueues {queues}");
        format!("{name} netns {} mtu {mtu} {queues}", namespace.name)
    }
}

/// The two namespaces.
pub(crate) struct Topology {
    /// The namespace of `sluice`.
    pub(crate) server: Namespace,
    /// The namespace of the kernel's clients.
    pub(crate) client: Namespace,
    peer: Option<Process>,
    middle_peer: Option<Process>,
    relay: Option<Relay>,
    impairment: Option<Impairment>,
    /// After what stands in it.
    _middle: Option<Namespace>,
}

impl Topology {
    /// One queue, an MTU of 1500, and the passing program on the client's end.
    pub(crate) fn new() -> Self {
        Self::with(&Options::default())
    }

    /// Two namespaces with a link as `options` say.
    pub(crate) fn with(options: &Options) -> Self {
        static SWEEP: Once = Once::new();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        SWEEP.call_once(sweep);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let stem = format!("{PREFIX}{}-{number}", std::process::id());
        let [server, client] = ["s", "c"].map(|end| Namespace::make(format!("{stem}-{end}")));
        // No addresses and no routes but those that are given: their states would only disturb.
        for end in [&server, &client] {
            end.write_sysctl("net/ipv6/conf/default/addr_gen_mode", "1");
            end.write_sysctl("net/ipv6/conf/default/accept_ra", "0");
            // As of IPv4, an address stays when its interface goes down.
            end.write_sysctl("net/ipv6/conf/default/keep_addr_on_down", "1");
        }
        let ends = ends(&server, &client);
        let [a, b] = ends.map(|(namespace, name, mac)| {
            let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
            options.end(namespace, &format!("{name} address {mac}"))
        });
        let Middle { impairs, relay } = options.middle;
        let middle = (impairs || relay.is_some()).then(|| Namespace::make(format!("{stem}-m")));
        // It has no addresses, and is to send nothing by itself.
        if let Some(middle) = &middle {
            for scope in ["all", "default"] {
                middle.write_sysctl(&format!("net/ipv6/conf/{scope}/disable_ipv6"), "1");
            }
        }
        match &middle {
            None => quiet(&format!("ip link add {a} type veth peer name {b}")),
            Some(middle) => {
                let [c, d] = ["m0", "m1"].map(|name| options.end(middle, name));
                quiet(&format!("ip link add {a} type veth peer name {c}"));
                quiet(&format!("ip link add {d} type veth peer name {b}"))
            }
        };
        for ((namespace, name, _), host) in ends.into_iter().zip([1, 2]) {
            namespace.ip(&format!("address add 10.77.0.{host}/24 dev {name}"));
            namespace.ip(&format!("address add fd77::{host}/64 dev {name} nodad"));
            // As which the kernel asks for neighbours by itself.
            namespace.ip(&format!("address add fe80::{host}/64 dev {name} nodad"));
            namespace.ip("link set lo up");
            namespace.ip(&format!("link set {name} up"));
        }
        for (namespace, name, _) in ends {
            // As on most machines; with bbr, where that is the default, a sender that met many
            // losses at once may stay at some kilobits a second for minutes.
            let route = "10.77.0.0/24 proto kernel scope link congctl cubic";
            namespace.ip(&format!("route change {route} dev {name}"));
            let route = "fd77::/64 proto kernel metric 256 congctl cubic";
            namespace.ip(&format!("route change {route} dev {name}"));
        }
        if options.waits {
            // The ring of a veth has 256 slots. With a queueing discipline a full one holds the
            // sender up; without, frames are lost, and fifteen lost probes of a closed window in a
            // row end a connection of the kernel.
            for (namespace, name, _) in ends {
                namespace.quiet(&format!("tc qdisc add dev {name} root pfifo limit 20000"));
            }
        }
        // veth hands frames over with half-made checksums; Sluice verifies them.
        client.quiet("ethtool -K veth1 tx off");
        let mut topology = Self {
            server,
            client,
            peer: None,
            middle_peer: None,
            relay: None,
            impairment: None,
            _middle: None,
        };
        if options.has_peer_program {
            topology.attach_peer_program();
        }
        if let Some(middle) = middle {
            topology.furnish(&middle, options.middle);
            topology._middle = Some(middle);
        }
        topology.await_carrier();
        topology
    }

    /// The kernel notices a carrier by a work of its own, which may be late; routes and states change with it.
    fn await_carrier(&self) {
        for (namespace, name, _) in ends(&self.server, &self.client) {
            wait_until("the link is up", PATIENCE, || {
                namespace.ip(&format!("-o link show dev {name}")).contains("state UP")
            });
        }
    }

    /// A host behind the client, which has to forward, on a link whose router takes so much.
    pub(crate) fn beyond(&self, address: Ip, mtu: u32) -> Namespace {
        let far = Namespace::make(format!("{}-far", self.client.name));
        let (near, router) = (&self.client.name, crate::family::ROUTER);
        quiet(&format!(
            "ip link add far0 netns {near} type veth peer name far1 netns {}",
            far.name
        ));
        let prefix = crate::family::PREFIX;
        for (namespace, end, address) in [(&self.client, "far0", router), (&far, "far1", address)] {
            let nodad = crate::family::NODAD;
            namespace.ip(&format!("address add {address}/{prefix} dev {end} {nodad}"));
            namespace.ip(&format!("link set {end} up"));
        }
        // Only the router's end is narrow: the host offers to take more.
        self.client.ip(&format!("link set far0 mtu {mtu}"));
        far.ip(&format!("route add default via {router}"));
        far
    }

    /// Puts into the middle what is to lie there.
    fn furnish(&mut self, middle: &Namespace, Middle { impairs, relay }: Middle) {
        // Frames as they are: with their checksums, neither joined nor longer than the link takes.
        for (namespace, end) in [(&self.client, "veth1"), (&self.server, "veth0")] {
            namespace.quiet(&format!("ethtool -K {end} tx off tso off gso off gro off"));
        }
        for end in ["m0", "m1"] {
            middle.quiet(&format!("ethtool -K {end} gro off"));
            middle.ip(&format!("link set {end} up"));
        }
        let joint = ["m0", if relay.is_some() { "x0" } else { "m1" }];
        if impairs && relay.is_some() {
            middle.ip("link add x0 type veth peer name x1");
            ["x0", "x1"].iter().for_each(|end| drop(middle.ip(&format!("link set {end} up"))));
        }
        if impairs {
            self.impairment = Some(Impairment::join(middle, joint));
        }
        if let Some(link) = relay {
            let near_server = if impairs { "x1" } else { "m0" };
            if impairs {
                self.impairment.as_mut().expect("just made").take(middle, near_server);
            }
            let ends = [near_server, "m1"].map(|end| packets::open(middle, end));
            self.relay = Some(Relay::start(ends, link).expect("root may relay"));
        }
    }

    /// The relay in the middle.
    pub(crate) fn relay(&self) -> &Relay {
        self.relay.as_ref().expect("the test asked for a relay")
    }

    /// The impaired link in the middle.
    pub(crate) fn impairment(&mut self) -> &mut Impairment {
        self.impairment.as_mut().expect("the test asked for an impaired link")
    }

    /// The namespace between the two, whose ends are `m0` towards the server and `m1`.
    pub(crate) fn middle(&self) -> &Namespace {
        self._middle.as_ref().expect("the test asked for a middle")
    }

    /// Lets frames that XDP sends at the server's end into the middle.
    #[allow(dead_code, reason = "the front line is tested over veth in one family")]
    pub(crate) fn pass_in_the_middle(&mut self) {
        self.middle_peer = Some(pass(self.middle(), "m0"));
    }

    /// Without a program on the peer, frames sent back by XDP are never delivered to a veth.
    fn attach_peer_program(&mut self) {
        self.peer = Some(pass(&self.client, "veth1"));
    }
}

/// Each namespace with its end of the link.
fn ends<'a>(
    server: &'a Namespace,
    client: &'a Namespace,
) -> [(&'a Namespace, &'static str, [u8; 6]); 2] {
    [(server, "veth0", SERVER_MAC), (client, "veth1", CLIENT_MAC)]
}

/// Holds the program that passes everything on `interface`.
pub(crate) fn pass(namespace: &Namespace, interface: &str) -> Process {
    let mut command = namespace.command(env!("CARGO_BIN_EXE_sluice"));
    let mut process = Process::start(command.args(["pass", "--iface", interface]));
    wait_until("the passing program is attached", PATIENCE, || {
        process.assert_alive();
        namespace.has_program(interface)
    });
    process
}

impl Drop for Topology {
    fn drop(&mut self) {
        // Before their namespaces go.
        self.relay.take();
        self.impairment.take();
        self.peer.take();
        self.middle_peer.take();
    }
}

/// A network namespace, removed when dropped.
pub(crate) struct Namespace {
    /// Its name for `ip netns`.
    pub(crate) name: String,
}

impl Namespace {
    fn make(name: String) -> Self {
        quiet(&format!("ip netns add {name}"));
        Self { name }
    }

    /// A command that runs in this namespace.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs `line`, split at spaces, in this namespace; gives its output, panics when it fails.
    pub(crate) fn quiet(&self, line: &str) -> String {
        quiet(&format!("ip netns exec {} {line}", self.name))
    }

    /// `ip` for this namespace.
    pub(crate) fn ip(&self, line: &str) -> String {
        quiet(&format!("ip -n {} {line}", self.name))
    }

    /// Runs `work` on a thread that has entered this namespace. Sockets stay in the namespace where
    /// they were made, whoever uses them.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let enter = || {
            let file = File::open(format!("{DIR}/{}", self.name)).expect("the namespace is there");
            setns(file, CloneFlags::CLONE_NEWNET).expect("root may enter a namespace");
            work()
        };
        let joined = std::thread::scope(|scope| scope.spawn(enter).join());
        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// The kernel's connection from this namespace, with bounds on every call.
    pub(crate) fn try_connect(&self, to: (Ip, u16)) -> std::io::Result<TcpStream> {
        let to = SocketAddr::from(to);
        let stream = self.inside(|| TcpStream::connect_timeout(&to, PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// As [`Namespace::try_connect`]; panics when it fails.
    pub(crate) fn connect(&self, to: (Ip, u16)) -> TcpStream {
        self.try_connect(to).unwrap_or_else(|error| panic!("connect to {to:?}: {error}"))
    }

    /// The kernel's listener in this namespace.
    pub(crate) fn listen(&self, at: (Ip, u16)) -> TcpListener {
        let mut bound = None;
        // A process that another test starts this moment has our descriptors until it is another program.
        wait_until("the port is free", PATIENCE, || {
            match self.inside(|| TcpListener::bind(at)) {
                Err(error) if error.kind() == ErrorKind::AddrInUse => {}
                outcome => bound = Some(outcome),
            }
            bound.is_some()
        });
        bound.expect("it was tried").unwrap_or_else(|error| panic!("bind {at:?}: {error}"))
    }

    /// As [`Namespace::listen`], for so many connections that nobody has accepted yet.
    pub(crate) fn listen_with(&self, at: (Ip, u16), backlog: i32) -> TcpListener {
        let listener = self.listen(at);
        self.write_sysctl("net/core/somaxconn", &backlog.to_string());
        // The last call counts, and this asks for as much as the sysctl allows.
        let most = Backlog::new(-1).expect("a backlog");
        nix::sys::socket::listen(&listener, most).expect("it listens already");
        listener
    }

    /// Whether an XDP program is attached to `interface`.
    pub(crate) fn has_program(&self, interface: &str) -> bool {
        self.ip(&format!("link show dev {interface}")).contains("xdp")
    }

    /// The value of a sysctl of this namespace; `path` is below `/proc/sys`.
    pub(crate) fn sysctl(&self, path: &str) -> String {
        let path = format!("/proc/sys/{path}");
        self.inside(|| fs::read_to_string(path)).expect("the sysctl can be read").trim().to_string()
    }

    /// Sets a sysctl of this namespace.
    pub(crate) fn write_sysctl(&self, path: &str, value: &str) {
        let path = format!("/proc/sys/{path}");
        self.inside(|| fs::write(path, value)).expect("the sysctl can be written");
    }

    /// All of this namespace that a server could leave changed, as text.
    pub(crate) fn state(&self) -> String {
        let mut state = self.ip("-d link show") + &self.ip("address show") + &self.ip("route show");
        state += &self.ip("-6 route show");
        state += &self.quiet("ss -Hltnu");
        state + &self.sysctl(RESERVED_PORTS)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let removed = Command::new("ip").args(["netns", "delete", &self.name]).status();
        if !removed.is_ok_and(|status| status.success()) {
            eprintln!("cannot remove the namespace {}", self.name);
        }
    }
}

/// The next connection of `listener`, with bounds on every call; panics when none comes.
pub(crate) fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    listener.set_nonblocking(true).expect("a listener of our own");
    let mut accepted = None;
    wait_until("a connection is accepted", PATIENCE, || {
        accepted = listener.accept().ok();
        accepted.is_some()
    });
    let (stream, peer) = accepted.expect("it was accepted");
    stream.set_nonblocking(false).expect("a stream of our own");
    stream.set_read_timeout(Some(PATIENCE)).expect("a stream of our own");
    stream.set_write_timeout(Some(PATIENCE)).expect("a stream of our own");
    (stream, peer)
}

/// Removes the namespaces of test processes that are gone, and ends what still runs in them.
fn sweep() {
    let Ok(entries) = fs::read_dir(DIR) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        let Some(pid) = pid.filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit())) else {
            continue;
        };
        if fs::exists(format!("/proc/{pid}")).unwrap_or(true) {
            continue;
        }
        // Its own processes only: the name of the namespace is ours.
        let pids = Command::new("ip").args(["netns", "pids", &name]).output();
        let pids = pids.map(|output| output.stdout).unwrap_or_default();
        for pid in String::from_utf8_lossy(&pids).split_whitespace() {
            let Ok(pid) = pid.parse() else { continue };
            let pid = nix::unistd::Pid::from_raw(pid);
            // It may have ended by now.
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        let _ = Command::new("ip").args(["netns", "delete", &name]).status();
    }
}

/// The sysctl with the ports that the kernel does not choose by itself.
pub(crate) const RESERVED_PORTS: &str = "net/ipv4/ip_local_reserved_ports";

/// Where `ip netns` keeps its names.
const DIR: &str = "/run/netns";

/// What the names begin with; the process id follows.
const PREFIX: &str = "sluice-test-";
