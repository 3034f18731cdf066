//! Bad input: one line that says what is wrong, exit code 2, and nothing changed on the machine.

use std::process::Command;

use crate::process::Process;
use crate::server::{Sluice, command, program};
use crate::topology::{CLIENT, Options, PATIENCE, RESERVED_PORTS, SERVER, Topology};
use crate::transfer::assert_echoes;

/// Runs `command`, which must refuse; its one line must hold each of `words`.
fn assert_refuses(topology: &Topology, command: &mut Command, words: &[&str]) {
    let before = topology.server.state();
    let shown = format!("{command:?}");
    // The bound is curl's and sluice's own: a server that starts would never end.
    let mut bounded = Command::new("timeout");
    bounded.args(["--kill-after=1", "60"]).arg(command.get_program()).args(command.get_args());
    let output = bounded.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{shown}:\n{errors}");
    assert_eq!(errors.lines().count(), 1, "{shown}: not one line:\n{errors}");
    assert!(errors.starts_with("error: "), "{shown}: {errors}");
    for word in words {
        assert!(errors.contains(word), "{shown}: no `{word}` in: {errors}");
    }
    assert!(output.stdout.is_empty(), "{shown}: {}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(topology.server.state(), before, "{shown} changed the machine");
}

/// As [`assert_refuses`], for `sluice run --iface veth0` with `options`.
fn assert_run_refuses(topology: &Topology, options: &str, words: &[&str]) {
    assert_refuses(topology, &mut command(topology, "veth0", options), words);
}

#[test]
#[ignore = "needs root"]
fn unknown_interface_is_refused() {
    let topology = Topology::new();
    assert_refuses(&topology, &mut command(&topology, "veth7", ""), &["veth7"]);
}

#[test]
#[ignore = "needs root"]
fn missing_capabilities_are_refused() {
    let topology = Topology::new();
    let mut bare = topology.server.command("setpriv");
    bare.args(["--bounding-set=-all", "--inh-caps=-all", env!("CARGO_BIN_EXE_sluice")]);
    bare.args(["run", "--iface", "veth0", "--program"]).arg(program());
    assert_refuses(&topology, &mut bare, &["CAP_"]);
}

#[test]
#[ignore = "needs root"]
fn port_of_a_kernel_socket_is_refused() {
    let topology = Topology::new();
    let _taken = topology.server.listen((SERVER, 80));
    assert_run_refuses(&topology, "", &["80"]);
}

#[test]
#[ignore = "needs root"]
fn interface_of_another_program_is_refused() {
    let topology = Topology::new();
    let mut pass = topology.server.command(env!("CARGO_BIN_EXE_sluice"));
    let mut other = Process::start(pass.args(["pass", "--iface", "veth0"]));
    crate::process::wait_until("the other program is attached", PATIENCE, || {
        other.assert_alive();
        topology.server.has_program("veth0")
    });
    assert_run_refuses(&topology, "", &["veth0"]);
}

#[test]
#[ignore = "needs root"]
fn interface_of_another_sluice_is_refused_and_the_first_goes_on() {
    let topology = Topology::new();
    let first = Sluice::start(&topology, "--listen 7=echo");
    assert_run_refuses(&topology, "--listen 8080=http", &["veth0"]);
    assert_echoes(&topology.client, (SERVER, 7), b"the first");
    first.stop();
}

#[test]
#[ignore = "needs root"]
fn fewer_workers_than_queues_are_refused() {
    let topology = Topology::with(&Options { queues: 2, ..Options::default() });
    assert_run_refuses(&topology, "--queues 1", &["queue", "ethtool"]);
}

#[test]
#[ignore = "needs root"]
fn overlapping_range_of_local_ports_is_refused() {
    let topology = Topology::new();
    topology.server.write_sysctl(RESERVED_PORTS, "40000-40010");
    let options = format!("--connect {CLIENT}:9000=echo --local-ports 40005-40100");
    assert_run_refuses(&topology, &options, &["4000"]);
}

#[test]
#[ignore = "needs root"]
fn address_that_is_not_ours_is_refused() {
    let topology = Topology::new();
    assert_run_refuses(&topology, "--listen 10.9.9.9:80=http", &["10.9.9.9"]);
    // An own address must not be the kernel's.
    assert_run_refuses(&topology, &format!("--addr {SERVER}/24"), &["10.77.0.1"]);
}

#[test]
#[ignore = "needs root"]
fn mode_that_is_not_had_is_refused() {
    let topology = Topology::new();
    assert_run_refuses(&topology, "--zero-copy", &["zero-copy"]);
}

#[test]
#[ignore = "needs root"]
fn missing_program_file_is_refused() {
    let topology = Topology::new();
    let mut run = topology.server.command(env!("CARGO_BIN_EXE_sluice"));
    run.args(["run", "--iface", "veth0", "--program", "/nonexistent.o"]);
    assert_refuses(&topology, &mut run, &["/nonexistent.o"]);
}

#[test]
#[ignore = "needs root"]
fn malformed_options_are_refused() {
    let topology = Topology::new();
    for options in [
        "--listen http",
        "--listen 80",
        "--listen 80=ftp",
        "--listen 70000=echo",
        "--listen 0=echo",
        "--listen 80=http --listen 80=echo",
        "--addr 10.77.0.300/24",
        "--addr 10.77.0.9/33",
        "--addr 10.77.0.9",
        "--addr fd77::9",
        "--addr fd77::9/129",
        "--addr fd77::9/64 --addr fd77::9/64",
        "--addr fd77::9/64 --gateway 10.77.0.2",
        "--addr fd77::9/64 --gateway fd78::1",
        "--connect fd77::2:9=echo",
        "--gateway 10.77.0.2",
        "--mode fast",
        "--copy --zero-copy",
        "--queues 0",
        "--cpus 0-x",
        "--cpus 4096",
        "--vlan 4095",
        "--local-ports 2000-1000",
        "--local-ports 1000",
        "--connect 10.77.0.2=echo",
        "--grace soon",
        "--for -1",
        "--no-such-option",
        "stray",
    ] {
        assert_run_refuses(&topology, options, &[]);
    }
    let sluice = env!("CARGO_BIN_EXE_sluice");
    assert_refuses(&topology, topology.server.command(sluice).arg("run"), &["--iface"]);
    assert_refuses(&topology, &mut topology.server.command(sluice), &[]);
}
