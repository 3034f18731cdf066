//! `sluice guard` before listeners of the kernel: connections as without it, also in a flood of SYNs,
//! and everything as it was afterwards.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;

use crate::cookies::{forge, forged};
use crate::family::{UNSPECIFIED, shown};
use crate::packets::send;
use crate::process::{Process, exists, wait_until};
use crate::segment::{ACK, SYN};
use crate::server::program;
use crate::skip;
use crate::topology::{PATIENCE, SERVER, Topology};
use crate::transfer::{assert_echoes, echo, pattern};

/// A guard of port 80 at the server's end.
struct Guard(Process);

impl Guard {
    fn start(topology: &Topology, options: &str) -> Self {
        // One line of counts, that of the end, however long the test takes.
        let mut command = command(topology, "veth0", options);
        let process = Process::start(command.args(["--report", "0"]));
        let ready = process.line("ready: ", PATIENCE);
        assert_eq!(ready, "ready: veth0 ports=80 mode=native");
        Self(process)
    }

    /// Ends it by this signal; gives what it has counted.
    fn end(mut self, signal: Signal) -> Counts {
        self.0.signal(signal);
        let line = self.0.line("guard: ", PATIENCE);
        let status = self.0.wait(PATIENCE);
        assert!(status.success(), "the guard ended with {status}:\n{}", self.0.errors());
        Counts(line)
    }
}

/// The line that a guard says of what it has done.
#[derive(Debug)]
struct Counts(String);

impl Counts {
    fn of(&self, name: &str) -> u64 {
        let value = self.0.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} in {self:?}"))
    }

    /// Panics unless so many connections were made, each by a SYN that was answered.
    fn assert_connections(&self, count: u64) {
        let counts = ["syns_answered", "connections", "declined"].map(|name| self.of(name));
        assert_eq!(counts, [count, count, 0], "{self:?}");
    }
}

fn command(topology: &Topology, interface: &str, options: &str) -> Command {
    command_with(topology, interface, (&program().with_file_name("sluice-guard.o"), options))
}

fn command_with(topology: &Topology, interface: &str, (object, options): (&Path, &str)) -> Command {
    let mut command = topology.server.command(env!("CARGO_BIN_EXE_sluice"));
    command.args(["guard", "--iface", interface, "--port", "80", "--program"]);
    command.arg(object).args(options.split_whitespace());
    command
}

/// A listener of the kernel's that echoes what each connection sends, until it is dropped.
struct Echo<'a> {
    topology: &'a Topology,
    address: SocketAddr,
    is_over: std::sync::Arc<AtomicBool>,
    server: Option<std::thread::JoinHandle<()>>,
}

impl<'a> Echo<'a> {
    fn start(topology: &'a Topology) -> Self {
        let listener = topology.server.listen((UNSPECIFIED, 80));
        let address = SocketAddr::from((SERVER, 80));
        let is_over = std::sync::Arc::new(AtomicBool::new(false));
        let flag = std::sync::Arc::clone(&is_over);
        let server = Some(std::thread::spawn(move || serve(&listener, &flag)));
        Self { topology, address, is_over, server }
    }
}

fn serve(listener: &TcpListener, is_over: &AtomicBool) {
    std::thread::scope(|scope| {
        while let Ok((stream, _)) = listener.accept() {
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            scope.spawn(move || copy(&stream));
        }
    });
}

fn copy(mut stream: &TcpStream) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(len @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..len]).is_err() {
            return;
        }
    }
}

impl Drop for Echo<'_> {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // From the host itself, where no guard is in the way.
        let woken = self.topology.server.inside(|| TcpStream::connect(self.address));
        if woken.is_ok()
            && let Some(server) = self.server.take()
        {
            let _ = server.join();
        }
    }
}

/// Sends forged SYNs as long as `work` takes, but a bounded number.
fn flooded<T>(topology: &Topology, work: impl FnOnce() -> T) -> T {
    let is_over = AtomicBool::new(false);
    let client = &topology.client;
    // However short the work is.
    forge(topology, 0, 1_000, SYN);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..2_000 {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let frames = (0..1_000).map(|n| forged(round * 1_000 + n, SYN));
                send(client, "veth1", frames);
            }
        });
        let end = SetAtEnd(&is_over);
        let done = work();
        drop(end);
        done
    })
}

