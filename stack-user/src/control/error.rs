//! Why the XDP program could not be loaded or attached, and what to do about it.
//!
//! Owns the words. Each message is one line, except where the verifier's own text is in it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use aya::BtfError;
use aya::programs::ProgramError;
use nix::libc;

use super::attached::Attachment;
use super::maps::MapError;
use super::program::{Mode, OBJECT_NAME, OBJECT_VARIABLE};

/// Why a program could not be loaded.
#[derive(Debug)]
pub enum LoadError {
    /// No object was found beside or above the executable.
    NoObject {
        /// Its file name.
        name: &'static str,
        /// From where it was looked for.
        executable: PathBuf,
    },
    /// The object cannot be read, or is not one of ours.
    Object {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The object lacks a program.
    NoProgram {
        /// The program's name.
        name: &'static str,
    },
    /// The kernel lacks a function that a program calls.
    NoFunction {
        /// The function's name.
        name: &'static str,
        /// Why it was not found.
        source: BtfError,
    },
    /// The kernel asks for capabilities that the process lacks.
    Permission,
    /// The kernel does not have a kind of map, or BPF at all.
    Kernel {
        /// The map that could not be made.
        map: String,
        /// What the kernel said.
        io_error: io::Error,
    },
    /// A map is not what the contract says.
    Map(MapError),
    /// The kernel refuses the program; the verifier's reason is in it.
    Program(ProgramError),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoObject { name, executable } => {
                let beside = executable.display();
                write!(
                    f,
                    "no {name} beside or above {beside}: build it by `cargo xtask build-ebpf`"
                )?;
                match *name {
                    OBJECT_NAME => write!(f, ", or name it in {OBJECT_VARIABLE}"),
                    _ => f.write_str(", or name it by --program"),
                }
            }
            Self::Object { path, source } => {
                write!(f, "the XDP object {} cannot be used: {source}", path.display())
            }
            Self::NoProgram { name } => write!(
                f,
                "the XDP object holds no program {name}: build it anew by `cargo xtask build-ebpf`"
            ),
            Self::NoFunction { name, source } => write!(
                f,
                "the kernel does not lend {name}: {source}; Linux 6.9 or newer with \
                 CONFIG_DEBUG_INFO_BTF and CONFIG_SYN_COOKIES is needed"
            ),
            Self::Permission => f.write_str(CAPABILITIES),
            Self::Kernel { map, io_error } => write!(
                f,
                "the kernel cannot make the map {map}: {io_error}; Linux 6.1 or newer with \
                 CONFIG_BPF_SYSCALL and CONFIG_XDP_SOCKETS is needed"
            ),
            Self::Map(error) => error.fmt(f),
            Self::Program(error) => write!(f, "the kernel refuses the XDP program: {error}"),
        }
    }
}

impl std::error::Error for LoadError {}

/// Why a program could not be attached.
#[derive(Debug)]
pub enum AttachError {
    /// This network namespace has no such interface.
    NoInterface {
        /// Its name.
        interface: String,
    },
    /// Another XDP program is attached to the interface.
    Taken {
        /// The interface's name.
        interface: String,
        /// The other program, where it can be found.
        by: Option<Attachment>,
    },
    /// The kernel asks for capabilities that the process lacks.
    Permission,
    /// The interface does not take a program in this mode.
    Mode {
        /// The interface's name.
        interface: String,
        /// The mode that was asked for.
        mode: Mode,
        /// What the kernel said.
        source: io::Error,
    },
    /// The program is not loaded.
    Program(ProgramError),
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoInterface { interface } => {
                write!(f, "there is no interface {interface} in this network namespace")
            }
            Self::Taken { interface, by } => {
                write!(f, "another XDP program is attached to {interface}")?;
                if let Some(Attachment { id, name }) = by {
                    write!(f, " (id {id}, name {})", name.as_deref().unwrap_or("unknown"))?;
                }
                f.write_str("; stop the process that holds it, or: ip link set dev ")?;
                write!(f, "{interface} xdp off")
            }
            Self::Permission => f.write_str(CAPABILITIES),
            Self::Mode { interface, mode, source } => {
                write!(f, "{interface} does not take an XDP program in {mode} mode: {source}")?;
                match (mode, source.raw_os_error()) {
                    (Mode::Native, Some(libc::ERANGE)) => f.write_str(
                        "; its MTU or its peer's is too large (at most 3506 on veth), or there are \
                         too few queues",
                    ),
                    (Mode::Native, _) => f.write_str("; generic mode works on any interface"),
                    (Mode::Generic, _) => Ok(()),
                }
            }
            Self::Program(error) => write!(f, "the XDP program cannot be attached: {error}"),
        }
    }
}

impl std::error::Error for AttachError {}

/// Why [`attach_pass`](super::program::attach_pass) failed.
#[derive(Debug)]
pub enum PassError {
    /// Loading failed.
    Load(LoadError),
    /// Attaching failed.
    Attach(AttachError),
}

impl fmt::Display for PassError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(error) => error.fmt(f),
            Self::Attach(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PassError {}

const CAPABILITIES: &str = "the kernel refuses to load and attach XDP programs: run as root, or with \
     CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW and CAP_PERFMON";
