//! What the program lets through: the block list, and how many SYNs a source may send.
//!
//! Owns these two maps. They are told by whoever loaded the program, and, as for the list, by any other
//! process that may: it finds them by the interface that the program is attached to. Nothing is pinned.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use aya::Ebpf;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, Map, MapData, MapError as AyaMapError, MapInfo};
use aya::programs::loaded_programs;
use nix::libc;
use stack_ebpf::contract::{self, BlockKey, Limits, PROGRAM};
use zerocopy::transmute;

use super::maps::{MapError, take};
use super::netlink::Netlink;
use super::prefix::Prefix;
use crate::wire::Addr;

/// The maps of one loaded program.
pub struct Blocks {
    limits: Array<MapData, [u8; size_of::<Limits>()]>,
    list: LpmTrie<MapData, [u8; size_of::<BlockKey>()], u32>,
}

impl Blocks {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, MapError> {
        Ok(Self { limits: take(ebpf, contract::LIMITS)?, list: take(ebpf, contract::BLOCKS)? })
    }

    /// Those of the Sluice that serves on an interface of this network namespace.
    ///
    /// # Errors
    /// When there is none, it is of another build, or the kernel lets this process not look.
    pub fn of_interface(interface: &str) -> Result<Self, BlockError> {
        let link = Netlink::open().and_then(|mut netlink| netlink.link(interface));
        let link = link.map_err(BlockError::Io)?;
        let Some(link) = link else { return Err(BlockError::NoInterface(interface.into())) };
        let none = |by: Option<String>| BlockError::NotServed { interface: interface.into(), by };
        let id = link.program.ok_or_else(|| none(None))?;
        let found = loaded_programs().filter_map(Result::ok).find(|program| program.id() == id);
        let info = found.ok_or(BlockError::Permission)?;
        let name = info.name_as_str().unwrap_or_default();
        if name != PROGRAM {
            return Err(none(Some(name.into())));
        }
        let ids = info.map_ids().ok().flatten().ok_or(BlockError::Permission)?;
        let maps: Vec<_> = ids.into_iter().filter_map(|id| MapInfo::from_id(id).ok()).collect();
        let find = |name: &'static str| {
            // The kernel keeps 15 bytes of a name.
            let kept = &name[..name.len().min(15)];
            let info = maps.iter().find(|info| info.name_as_str() == Some(kept));
            let info = info.ok_or_else(|| BlockError::OtherBuild(interface.into()))?;
            MapData::from_id(info.id()).map_err(|error| BlockError::of(MapError::new(name, error)))
        };
        let other = |_| BlockError::OtherBuild(interface.into());
        Ok(Self {
            limits: Array::try_from(Map::Array(find(contract::LIMITS)?)).map_err(other)?,
            list: LpmTrie::try_from(Map::LpmTrie(find(contract::BLOCKS)?)).map_err(other)?,
        })
    }

    /// Has the program drop what comes from there; what is on the list already stays on it.
    ///
    /// # Errors
    /// [`BlockError::Full`] when [`contract::MAX_BLOCKS`] are on it, else what the kernel says.
    pub fn add(&mut self, prefixes: &[Prefix]) -> Result<(), BlockError> {
        if prefixes.is_empty() {
            return Ok(());
        }
        let _lock = lock().map_err(BlockError::Io)?;
        // First, so that no entry is ever there that is not looked at.
        self.look(true)?;
        prefixes.iter().try_for_each(|prefix| self.insert(*prefix))
    }

    fn insert(&mut self, prefix: Prefix) -> Result<(), BlockError> {
        self.list.insert(&key(prefix), 0, 0).map_err(|error| match &error {
            AyaMapError::SyscallError(call) if is(&call.io_error, libc::ENOSPC) => BlockError::Full,
            _ => BlockError::of(MapError::new(contract::BLOCKS, error)),
        })
    }

    /// Takes exactly this entry off the list; returns whether it was on it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove(&mut self, prefix: Prefix) -> Result<bool, BlockError> {
        let _lock = lock().map_err(BlockError::Io)?;
        let was_there = match self.list.remove(&key(prefix)) {
            Ok(()) => true,
            Err(AyaMapError::SyscallError(call)) if is(&call.io_error, libc::ENOENT) => false,
            Err(error) => return Err(BlockError::of(MapError::new(contract::BLOCKS, error))),
        };
        if self.list.keys().next().is_none() {
            self.look(false)?;
        }
        Ok(was_there)
    }

    /// What is on the list, IPv6 before IPv4, by address.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn list(&self) -> Result<Vec<Prefix>, BlockError> {
        let mut prefixes = Vec::new();
        for key in self.list.keys() {
            let key =
                key.map_err(|error| BlockError::of(MapError::new(contract::BLOCKS, error)))?;
            let block: BlockKey = transmute!(key.data());
            let len = key.prefix_len().saturating_sub(BlockKey::bits(0));
            prefixes
                .extend(u8::try_from(len).ok().and_then(|len| Prefix::new(Addr(block.addr), len)));
        }
        prefixes.sort();
        Ok(prefixes)
    }

    /// Limits each source to `rate` SYNs a second, `burst` of them at once, while a gate is open; zero
    /// for no limit. Before attaching: the program may see half of a change.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn limit_syns(&mut self, rate: u32, burst: u32) -> Result<(), MapError> {
        self.change(|limits| limits.set_syns(rate, burst))
    }

    /// Whether the program looks at the list.
    fn look(&mut self, has_blocks: bool) -> Result<(), BlockError> {
        let change = self.change(|limits| limits.has_blocks = has_blocks.into());
        change.map_err(BlockError::of)
    }

    fn change(&mut self, change: impl FnOnce(&mut Limits)) -> Result<(), MapError> {
        let fail = |error| MapError::new(contract::LIMITS, error);
        let mut limits: Limits = transmute!(self.limits.get(&0, 0).map_err(fail)?);
        let before = limits;
        change(&mut limits);
        if limits == before {
            return Ok(());
        }
        let value: [u8; size_of::<Limits>()] = transmute!(limits);
        self.limits.set(0, value, 0).map_err(fail)
    }
}

