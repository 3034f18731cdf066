//! The XDP program: finding its object, loading it, attaching it to an interface.
//!
//! Owns the program and the link that holds it there. Its maps are `maps`' business.

use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use aya::maps::MapError as AyaMapError;
use aya::programs::{ProgramError, Xdp};
use aya::{Ebpf, EbpfError, EbpfLoader};
use nix::libc;
use nix::net::if_::if_nametoindex;
use stack_ebpf::contract::{FRONT_PROGRAMS, PASS_PROGRAM, PROGRAM, STEER_PROGRAM};

use super::attached::attached;
use super::blocks::Blocks;
use super::error::{AttachError, LoadError, PassError};
use super::front::{FrontMaps, FrontSize};
use super::maps::{MapError, Maps};
use super::sys;

/// Where the object is: what the environment variable `SLUICE_XDP` names, else `sluice-xdp.o` in the
/// executable's folder or the nearest one above it.
///
/// # Errors
/// [`LoadError::NoObject`] where there is none.
pub fn object_path() -> Result<PathBuf, LoadError> {
    match env::var_os(OBJECT_VARIABLE) {
        Some(named) => Ok(named.into()),
        None => beside(OBJECT_NAME),
    }
}

/// The file of this name in the executable's folder or the nearest one above it.
pub(super) fn beside(name: &'static str) -> Result<PathBuf, LoadError> {
    let executable = env::current_exe().unwrap_or_default();
    let mut found = executable.ancestors().skip(1).map(|folder| folder.join(name));
    found.find(|path| path.is_file()).ok_or(LoadError::NoObject { name, executable })
}

/// A loaded XDP program with its maps, attached nowhere yet.
pub struct Program {
    /// What it is told and what it counts.
    pub maps: Maps,
    /// The block list, and the limit of SYNs.
    pub blocks: Blocks,
    /// The arrays of the front line.
    pub front: FrontMaps,
    ebpf: Ebpf,
}

impl Program {
    /// Loads the steering program into the kernel, with the least of arrays.
    ///
    /// # Errors
    /// When the object cannot be read, or the kernel refuses a map or the program.
    pub fn load(object: &Path) -> Result<Self, LoadError> {
        Self::load_for(object, FrontSize::default())
    }

    /// The same with arrays of this size.
    ///
    /// # Errors
    /// As [`Program::load`].
    pub fn load_for(object: &Path, size: FrontSize) -> Result<Self, LoadError> {
        let mut ebpf = read(object, size)?;
        let mut maps = Maps::take(&mut ebpf).map_err(LoadError::Map)?;
        let blocks = Blocks::take(&mut ebpf).map_err(LoadError::Map)?;
        let front = FrontMaps::take(&mut ebpf, size).map_err(LoadError::Map)?;
        load(&mut ebpf, PROGRAM)?;
        let [ipv4, ipv6] = FRONT_PROGRAMS;
        for (place, name) in (0..).zip([ipv4, ipv6, STEER_PROGRAM]) {
            let program = load(&mut ebpf, name)?;
            let program = program.fd().map_err(LoadError::Program)?;
            maps.set_program(place, program).map_err(LoadError::Map)?;
        }
        Ok(Self { maps, blocks, front, ebpf })
    }

    /// Attaches the program; what it returns holds it there, also when `self` is gone.
    ///
    /// # Errors
    /// When the interface is not there or taken, or the mode is not to be had.
    pub fn attach(&self, interface: &str, wanted: ModeWanted) -> Result<Attached, AttachError> {
        attach(self.xdp().map_err(AttachError::Program)?, interface, wanted)
    }

    /// How many instructions of a program the verifier walked; `None` where the kernel does not tell.
    pub fn verified_instructions(&self, name: &str) -> Option<u32> {
        let program: &Xdp = self.ebpf.program(name)?.try_into().ok()?;
        program.info().ok()?.verified_instruction_count()
    }

    /// The program itself, for test runs.
    ///
    /// # Errors
    /// When the object holds another kind of program under its name.
    pub fn xdp(&self) -> Result<&Xdp, ProgramError> {
        let program = self.ebpf.program(PROGRAM).ok_or(ProgramError::NotLoaded)?;
        program.try_into()
    }
}

/// Attaches the program that passes every frame, for the peer end of a veth pair.
///
/// # Errors
/// When the object cannot be loaded, or the program not attached natively.
pub fn attach_pass(object: &Path, interface: &str) -> Result<Attached, PassError> {
    let mut ebpf = read(object, FrontSize::default()).map_err(PassError::Load)?;
    let xdp = load(&mut ebpf, PASS_PROGRAM).map_err(PassError::Load)?;
    // Generic mode would not make veth's receive ring.
    attach(xdp, interface, ModeWanted::Native).map_err(PassError::Attach)
}