/// Also when the work panics.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
#[ignore = "needs root"]
fn guarded_connection_keeps_every_option_and_its_speed() {
    let topology = Topology::new();
    let _server = Echo::start(&topology);
    let guard = Guard::start(&topology, "");
    let stream = topology.client.connect((SERVER, 80));
    (&stream).write_all(b"hello").unwrap();
    (&stream).read_exact(&mut [0; 5]).unwrap();
    // Each end's view: the other's shift as it was offered, and its own.
    let ours = topology.server.quiet("ss -tinoH state established sport = :80");
    let theirs = topology.client.quiet("ss -tinoH state established dport = :80");
    let shifts = |seen: &str| {
        let word = seen.split(' ').find_map(|word| word.strip_prefix("wscale:"));
        let (send, receive) = word.and_then(|word| word.split_once(',')).expect("both scale");
        (send.to_owned(), receive.to_owned())
    };
    for seen in [&ours, &theirs] {
        assert!(seen.contains(" ts ") && seen.contains(" sack "), "{seen}");
    }
    let (send, receive) = shifts(&ours);
    assert_eq!(shifts(&theirs), (receive, send));
    // With a wrong shift this would take minutes, not a second or two.
    echo(&stream, 64 << 20);
    drop(stream);
    guard.end(Signal::SIGTERM).assert_connections(1);
}

#[test]
#[ignore = "needs root"]
fn guarded_listener_takes_the_shift_that_the_kernel_would_offer() {
    let topology = Topology::new();
    let _server = Echo::start(&topology);
    let offered = || {
        let mut stream = topology.client.connect((SERVER, 80));
        stream.write_all(b"hello").unwrap();
        stream.read_exact(&mut [0; 5]).unwrap();
        let seen = topology.client.quiet("ss -tinoH state established dport = :80");
        let words = ["wscale:", "advmss:", "mss:"];
        words.map(|name| {
            let value = seen.split(' ').find_map(|word| word.strip_prefix(name));
            value.unwrap_or_else(|| panic!("{name} in {seen}")).to_owned()
        })
    };
    let bare = offered();
    wait_until("the connection is gone", PATIENCE, || {
        topology.client.quiet("ss -tinoH state established dport = :80").is_empty()
    });
    let guard = Guard::start(&topology, "");
    assert_eq!(offered(), bare);
    guard.end(Signal::SIGTERM).assert_connections(1);
}

#[test]
#[ignore = "needs root"]
fn guarded_connection_without_timestamps_or_any_option_works() {
    let topology = Topology::new();
    let _server = Echo::start(&topology);
    let guard = Guard::start(&topology, "");
    let cases = [("0", "1", "1"), ("0", "0", "0"), ("1", "0", "1"), ("1", "1", "0")];
    for end in [&topology.client, &topology.server] {
        for (stamps, scaling, sack) in cases {
            end.write_sysctl("net/ipv4/tcp_timestamps", stamps);
            end.write_sysctl("net/ipv4/tcp_window_scaling", scaling);
            end.write_sysctl("net/ipv4/tcp_sack", sack);
            // The guard looks at its own host's settings once in a second: at least once in this time,
            // also where the machine is busy.
            if end.name == topology.server.name {
                crate::process::pause(std::time::Duration::from_millis(3_000));
            }
            assert_echoes(&topology.client, (SERVER, 80), &pattern(1 << 20));
        }
        end.write_sysctl("net/ipv4/tcp_sack", "1");
    }
    guard.end(Signal::SIGTERM).assert_connections(8);
}

// The text that comes with the acknowledgment and right behind it: one batch holds all of it.
#[test]
#[ignore = "needs root"]
fn guarded_text_that_comes_at_once_makes_one_connection() {
    let topology = Topology::new();
    let _server = Echo::start(&topology);
    let guard = Guard::start(&topology, "");
    for _ in 0..300 {
        assert_echoes(&topology.client, (SERVER, 80), &pattern(14_000));
    }
    let counts = guard.end(Signal::SIGTERM);
    counts.assert_connections(300);
    assert_eq!((counts.of("refused"), counts.of("passed")), (0, 0), "{counts:?}");
}

#[test]
#[ignore = "needs root"]
fn guarded_listener_in_a_flood_serves_all() {
    let topology = Topology::new();
    let _server = Echo::start(&topology);
    let guard = Guard::start(&topology, "");
    flooded(&topology, || {
        for _ in 0..40 {
            assert_echoes(&topology.client, (SERVER, 80), b"here");
        }
    });
    let half_open = topology.server.quiet("ss -tnH state syn-recv");
    assert_eq!(half_open, "", "a forged SYN came to the kernel");
    let counts = guard.end(Signal::SIGTERM);
    assert_eq!((counts.of("connections"), counts.of("declined")), (40, 0), "{counts:?}");
    // The ring of a veth has 256 slots: not all of them came.
    assert!(counts.of("syns_answered") > 200, "{counts:?}");
}

