//! smoltcp over Sluice's own datapath: the same XDP program, the same AF_XDP sockets and the same worker
//! drive another stack.
//!
//! Owns the set-up of a server that echoes. It is a hidden command of the bench, so that it can run
//! inside of a namespace; it ends when its standard input does.

mod device;
mod stack;
#[cfg(test)]
mod tests;

use std::io::stdin;
use std::os::fd::AsFd;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use nix::poll::{PollFd, PollFlags, poll};
use sluice::control::config::ListenSpec;
use sluice::control::netlink::Netlink;
use sluice::control::ports;
use sluice::control::program::{ModeWanted, Program};
use sluice::datapath::{Clock, CopyMode, Datapath, DatapathConfig, Running, Waiting};
use sluice::observe::Published;
use sluice::wire::Addr;
use stack_ebpf::contract::{Address, Config};

use crate::serve::Service;
use crate::topology::SERVER;
use stack::Smol;

/// The options of the server.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// The interface.
    #[arg(long, value_name = "IFACE")]
    iface: String,
    /// The CPU of its worker.
    #[arg(long, value_name = "CPU")]
    cpu: usize,
    /// The XDP program.
    #[arg(long, value_name = "FILE")]
    program: PathBuf,
}

/// Echoes until standard input ends.
///
/// # Errors
/// Where the kernel refuses the program or the socket, and where the worker cannot go on.
pub fn run(options: &Options) -> Result<()> {
    let link = Netlink::open()?.link(&options.iface)?;
    let link = link.with_context(|| format!("there is no interface {}", options.iface))?;
    let (addr, port) = (Addr::from(SERVER), Service::Echo.port());
    let spec: ListenSpec = format!("{port}=echo").parse().map_err(anyhow::Error::msg)?;
    let _held = ports::hold(&[spec], &[addr], link.index)?;
    let mut program = Program::load(&options.program)?;
    program.maps.set_config(Config { mac: link.mac.0, ..Config::default() })?;
    program.maps.set_address(addr, Address::Shared)?;
    program.maps.set_listener(None, port)?;
    let attached = program.attach(&options.iface, ModeWanted::Auto)?;
    let mtu = u16::try_from(link.mtu)?;
    let datapath = Datapath::open(DatapathConfig {
        interface: options.iface.clone(),
        mtu,
        queues: 1,
        copy: CopyMode::Auto,
        cpus: vec![options.cpu],
        waiting: Waiting::default(),
        clock: Clock::start(),
    })?;
    for (queue, socket) in datapath.sockets().enumerate() {
        program.maps.set_socket(u32::try_from(queue)?, &socket)?;
    }
    let copying = if datapath.is_zero_copy() { "zero-copy" } else { "copy" };
    let stack = Smol::new((link.mac.0, mtu), port);
    let mut running = datapath.start(vec![(stack, Published::default())])?;
    println!("{READY}mode={},{copying}", attached.mode);
    let ended = wait(&running);
    // Detached first: from here on frames are the kernel's.
    drop(attached);
    running.stop();
    ended
}

/// Until standard input ends; an error where the worker does first.
fn wait(running: &Running) -> Result<()> {
    let stdin = stdin();
    loop {
        if let Some(ended) = running.poll_ended() {
            let why = ended.error.map_or_else(String::new, |error| error.to_string());
            bail!("the worker ended: {why}");
        }
        let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        // An interruption only makes the look earlier.
        if poll(&mut fds, LOOK).is_ok_and(|ready| ready > 0) {
            return Ok(());
        }
    }
}

/// What the line begins with that says that the server serves.
pub const READY: &str = "ready: ";
/// How often the worker is looked at, in milliseconds.
const LOOK: u16 = 500;
