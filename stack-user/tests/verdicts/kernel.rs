//! A program of its own for each test, with its maps filled from a world.

use aya::{TestRun, TestRunOptions};
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketType, socket};
use sluice::control::front::FrontSize;
use sluice::control::prefix::Prefix;
use sluice::control::program::{Program, object_path};
use sluice::wire::Addr;
use stack_ebpf::contract::ListenerKey;
use stack_ebpf::verdict::{Action, Verdict};

use crate::cases::World;
use crate::{XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX};

pub(crate) struct Kernel {
    pub(crate) program: Program,
    /// Held because its entry in the map goes with it.
    _socket: Option<OwnedFd>,
}

impl Kernel {
    /// The program with empty maps.
    pub(crate) fn unconfigured() -> Self {
        let object = object_path().unwrap_or_else(|error| panic!("{error}"));
        let size = FrontSize { sources: 1_000, ..FrontSize::default() };
        let program = Program::load_for(&object, size).unwrap_or_else(|error| panic!("{error}"));
        Self { program, _socket: None }
    }

    /// The program in `world`, no socket serving any queue.
    pub(crate) fn load(world: &World) -> Self {
        let mut kernel = Self::unconfigured();
        let maps = &mut kernel.program.maps;
        maps.set_config(world.config).unwrap();
        for (addr, kind) in &world.addresses {
            maps.set_address(Addr(*addr), *kind).unwrap();
        }
        for key in &world.listeners {
            let is_wildcard = *key == ListenerKey::wildcard(key.port.get());
            let addr = (!is_wildcard).then_some(Addr(key.addr));
            maps.set_listener(addr, key.port.get()).unwrap();
        }
        let blocked = world.blocked.iter().map(|(addr, bits)| Prefix::new(Addr(*addr), *bits));
        kernel.program.blocks.add(&blocked.map(Option::unwrap).collect::<Vec<_>>()).unwrap();
        kernel
    }

    /// The program in `world`, with a socket for queue 0, where test runs arrive. Unbound: nothing
    /// is delivered.
    pub(crate) fn serving(world: &World) -> Self {
        let mut kernel = Self::load(world);
        let socket = socket(AddressFamily::XDP, SocketType::RAW, None).unwrap();
        kernel.program.maps.set_socket(0, &socket).unwrap();
        Self { _socket: Some(socket), ..kernel }
    }

    /// What the program returns for `frame`.
    pub(crate) fn run(&self, frame: &[u8]) -> u32 {
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::new() };
        let result = self.program.xdp().unwrap().test_run(options);
        result.unwrap_or_else(|error| panic!("{error}: {frame:02x?}")).return_value
    }

    /// Asserts that `frame` meets `verdict`, and that its counter alone moves, by one.
    pub(crate) fn expect(&self, frame: &[u8], verdict: Verdict, name: &str) {
        let before = self.program.maps.counters().unwrap();
        let action = self.run(frame);
        let after = self.program.maps.counters().unwrap();
        let moved: Vec<_> = before.iter().zip(&after).filter(|(old, new)| old != new).collect();
        let wanted = returned(verdict);
        let [(old, new)] = moved[..] else { panic!("{name}: not one counter moved: {moved:?}") };
        assert_eq!((new.0, new.1 - old.1), (verdict.name(), 1), "{name}");
        assert_eq!(action, wanted, "{name}");
    }
}

/// What the program returns for a verdict.
pub(crate) fn returned(verdict: Verdict) -> u32 {
    match verdict.action() {
        Action::Pass => XDP_PASS,
        Action::Drop => XDP_DROP,
        Action::Redirect => XDP_REDIRECT,
        Action::Transmit => XDP_TX,
    }
}
