//! The guard of kernel listeners: its programs, and what they are told and count.
//!
//! Owns the loading, with the number of the kernel's function that the classifier calls, which aya does
//! not fill in. Which listeners are guarded, and when something changes, is its caller's to know.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use aya::Btf;
use aya::maps::{Array, HashMap, Map, MapData, MapError as AyaMapError, PerCpuArray, ProgramArray};
use aya::programs::links::LinkOrder;
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::{ProgramError, SchedClassifier, TcAttachType, Xdp};
use aya::{BtfError, Ebpf};
use aya_obj::btf::BtfKind;
use stack_ebpf::contract::{self, Config, ListenerKey};
use stack_ebpf::cookie::{Keys, Period};
use stack_ebpf::flows::FEWEST_BUCKETS;
use stack_ebpf::front::{Door, Front};
use stack_ebpf::siphash::Key;
use stack_ebpf::verdict::{Action, Verdict};
use zerocopy::transmute;

use super::error::{AttachError, LoadError};
use super::front::{FrontMaps, FrontSize};
use super::maps::MapError;
use super::program::{self, Attached, ModeWanted};
use super::sysctl;
use crate::shard::Secrets;
use crate::tcp::{first_window, window_scale};
use crate::time::Instant;
use crate::wire::{Addr, MacAddr};

/// Where the guard's object is: `sluice-guard.o` in the executable's folder or the nearest one above it.
///
/// # Errors
/// [`LoadError::NoObject`] where there is none.
pub fn object_path() -> Result<PathBuf, LoadError> {
    program::beside(OBJECT_NAME)
}

/// A loaded guard.
pub struct Guard {
    config: Array<MapData, [u8; size_of::<Config>()]>,
    listeners: HashMap<MapData, [u8; size_of::<ListenerKey>()], u32>,
    counters: PerCpuArray<MapData, u64>,
    grants: PerCpuArray<MapData, u64>,
    /// Held, for its entries go with the last descriptor.
    _programs: ProgramArray<MapData>,
    front: FrontMaps,
    ebpf: Ebpf,
    /// What the hash map holds.
    guarded: BTreeSet<(Addr, u16)>,
}

/// What a guard has done since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// SYNs answered by a cookie.
    pub answered: u64,
    /// Acknowledgments whose cookie was found valid.
    pub verified: u64,
    /// Segments dropped: of no connection and no cookie, or malformed.
    pub refused: u64,
    /// Segments of no connection and no cookie that the kernel got within their budget.
    pub passed: u64,
    /// Segments that went to the kernel without what was found of them: the driver leaves no room ahead of
    /// its frames. Acknowledgments of cookies among them are lost.
    pub bare: u64,
    /// Connections that the kernel took.
    pub granted: u64,
    /// Connections that it did not take.
    pub declined: u64,
}

/// The programs' hold on an interface; ends when dropped, and with the process.
#[derive(Debug)]
pub struct Held {
    /// The XDP program's part. It goes first: from then on no cookie is sent that nobody takes.
    pub xdp: Attached,
    _classifier: SchedClassifierLink,
}

impl Guard {
    /// Loads the programs into the kernel.
    ///
    /// # Errors
    /// When the object cannot be read, or the kernel refuses a map or a program or lacks the function that
    /// hands connections over.
    pub fn load(object: &Path) -> Result<Self, LoadError> {
        let mut bytes = program::bytes(object)?;
        let patched = set_call(&mut bytes, function(contract::ASSIGN)?);
        patched.ok_or(LoadError::NoProgram { name: contract::GRANT_PROGRAM })?;
        let mut ebpf = program::make((object, &bytes), SIZE)?;
        let mut programs: ProgramArray<MapData> = take(&mut ebpf, contract::PROGRAMS)?;
        let guard = Self {
            config: take(&mut ebpf, contract::CONFIG)?,
            listeners: take(&mut ebpf, contract::LISTENERS)?,
            counters: take(&mut ebpf, contract::COUNTERS)?,
            grants: take(&mut ebpf, contract::GRANTS)?,
            front: FrontMaps::take(&mut ebpf, SIZE).map_err(LoadError::Map)?,
            _programs: {
                for (place, name) in (0..).zip(contract::FRONT_PROGRAMS) {
                    let program = program::load(&mut ebpf, name)?;
                    let program = program.fd().map_err(LoadError::Program)?;
                    let set = programs.set(place, program, 0);
                    set.map_err(|e| LoadError::Map(MapError::new(contract::PROGRAMS, e)))?;
                }
                program::load(&mut ebpf, contract::GUARD_PROGRAM)?;
                classifier(&mut ebpf)?.load().map_err(program::load_error)?;
                programs
            },
            ebpf,
            guarded: BTreeSet::new(),
        };
        Ok(guard)
    }

