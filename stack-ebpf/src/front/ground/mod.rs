//! A front line on the host: maps, a clock that stands still, and frames to meet it.
//!
//! Two tests use it: the host's over the library, and stack-user's `tests/verdicts` over the program in
//! the kernel, which includes this file by its path. Hence it names the library as a user would.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::vec::Vec;

use stack_ebpf::Verdict;
use stack_ebpf::contract::{Address, AddressKey, Config, mapped};
use stack_ebpf::cookie::{Keys, Period};
use stack_ebpf::flow::{FlowName, Offsets};
use stack_ebpf::flows::{Bucket, Entry, FEWEST_BUCKETS, Kind, SUMMARY_WORDS, home, mark};
use stack_ebpf::frame::Frame;
use stack_ebpf::front::{Budget, Chunk, Defence, Door, Front, Gate, Record, Scratch, Wire, defend};
use stack_ebpf::siphash::Key;
use stack_ebpf::steer::{Tables, classify};
use zerocopy::FromBytes;

/// What user space told, and what the program keeps.
pub(crate) struct Ground {
    pub(crate) config: Config,
    pub(crate) front: Front,
    pub(crate) gates: Vec<Gate>,
    pub(crate) doors: Vec<Door>,
    pub(crate) flows: Vec<Bucket>,
    pub(crate) summary: Vec<u64>,
    pub(crate) queue: u32,
    /// Whether the sieve of all frames comes first, as with Sluice; a guard has none.
    pub(crate) is_classified: bool,
    pub(crate) now: u64,
    pub(crate) budgets: [Cell<Budget>; 2],
    pub(crate) proven: RefCell<BTreeSet<u64>>,
}

/// A frame that can be answered.
pub(crate) struct Live(pub(crate) Vec<u8>);

impl Ground {
    /// Two queues and two listeners, HTTP's closed at both queues; every flow is known.
    pub(crate) fn new(vlan: u16) -> Self {
        let now = 1_000 * SECOND;
        let buckets = FEWEST_BUCKETS;
        let front = Front {
            keys: Keys::at(SECRET, Period::at(now)),
            flow: FLOW_KEY,
            origin: 0,
            nonce: 0x1234_5678_9abc_def1,
            stray_cost: Budget::cost_of(1_000),
            reset_cost: Budget::cost_of(1_000),
            buckets,
            shards: 2,
            doors: 2,
            flags: 0,
            traffic_class: 0,
            hop_limit: 64,
            zero: 0,
        };
        let gate = Gate::new(1, true);
        let all = Door::WINDOW_SCALING | Door::SACK | Door::TIMESTAMPS;
        let closed = Door::closed([64_240, 65_160, 64_800, 64_260], [1460, 1440], 7, all);
        Self {
            config: Config { mac: MAC, vlan, ports_first: 61_000, ports_last: 61_999 },
            front,
            gates: std::vec![gate; 2],
            doors: std::vec![closed, Door::default(), closed, Door::default()],
            flows: std::vec![[0; 8]; 2 * buckets as usize],
            summary: std::vec![0; 2 * SUMMARY_WORDS as usize],
            queue: 0,
            is_classified: true,
            now,
            budgets: Default::default(),
            proven: RefCell::default(),
        }
    }

    /// Writes a flow down for a shard.
    pub(crate) fn enter(&mut self, name: &FlowName, kind: Kind, shard: u8) {
        let hash = name.fingerprint(&FLOW_KEY);
        let home = home(hash, self.front.buckets);
        let (word, bit) = mark(home);
        self.summary[(u32::from(shard) * SUMMARY_WORDS + word) as usize] |= bit;
        let index = u32::from(shard) * self.front.buckets + home;
        let bucket = &mut self.flows[index as usize];
        let free = bucket.iter_mut().find(|word| **word == 0).expect("room in the bucket");
        *free = Entry::new(hash, kind, shard).0;
    }

    /// What becomes of a frame: the verdict, what it is then, and what is said ahead of it.
    pub(crate) fn meet(&self, frame: &[u8]) -> (Verdict, Vec<u8>, Record) {
        let verdict = match self.is_classified {
            true => classify(frame, self),
            false => Verdict::RedirectListener,
        };
        let mut scratch = Scratch::EMPTY;
        let mut live = Live(frame.to_vec());
        let is_asked = matches!(verdict, Verdict::RedirectListener | Verdict::RedirectOwn)
            && self.gates.get(self.queue as usize).is_some_and(|gate| gate.closed != 0);
        let verdict = match is_asked {
            true => defend(&mut live, self, (verdict, self.config.vlan), &mut scratch),
            false => verdict,
        };
        (verdict, live.0, scratch.record)
    }
}