/// A program's attachment to an interface; ends when dropped, and with the process.
#[derive(Debug)]
pub struct Attached {
    /// The mode that was had.
    pub mode: Mode,
    /// Why native mode was not, where the mode was left open and is generic.
    pub native_refused: Option<io::Error>,
    _link: OwnedFd,
}

/// The mode in which a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver, before the kernel makes a socket buffer.
    Native,
    /// In the kernel's receive path, on any interface.
    Generic,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}

/// The mode that is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModeWanted {
    /// Native where the driver has it, else generic.
    #[default]
    Auto,
    /// Native or an error.
    Native,
    /// Generic.
    Generic,
}

fn read(object: &Path, size: FrontSize) -> Result<Ebpf, LoadError> {
    make((object, &bytes(object)?), size)
}

/// What is in an object.
pub(super) fn bytes(object: &Path) -> Result<Vec<u8>, LoadError> {
    fs::read(object)
        .map_err(|source| LoadError::Object { path: object.to_owned(), source: Box::new(source) })
}

/// Makes an object's maps, which arrays of this size are among.
pub(super) fn make((object, bytes): (&Path, &[u8]), size: FrontSize) -> Result<Ebpf, LoadError> {
    let mut loader = EbpfLoader::new();
    for (name, entries) in size.entries() {
        loader.map_max_entries(name, entries);
    }
    loader.load(bytes).map_err(|error| match error {
        EbpfError::MapError(source) => create_error(source),
        other => LoadError::Object { path: object.to_owned(), source: Box::new(other) },
    })
}

pub(super) fn load<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a Xdp, LoadError> {
    let program = ebpf.program_mut(name).ok_or(LoadError::NoProgram { name })?;
    let xdp: &mut Xdp = program.try_into().map_err(LoadError::Program)?;
    xdp.load().map_err(load_error)?;
    Ok(xdp)
}

/// What it means that the kernel does not take a program.
pub(super) fn load_error(error: ProgramError) -> LoadError {
    match &error {
        ProgramError::LoadError { io_error, .. } if is_permission(io_error) => {
            LoadError::Permission
        }
        _ => LoadError::Program(error),
    }
}

fn create_error(source: AyaMapError) -> LoadError {
    match source {
        AyaMapError::CreateError { io_error, .. } if is_permission(&io_error) => {
            LoadError::Permission
        }
        AyaMapError::CreateError { name, io_error } => LoadError::Kernel { map: name, io_error },
        other => LoadError::Map(MapError { map: "of the program", source: other }),
    }
}

fn is_permission(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

pub(super) fn attach(
    xdp: &Xdp,
    interface: &str,
    wanted: ModeWanted,
) -> Result<Attached, AttachError> {
    let ifindex = if_nametoindex(interface)
        .map_err(|_| AttachError::NoInterface { interface: interface.to_owned() })?;
    let program = xdp.fd().map_err(AttachError::Program)?.as_fd();
    let try_mode = |mode| {
        let flags = match mode {
            Mode::Generic => XDP_FLAGS_SKB_MODE,
            Mode::Native => XDP_FLAGS_DRV_MODE,
        };
        sys::link_xdp(program, ifindex, flags)
    };
    let fail = |mode, source: io::Error| match source.raw_os_error() {
        // EEXIST: a program of the other mode is there.
        Some(libc::EBUSY | libc::EEXIST) => {
            AttachError::Taken { interface: interface.to_owned(), by: attached(ifindex) }
        }
        _ if is_permission(&source) => AttachError::Permission,
        _ => AttachError::Mode { interface: interface.to_owned(), mode, source },
    };
    let first = if wanted == ModeWanted::Generic { Mode::Generic } else { Mode::Native };
    let error = match try_mode(first) {
        Ok(link) => return Ok(Attached { mode: first, native_refused: None, _link: link }),
        Err(error) => error,
    };
    match fail(first, error) {
        AttachError::Mode { source, .. } if wanted == ModeWanted::Auto => {
            let link = try_mode(Mode::Generic).map_err(|error| fail(Mode::Generic, error))?;
            Ok(Attached { mode: Mode::Generic, native_refused: Some(source), _link: link })
        }
        other => Err(other),
    }
}

/// The environment variable that names the object.
pub(super) const OBJECT_VARIABLE: &str = "SLUICE_XDP";
/// The object's file name.
pub(super) const OBJECT_NAME: &str = "sluice-xdp.o";
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