#[test]
#[ignore = "needs root"]
fn guarded_nginx_in_a_flood_serves_forty_of_forty() {
    const TEST: &str = "guarded_nginx_in_a_flood_serves_forty_of_forty";
    if !exists("nginx") {
        return skip(TEST, "there is no nginx; `cargo xtask setup --bench` installs it");
    }
    let topology = Topology::new();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let folder = folder.join(format!("{TEST}-{}", topology.server.name));
    std::fs::create_dir_all(&folder).unwrap();
    let page: String = "sluice ".repeat(20_000);
    std::fs::write(folder.join("page"), &page).unwrap();
    let path = folder.display();
    let configuration = format!(
        "user root; worker_processes 1; daemon off; pid {path}/pid; error_log {path}/errors;\n\
         events {{}}\nhttp {{ access_log off; server {{ listen {}:80; root {path}; }} }}",
        shown(SERVER)
    );
    std::fs::write(folder.join("nginx.conf"), configuration).unwrap();
    let mut nginx = topology.server.command("nginx");
    let mut nginx = Process::start(nginx.arg("-c").arg(folder.join("nginx.conf")));
    wait_until("nginx listens", PATIENCE, || {
        nginx.assert_alive();
        !topology.server.quiet("ss -Hltn sport = :80").is_empty()
    });
    let guard = Guard::start(&topology, "");
    flooded(&topology, || {
        for nth in 0..40 {
            let mut curl = topology.client.command("curl");
            curl.args(["--silent", "--show-error", "--fail", "--max-time", "60"]);
            let got = curl.arg(format!("http://{}/page", shown(SERVER))).output().unwrap();
            let said = String::from_utf8_lossy(&got.stderr);
            assert!(got.status.success() && got.stdout == page.as_bytes(), "{nth}: {said}");
        }
    });
    let counts = guard.end(Signal::SIGTERM);
    note!("{counts:?} (information only)");
    assert!(counts.of("syns_answered") > 200 && counts.of("declined") == 0, "{counts:?}");
    nginx.signal(Signal::SIGTERM);
    nginx.wait(PATIENCE);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
#[ignore = "needs root"]
fn guarded_port_used_again_from_time_wait_passes() {
    let topology = Topology::new();
    let listener = topology.server.listen((SERVER, 80));
    let guard = Guard::start(&topology, "");
    let open = || {
        let stream = topology.client.connect((SERVER, 80));
        let (accepted, peer) = crate::topology::accept(&listener);
        // The server closes first: TIME-WAIT is its own.
        drop(accepted);
        assert_eq!((&stream).read(&mut [0]).unwrap(), 0);
        drop(stream);
        // Until its FIN is acknowledged the client has the port itself.
        wait_until("the port is free", PATIENCE, || topology.client.quiet("ss -Htan").is_empty());
        peer.port()
    };
    // The client's kernel has two ports for this, which it takes in turn.
    topology.client.write_sysctl("net/ipv4/ip_local_port_range", "40000 40001");
    let ports: Vec<u16> = (0..8).map(|_| open()).collect();
    assert!(ports.iter().all(|port| (40_000..=40_001).contains(port)), "{ports:?}");
    let counts = guard.end(Signal::SIGTERM);
    assert!(counts.of("connections") <= 2 && counts.of("refused") == 0, "{counts:?}");
}

#[test]
#[ignore = "needs root"]
fn guarded_listener_comes_goes_and_comes_again() {
    let topology = Topology::new();
    let guard = Guard::start(&topology, "");
    // It is read by another thread than the line that says "ready".
    wait_until("the warning is there", PATIENCE, || {
        let warning = guard.0.errors();
        warning.contains("nobody listens") && warning.contains("80")
    });
    let refused = || topology.client.try_connect((SERVER, 80)).unwrap_err().kind();
    for _ in 0..2 {
        assert_eq!(refused(), std::io::ErrorKind::ConnectionRefused);
        let server = Echo::start(&topology);
        assert_echoes(&topology.client, (SERVER, 80), b"one");
        drop(server);
    }
    guard.end(Signal::SIGTERM).assert_connections(2);
}

#[test]
#[ignore = "needs root"]
fn guard_passes_strays_within_a_budget_and_other_ports_whole() {
    let topology = Topology::new();
    let _server = Echo::start(&topology);
    let _other = topology.server.listen((SERVER, 81));
    let guard = Guard::start(&topology, "");
    for _ in 0..10 {
        drop(topology.client.connect((SERVER, 81)));
    }
    // By one socket: to close one may take long, and the budget grows with the time.
    forge(&topology, 0, 4_000, ACK);
    assert_echoes(&topology.client, (SERVER, 80), b"still here");
    let counts = guard.end(Signal::SIGTERM);
    counts.assert_connections(1);
    // A thousand in a second, and what comes at once.
    assert!(counts.of("passed") >= 20 && counts.of("refused") > 0, "{counts:?}");
}

#[test]
#[ignore = "needs root"]
fn guard_that_ends_leaves_everything_as_it_was() {
    let topology = Topology::new();
    let _server = Echo::start(&topology);
    topology.server.write_sysctl(COOKIES, "0");
    let before = topology.server.state();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let guard = Guard::start(&topology, "--set-sysctls");
        assert_eq!(topology.server.sysctl(COOKIES), "1");
        assert!(topology.server.has_program("veth0"));
        assert_echoes(&topology.client, (SERVER, 80), b"guarded");
        guard.end(signal).assert_connections(1);
        assert_eq!(topology.server.sysctl(COOKIES), "0");
        assert_eq!(topology.server.state(), before);
        assert_echoes(&topology.client, (SERVER, 80), b"bare");
    }
    // What somebody else has set meanwhile stays.
    let guard = Guard::start(&topology, "--set-sysctls");
    topology.server.write_sysctl(COOKIES, "2");
    guard.end(Signal::SIGTERM);
    assert_eq!(topology.server.sysctl(COOKIES), "2");
}

