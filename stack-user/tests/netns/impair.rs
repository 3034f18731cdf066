//! A link between two interfaces of a namespace that loses, repeats and reorders frames, by an XDP
//! program.
//!
//! Owns the loaded program, its attachments and its maps; all go when the value is dropped.

use aya::Ebpf;
use aya::maps::{DevMap, HashMap, MapData};
use aya::programs::{Xdp, XdpMode};
use stack_ebpf::impair::{self, Port, chance};
use zerocopy::transmute;

use crate::server::program;
use crate::topology::Namespace;

/// What the link does to frames each way, in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rates {
    /// How many are dropped.
    pub(crate) loss: u32,
    /// How many are sent twice.
    pub(crate) duplication: u32,
    /// How many take a longer way, so that those behind them come first.
    pub(crate) reordering: u32,
}

/// A link between two interfaces.
pub(crate) struct Impairment {
    ports: HashMap<MapData, u32, [u8; size_of::<Port>()]>,
    /// The numbers of its two ends.
    ends: [u32; 2],
    ebpf: Ebpf,
}

impl Impairment {
    /// Joins two interfaces of `namespace`, whose peers have XDP programs (or frames never arrive).
    pub(crate) fn join(namespace: &Namespace, ends: [&str; 2]) -> Self {
        // The longer ways: a pair each, whose far end is served by a thread of its own. It runs
        // when it is scheduled, while frames that go straight are served at once.
        for way in 0..2 {
            namespace.ip(&format!("link add d{way} type veth peer name e{way}"));
            namespace.ip(&format!("link set d{way} up"));
            namespace.ip(&format!("link set e{way} up"));
        }
        let object = std::fs::read(program().with_file_name("impair.o"))
            .expect("xtask has built the program of the impaired link");
        let link = namespace.inside(|| {
            let mut ebpf = Ebpf::load(&object).expect("the kernel takes the maps");
            let number = |name: &str| nix::net::if_::if_nametoindex(name).expect("it is there");
            let numbers = ends.map(number);
            for (at, name) in ends.into_iter().chain(["d0", "d1"]).enumerate() {
                set_device(&mut ebpf, impair::DEVICES, at as u32, number(name));
            }
            for (pair, out) in impair::PAIRS.into_iter().zip([numbers[1], numbers[0]]) {
                (0..2).for_each(|at| set_device(&mut ebpf, pair, at, out));
            }
            let ports = ebpf.take_map(impair::PORTS).expect("the program has it");
            let mut link =
                Self { ports: ports.try_into().expect("it is a hash"), ends: numbers, ebpf };
            for way in 0..2 {
                let out = 1 - way;
                let port = Port { out, detour: 2 + way, pair: way, ..Port::default() };
                link.put(numbers[way as usize], port);
                link.put(number(&format!("e{way}")), Port { out, ..Port::default() });
            }
            let xdp = program_of(&mut link.ebpf, impair::PROGRAM);
            xdp.load().expect("the verifier takes it");
            for name in ends.into_iter().chain(["e0", "e1"]) {
                xdp.attach(name, XdpMode::Driver).expect("nothing else is attached");
            }
            link
        });
        for way in 0..2 {
            // Only now is there something to serve. A namespace's own interfaces are seen in the
            // /sys that `ip netns exec` mounts.
            let threaded = format!("echo 1 > /sys/class/net/e{way}/threaded");
            let status = namespace.command("sh").args(["-c", &threaded]).status();
            assert!(status.is_ok_and(|status| status.success()), "{threaded}");
        }
        link
    }

    /// Attaches a program to `interface` that takes what is sent to it: frames that XDP sends to an
    /// interface whose peer has none are never delivered.
    pub(crate) fn take(&mut self, namespace: &Namespace, interface: &str) {
        let xdp = program_of(&mut self.ebpf, impair::TAKE);
        namespace.inside(|| {
            xdp.load().expect("the verifier takes it");
            xdp.attach(interface, XdpMode::Driver).expect("nothing else is attached");
        });
    }

    /// From now on frames meet `rates`, drawn from `seed`; counts begin anew.
    pub(crate) fn set(&mut self, rates: Rates, seed: u64) {
        for (way, number) in (1..).zip(self.ends) {
            let old = self.port(number);
            let Port { out, detour, pair, .. } = old;
            // Odd, hence never 0, and not the same both ways.
            let state = (seed.wrapping_mul(2) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15 ^ (way << 1));
            let port = Port {
                out,
                detour,
                pair,
                state,
                loss: chance(rates.loss),
                duplication: chance(rates.duplication),
                reordering: chance(rates.reordering),
                ..Port::default()
            };
            self.put(number, port);
        }
    }

    /// What happened to frames from the first end and from the second.
    pub(crate) fn counts(&self) -> [Port; 2] {
        self.ends.map(|number| self.port(number))
    }

    fn put(&mut self, number: u32, port: Port) {
        let bytes: [u8; size_of::<Port>()] = transmute!(port);
        self.ports.insert(number, bytes, 0).expect("the map has room");
    }

    fn port(&self, number: u32) -> Port {
        let bytes = self.ports.get(&number, 0).expect("the port was put");
        transmute!(bytes)
    }
}

fn program_of<'a>(ebpf: &'a mut Ebpf, name: &str) -> &'a mut Xdp {
    let program = ebpf.program_mut(name).expect("the object holds it");
    program.try_into().expect("it is of XDP")
}

fn set_device(ebpf: &mut Ebpf, map: &str, at: u32, number: u32) {
    let map = ebpf.map_mut(map).expect("the program has it");
    let mut map: DevMap<&mut MapData> = map.try_into().expect("it is a device map");
    map.set(at, number, None, 0).expect("the interface is there");
}