impl Tables for Ground {
    fn config(&self) -> Option<&Config> {
        Some(&self.config)
    }

    fn address(&self, addr: &AddressKey) -> Option<Address> {
        let shared = [mapped(SHARED), SHARED6].contains(addr);
        let own = (*addr == mapped(OWN)).then_some(Address::Own);
        if shared { Some(Address::Shared) } else { own }
    }

    fn is_listener(&self, _local: &AddressKey, port: u16) -> bool {
        [HTTP, ECHO].contains(&port)
    }
}

impl Defence for Ground {
    fn front(&self) -> &Front {
        &self.front
    }

    fn queue(&self) -> u32 {
        self.queue
    }

    fn gate(&self, shard: u32) -> Option<&Gate> {
        self.gates.get(shard as usize)
    }

    fn listener(&self, _local: &[u64; 2], port: u16) -> Option<u32> {
        [HTTP, ECHO].iter().position(|known| *known == port).map(|place| place as u32)
    }

    fn door(&self, index: u32) -> Option<&Door> {
        self.doors.get(index as usize)
    }

    fn bucket(&self, index: u32) -> Option<&Bucket> {
        self.flows.get(index as usize)
    }

    fn summary(&self, index: u32) -> Option<&u64> {
        self.summary.get(index as usize)
    }

    fn is_classified(&self) -> bool {
        self.is_classified
    }

    fn now(&self) -> u64 {
        self.now
    }

    fn spend_stray(&self, cost: u64, now: u64) -> bool {
        spend(&self.budgets[0], cost, now)
    }

    fn spend_reset(&self, cost: u64, now: u64) -> bool {
        spend(&self.budgets[1], cost, now)
    }

    fn prove(&self, fingerprint: u64) {
        self.proven.borrow_mut().insert(fingerprint);
    }

    fn is_proven(&self, fingerprint: u64) -> bool {
        self.proven.borrow().contains(&fingerprint)
    }

    fn unknown(&self, value: u64) -> u64 {
        value
    }
}

fn spend(budget: &Cell<Budget>, cost: u64, now: u64) -> bool {
    let mut left = budget.get();
    let is_let = left.take(cost, now);
    budget.set(left);
    is_let
}

impl Frame for Live {
    fn read<T: FromBytes>(&self, offset: usize) -> Option<T> {
        self.0[..].read(offset)
    }

    fn length(&self) -> usize {
        self.0.len()
    }
}

impl Wire for Live {
    fn load(&self, offset: usize, length: usize, into: &mut Chunk) -> bool {
        let Some(from) = self.0.get(offset..offset + length) else { return false };
        *into = Chunk::ZERO;
        match into.octets_mut().get_mut(..length) {
            Some(room) if length > 0 => room.copy_from_slice(from),
            _ => return false,
        }
        true
    }

    fn resize(&mut self, length: usize) -> bool {
        self.0.resize(length, 0);
        true
    }

    fn write<const N: usize>(&mut self, offset: usize, words: [u32; N]) -> bool {
        let octets: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let room = self.0.get_mut(offset..offset + octets.len());
        room.map(|room| room.copy_from_slice(&octets)).is_some()
    }
}

/// A segment of a peer's.
#[derive(Clone, Debug)]
pub(crate) struct Says {
    pub(crate) is_v6: bool,
    pub(crate) vlan: u16,
    pub(crate) local: [u8; 4],
    pub(crate) remote: [u8; 4],
    pub(crate) ports: (u16, u16),
    pub(crate) sequence: u32,
    pub(crate) acknowledgment: u32,
    pub(crate) flags: u8,
    pub(crate) options: Vec<u8>,
    pub(crate) text: Vec<u8>,
    /// Added to the checksum.
    pub(crate) damage: u16,
}

impl Default for Says {
    fn default() -> Self {
        Self {
            is_v6: false,
            vlan: 0,
            local: SHARED,
            remote: PEER,
            ports: (40_000, HTTP),
            sequence: 77_000,
            acknowledgment: 0,
            flags: SYN,
            options: Vec::new(),
            text: Vec::new(),
            damage: 0,
        }
    }
}

impl Says {
    /// The addresses as a packet holds them, the peer's first.
    fn addresses(&self) -> [Vec<u8>; 2] {
        match self.is_v6 {
            true => [PEER6.to_vec(), SHARED6.to_vec()],
            false => [self.remote.to_vec(), self.local.to_vec()],
        }
    }