#[test]
#[ignore = "needs root"]
fn guard_that_is_killed_leaves_the_listener_to_the_kernel() {
    let topology = Topology::new();
    let _server = Echo::start(&topology);
    let mut guard = Guard::start(&topology, "");
    let stream = topology.client.connect((SERVER, 80));
    guard.0.signal(Signal::SIGKILL);
    guard.0.wait(PATIENCE);
    wait_until("the program is gone", PATIENCE, || !topology.server.has_program("veth0"));
    assert_echoes(&topology.client, (SERVER, 80), b"bare");
    // What the guard has made is the kernel's like any other.
    echo(&stream, 1 << 20);
}

#[test]
#[ignore = "needs root"]
fn guard_of_what_cannot_be_guarded_is_refused() {
    let topology = Topology::new();
    let refuses = |command: &mut Command, words: &[&str]| {
        let before = topology.server.state();
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with("error: ") && said.lines().count() == 1, "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "no {words:?} in {said}");
        assert_eq!(topology.server.state(), before);
    };
    refuses(&mut command(&topology, "veth7", ""), &["veth7", "ip link"]);
    refuses(&mut command(&topology, "lo", ""), &["lo is no Ethernet"]);
    refuses(&mut command(&topology, "veth0", "--port 0"), &["0", "--help"]);
    let mut bare = topology.server.command("setpriv");
    bare.args(["--bounding-set=-all", "--inh-caps=-all", env!("CARGO_BIN_EXE_sluice")]);
    refuses(bare.args(["guard", "--iface", "veth0", "--port", "80"]), &["CAP_"]);
    let nowhere = Path::new("/nowhere.o");
    refuses(&mut command_with(&topology, "veth0", (nowhere, "")), &["/nowhere.o"]);
    refuses(&mut command_with(&topology, "veth0", (&program(), "")), &["sluice_grant"]);
    topology.server.write_sysctl(COOKIES, "0");
    refuses(&mut command(&topology, "veth0", ""), &["tcp_syncookies", "--set-sysctls"]);
    // The setting is put back also where the start fails later on.
    let fails = &mut command_with(&topology, "veth0", (nowhere, "--set-sysctls"));
    refuses(fails, &["/nowhere.o"]);
    assert_eq!(topology.server.sysctl(COOKIES), "0");
    topology.server.write_sysctl(COOKIES, "1");
    let guard = Guard::start(&topology, "");
    refuses(&mut command(&topology, "veth0", ""), &["sluice_guard", "xdp off"]);
    guard.end(Signal::SIGTERM);
}

const COOKIES: &str = "net/ipv4/tcp_syncookies";