fn key(prefix: Prefix) -> Key<[u8; size_of::<BlockKey>()]> {
    Key::new(BlockKey::bits(prefix.bits().into()), transmute!(BlockKey::new(prefix.addr().0)))
}

fn is(error: &io::Error, errno: i32) -> bool {
    error.raw_os_error() == Some(errno)
}

/// Waits for the right to change a list, which ends with the value: whether it is looked at follows from
/// whether it is empty, and both shall fit.
fn lock() -> io::Result<File> {
    let folder = Path::new(STATE);
    fs::create_dir_all(folder)?;
    let folder = File::open(folder)?;
    folder.lock()?;
    Ok(folder)
}

/// Why a block list could not be had, or changed.
#[derive(Debug)]
pub enum BlockError {
    /// The interface is not there.
    NoInterface(String),
    /// No Sluice serves on it.
    NotServed {
        /// The interface's name.
        interface: String,
        /// Another program that is attached to it.
        by: Option<String>,
    },
    /// The program there has no list that this build knows.
    OtherBuild(String),
    /// The kernel does not let this process look.
    Permission,
    /// No more entries have room.
    Full,
    /// A map.
    Map(MapError),
    /// Netlink, or the lock.
    Io(io::Error),
}

impl BlockError {
    fn of(error: MapError) -> Self {
        match &error.source {
            AyaMapError::SyscallError(call) if is(&call.io_error, libc::EPERM) => Self::Permission,
            _ => Self::Map(error),
        }
    }
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoInterface(name) => {
                write!(f, "there is no interface {name} in this network namespace")
            }
            Self::NotServed { interface, by: None } => {
                write!(f, "no Sluice serves on {interface}: it has no XDP program")
            }
            Self::NotServed { interface, by: Some(by) } => {
                write!(f, "no Sluice serves on {interface}: its XDP program is `{by}`")
            }
            Self::OtherBuild(interface) => {
                write!(f, "the Sluice on {interface} is of another build: use its own `sluice`")
            }
            Self::Permission => f.write_str("the block list needs CAP_SYS_ADMIN: run as root"),
            Self::Full => {
                let most = contract::MAX_BLOCKS;
                write!(f, "the block list is full ({most} entries): block larger networks")
            }
            Self::Map(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BlockError {}

/// Where the lock lies, with what else outlives a run.
const STATE: &str = "/run/sluice";