    /// Sets what holds for every listener. Before attaching.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn set(
        &mut self,
        front: &Front,
        (secrets, now): (&Secrets, Instant),
    ) -> Result<(), MapError> {
        self.front.set(front, secrets, now);
        // One door for all listeners, at each queue; no flow is known, for the kernel knows them.
        self.front.put(&Front {
            keys: Keys::at(Key::new(secrets.isn), Period::at(now.as_nanos())),
            flow: Key::new(secrets.flow),
            buckets: FEWEST_BUCKETS,
            shards: 1,
            doors: 1,
            ..*front
        });
        Ok(())
    }

    /// Sets the interface's link-layer address and what SYN-ACKs offer.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn offer(&mut self, mac: MacAddr, door: &Door) -> Result<(), MapError> {
        let config: [u8; size_of::<Config>()] =
            transmute!(Config { mac: mac.0, ..Config::default() });
        self.config.set(0, config, 0).map_err(|e| MapError::new(contract::CONFIG, e))?;
        self.front.put_doors(door);
        Ok(())
    }

    /// Guards these addresses and ports, and no others.
    ///
    /// # Errors
    /// When there are more than [`contract::MAX_LISTENERS`], or the kernel refuses it.
    pub fn guard(&mut self, places: &BTreeSet<(Addr, u16)>) -> Result<(), MapError> {
        let error = |e| MapError::new(contract::LISTENERS, e);
        for (addr, port) in self.guarded.difference(places) {
            let key: [u8; _] = transmute!(ListenerKey::new(addr.0, *port));
            self.listeners.remove(&key).map_err(error)?;
        }
        self.guarded.retain(|place| places.contains(place));
        for (addr, port) in places {
            let key: [u8; _] = transmute!(ListenerKey::new(addr.0, *port));
            self.listeners.insert(key, contract::PRESENT, 0).map_err(error)?;
            self.guarded.insert((*addr, *port));
        }
        Ok(())
    }

    /// Renews the keys of cookies, as [`FrontMaps::renew_keys`].
    pub fn renew_keys(&mut self, now: Instant) {
        self.front.renew_keys(now);
    }

    /// Attaches the programs; what it returns holds them there.
    ///
    /// # Errors
    /// When the interface is not there or taken, or the mode is not to be had.
    pub fn attach(&mut self, interface: &str, wanted: ModeWanted) -> Result<Held, AttachError> {
        let classifier = classifier(&mut self.ebpf).map_err(|_| ProgramError::NotLoaded);
        let classifier = classifier.map_err(AttachError::Program)?;
        // Before others, which may end what follows.
        let order = TcAttachOptions::TcxOrder(LinkOrder::first());
        let link = classifier
            .attach_with_options(interface, TcAttachType::Ingress, order)
            .and_then(|id| classifier.take_link(id))
            .map_err(AttachError::Program)?;
        let program = self.ebpf.program(contract::GUARD_PROGRAM);
        let program = program.ok_or(AttachError::Program(ProgramError::NotLoaded))?;
        let program: &Xdp = program.try_into().map_err(AttachError::Program)?;
        Ok(Held { xdp: program::attach(program, interface, wanted)?, _classifier: link })
    }

    /// What it has done until now.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn counts(&self) -> Result<Counts, MapError> {
        let count = |verdict: Verdict| sum(&self.counters, contract::COUNTERS, verdict as u32);
        let mut refused = 0;
        for verdict in Verdict::ALL.iter().filter(|it| it.action() == Action::Drop) {
            refused += count(*verdict)?;
        }
        Ok(Counts {
            answered: count(Verdict::TransmitCookie)?,
            verified: count(Verdict::RedirectCookie)?,
            refused,
            passed: count(Verdict::RedirectStray)?,
            bare: count(Verdict::RedirectBare)?,
            granted: sum(&self.grants, contract::GRANTS, 0)?,
            declined: sum(&self.grants, contract::GRANTS, 1)?,
        })
    }
}