    /// The connection's name.
    pub(crate) fn name(&self) -> FlowName {
        let (local, remote) = match self.is_v6 {
            true => (SHARED6, PEER6),
            false => (mapped(self.local), mapped(self.remote)),
        };
        FlowName { local, remote, local_port: self.ports.1, remote_port: self.ports.0 }
    }

    /// What its name adds to the clocks.
    pub(crate) fn offsets(&self) -> Offsets {
        Offsets::new(self.name().fingerprint(&FLOW_KEY), &SECRET)
    }

    /// The frame with right checksums, but for the damage.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let mut tcp = Vec::new();
        tcp.extend(self.ports.0.to_be_bytes());
        tcp.extend(self.ports.1.to_be_bytes());
        tcp.extend(self.sequence.to_be_bytes());
        tcp.extend(self.acknowledgment.to_be_bytes());
        tcp.extend([((20 + self.options.len()) as u8) << 2, self.flags, 0xfa, 0xf0, 0, 0, 0, 0]);
        tcp.extend(&self.options);
        tcp.extend(&self.text);
        let [source, destination] = self.addresses();
        let mut pseudo = [source.clone(), destination.clone()].concat();
        pseudo.extend([0, 6]);
        pseudo.extend((tcp.len() as u16).to_be_bytes());
        let sum = checksum(&[&pseudo[..], &tcp].concat()).wrapping_add(self.damage);
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        let mut frame = [MAC, PEER_MAC].concat();
        if self.vlan != 0 {
            frame.extend([0x81, 0]);
            frame.extend((self.vlan | 0x6000).to_be_bytes());
        }
        match self.is_v6 {
            true => {
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                frame.extend((tcp.len() as u16).to_be_bytes());
                frame.extend([6, 64]);
                frame.extend([source, destination].concat());
            }
            false => {
                frame.extend([8, 0]);
                let mut ip = std::vec![0x45, 0];
                ip.extend((20 + tcp.len() as u16).to_be_bytes());
                ip.extend([0, 9, 0x40, 0, 61, 6, 0, 0]);
                ip.extend([source, destination].concat());
                let sum = checksum(&ip);
                ip[10..12].copy_from_slice(&sum.to_be_bytes());
                frame.extend(ip);
            }
        }
        frame.extend(tcp);
        frame
    }
}

/// Puts the right checksum into the IPv4 header of an untagged frame, whatever its fields are.
pub(crate) fn sum_ipv4(frame: &mut [u8]) {
    let end = 14 + usize::from(frame.get(14).map_or(0, |first| first & 15)) * 4;
    if let Some(header) = frame.get_mut(14..end)
        && header.len() >= 20
    {
        header[10..12].fill(0);
        let sum = checksum(header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
}

/// The checksum of octets (RFC 1071), the slow way; zero over what holds its own.
pub(crate) fn checksum(octets: &[u8]) -> u16 {
    let sum: u64 = octets
        .chunks(2)
        .map(|pair| u64::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u64::from(*low)))
        .sum();
    let mut sum = sum;
    while sum >> 16 != 0 {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

/// Options as Linux sends them with a SYN.
pub(crate) fn linux_options(stamp: u32, shift: u8) -> Vec<u8> {
    let mut options = std::vec![2, 4, 0x05, 0xb4, 4, 2, 8, 10];
    options.extend(stamp.to_be_bytes());
    options.extend([0, 0, 0, 0, 1, 3, 3, shift]);
    options
}

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const PSH: u8 = 8;
pub(crate) const ACK: u8 = 16;
pub(crate) const SECOND: u64 = 1_000_000_000;
/// The secret that cookies' keys come from, and the key of flows.
pub(crate) const SECRET: Key = Key::new(*b"a secret of ours");
pub(crate) const FLOW_KEY: Key = Key::new(*b"the key of flows");
pub(crate) const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub(crate) const SHARED: [u8; 4] = [10, 0, 0, 1];
pub(crate) const OWN: [u8; 4] = [10, 0, 0, 9];
pub(crate) const PEER: [u8; 4] = [10, 0, 0, 2];
pub(crate) const SHARED6: AddressKey = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
pub(crate) const PEER6: AddressKey = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
/// The listener with a closed gate, and the one without.
pub(crate) const HTTP: u16 = 80;
pub(crate) const ECHO: u16 = 7;