/// What the kernel itself would offer in its SYN-ACKs on a link with this MTU, as its settings are now.
///
/// # Errors
/// When a setting cannot be read.
pub fn kernels_offer(mtu: u32) -> io::Result<Door> {
    let memory = sysctl::read_all("net.ipv4.tcp_rmem")?;
    let (Some(usual), Some(most)) = (memory.get(1), memory.get(2)) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "net.ipv4.tcp_rmem"));
    };
    // Not every kernel shows it in every namespace.
    let ceiling = sysctl::read("net.core.rmem_max").unwrap_or(0);
    let mss =
        [HEADERS_V4, HEADERS_V6].map(|headers| mtu.saturating_sub(headers).min(0xffff) as u16);
    let window = |mss: u16, options: u16| {
        // Half of the memory is for what is not text.
        let space = (usual / 2).min(0xffff);
        first_window(space, u32::from(mss.saturating_sub(options))) as u16
    };
    let mut options = 0;
    for (name, option) in [
        ("net.ipv4.tcp_timestamps", Door::TIMESTAMPS),
        ("net.ipv4.tcp_window_scaling", Door::WINDOW_SCALING),
        ("net.ipv4.tcp_sack", Door::SACK),
    ] {
        options |= if sysctl::read(name)? != 0 { option } else { 0 };
    }
    let windows = [(mss[0], 0), (mss[0], STAMPS), (mss[1], 0), (mss[1], STAMPS)];
    let windows = windows.map(|(mss, options)| window(mss, options));
    Ok(Door::closed(windows, mss, window_scale(ceiling.max(*most)), options))
}

fn sum(map: &PerCpuArray<MapData, u64>, name: &'static str, at: u32) -> Result<u64, MapError> {
    let counts = map.get(&at, 0).map_err(|e| MapError::new(name, e))?;
    Ok(counts.iter().sum())
}

fn classifier(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier, LoadError> {
    let name = contract::GRANT_PROGRAM;
    let program = ebpf.program_mut(name).ok_or(LoadError::NoProgram { name })?;
    program.try_into().map_err(LoadError::Program)
}

fn take<M>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, LoadError>
where
    M: TryFrom<Map, Error = AyaMapError>,
{
    let map = ebpf.take_map(name).ok_or(AyaMapError::ElementNotFound);
    let map = map.and_then(M::try_from).map_err(|source| MapError::new(name, source));
    map.map_err(LoadError::Map)
}

/// The number by which programs call a function of the running kernel.
fn function(name: &'static str) -> Result<u32, LoadError> {
    let found = Btf::from_sys_fs().and_then(|btf| btf.id_by_type_name_kind(name, BtfKind::Func));
    found.map_err(|source: BtfError| LoadError::NoFunction { name, source })
}

/// Makes the one call of [`contract::ASSIGN_NUMBER`] in an object a call of the kernel's function with
/// that number; `None` where there is not exactly one. Sections of instructions lie at multiples of
/// eight in a file.
fn set_call(object: &mut [u8], number: u32) -> Option<()> {
    let is_it = |instruction: &&mut [u8]| **instruction == call(0, contract::ASSIGN_NUMBER);
    let mut calls = object.chunks_exact_mut(8).filter(is_it);
    let (found, None) = (calls.next()?, calls.next()) else { return None };
    found.copy_from_slice(&call(PSEUDO_KFUNC_CALL, number));
    Some(())
}

/// A call, as instructions of BPF are laid out: opcode, registers, offset, number.
fn call(source: u8, number: u32) -> [u8; 8] {
    let [a, b, c, d] = number.to_le_bytes();
    [CALL, source << 4, 0, 0, a, b, c, d]
}

/// Octets of the least headers of both families.
const HEADERS_V4: u32 = 40;
const HEADERS_V6: u32 = 60;
/// Octets that timestamps take of each segment.
const STAMPS: u16 = 12;
/// The object's file name.
const OBJECT_NAME: &str = "sluice-guard.o";
/// One door at each queue that an interface may have.
const SIZE: FrontSize =
    FrontSize { shards: 1, doors: contract::MAX_QUEUES, buckets: FEWEST_BUCKETS, sources: 1 };
/// BPF_JMP | BPF_CALL.
const CALL: u8 = 0x85;
/// BPF_PSEUDO_KFUNC_CALL: the number is that of a function in the kernel's types.
const PSEUDO_KFUNC_CALL: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_of_the_kernels_function_is_set_where_there_is_one() {
        let other = [0xbf, 0x16, 0, 0, 0, 0, 0, 0];
        let marked = call(0, contract::ASSIGN_NUMBER);
        let mut object = [other, marked, other].concat();
        assert_eq!(set_call(&mut object, 65_585), Some(()));
        assert_eq!(object, [other, [0x85, 0x20, 0, 0, 0x31, 0, 1, 0], other].concat());
        assert_eq!(set_call(&mut object, 65_585), None);
        assert_eq!(set_call(&mut [marked, marked].concat(), 1), None);
    }

    #[test]
    fn function_that_the_kernel_does_not_lend_is_named_with_what_it_needs() {
        let error = function("sluice_is_lent_nothing").unwrap_err();
        let text = error.to_string();
        for part in ["does not lend sluice_is_lent_nothing", "Linux 6.9", "CONFIG_SYN_COOKIES"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
