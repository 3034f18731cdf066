//! AF_XDP: UMEM, rings, sockets and the workers that turn them.
//!
//! [`Datapath::open`] binds one socket for each queue; the control plane puts them into the XDP
//! program's map; [`Datapath::start`] gives each a shard and a pinned thread. Loads no program and
//! knows no netlink.

mod affinity;
mod burst;
mod clock;
mod frame;
mod handover;
mod level;
mod packet;
mod rings;
mod running;
pub mod shared;
mod stack;
mod syscalls;
mod umem;
mod waiting;
mod worker;
mod xsk;

use core::fmt;
use std::error;
use std::io;
use std::os::fd::BorrowedFd;

pub use affinity::allowed_cpus;
pub use clock::Clock;
pub use handover::Waker;
pub use packet::PacketSocket;
pub use running::{Ended, Phase, Running};
pub use stack::Stack;
pub use umem::MTU_MAX;
pub use waiting::{SPIN, Waiting};
pub use worker::WorkerError;

use self::xsk::{Xsk, XskConfig};
use crate::observe::Published;

/// Whether frames may be copied between the driver and the UMEM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CopyMode {
    /// As the driver offers it, without copies where it can.
    #[default]
    Auto,
    /// Copies demanded.
    Copy,
    /// Copies refused: an error where the driver has no zero-copy mode.
    ZeroCopy,
}

/// What a datapath is made for.
#[derive(Clone, Debug)]
pub struct DatapathConfig {
    /// The interface's name.
    pub interface: String,
    /// The interface's MTU: bytes of an IP packet.
    pub mtu: u16,
    /// Number of queues, each of which gets a socket.
    pub queues: u16,
    /// Whether copies are demanded, refused or as found.
    pub copy: CopyMode,
    /// CPU of each worker in turn; worker n runs on `cpus[n % cpus.len()]`.
    pub cpus: Vec<usize>,
    /// How workers wait for something to do.
    pub waiting: Waiting,
    /// The clock that deadlines of commands refer to.
    pub clock: Clock,
}

/// Bound sockets, one for each queue, that no thread turns yet.
#[derive(Debug)]
pub struct Datapath {
    config: DatapathConfig,
    sockets: Vec<Xsk>,
}

impl Datapath {
    /// Maps memory and binds a socket to every queue.
    ///
    /// # Errors
    /// [`Error::Mtu`] when no frame size holds the MTU, [`Error::Bind`] when the kernel refuses.
    pub fn open(config: DatapathConfig) -> Result<Self, Error> {
        let frame_size = umem::frame_size_for(config.mtu).ok_or(Error::Mtu { mtu: config.mtu })?;
        let sockets = (0..config.queues)
            .map(|queue| {
                Xsk::bind(&XskConfig {
                    interface: config.interface.clone(),
                    queue,
                    copy: config.copy,
                    frame_size,
                    is_lone: config.queues == 1,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { config, sockets })
    }

    /// The sockets' descriptors in the order of their queues, for the program's map.
    pub fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(Xsk::as_fd)
    }

    /// Whether all sockets work without copies, as the kernel said.
    pub fn is_zero_copy(&self) -> bool {
        self.sockets.iter().all(Xsk::is_zero_copy)
    }

    /// Gives each socket its stack, the values it publishes to, and a thread.
    ///
    /// # Errors
    /// [`Error::Thread`] when there are not as many stacks as queues or a thread cannot be made.
    pub fn start<S: Stack>(self, stacks: Vec<(S, Published)>) -> Result<Running, Error> {
        running::start(self.config, self.sockets, stacks)
    }
}

/// Why a datapath could not be set up.
#[derive(Debug)]
pub enum Error {
    /// The MTU is larger than one frame can be.
    Mtu {
        /// The interface's MTU in bytes.
        mtu: u16,
    },
    /// A UMEM without frames was asked for.
    NoFrames,
    /// A size that xsk-rs refuses.
    Config(String),
    /// The kernel refused the UMEM.
    Umem(io::Error),
    /// The kernel refused to bind the socket.
    Bind(io::Error),
    /// A thread or its eventfd could not be made.
    Thread(io::Error),
}

impl Error {
    fn umem(err: xsk_rs::umem::UmemCreateError) -> Self {
        Self::Umem(cause(&err))
    }

    fn socket(err: xsk_rs::socket::SocketCreateError) -> Self {
        Self::Bind(cause(&err))
    }
}

/// The operating system's error below one of xsk-rs's, whose own text names only the step.
fn cause(err: &dyn error::Error) -> io::Error {
    let errno = err
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>())
        .and_then(io::Error::raw_os_error);
    errno.map_or_else(|| io::Error::other(err.to_string()), io::Error::from_raw_os_error)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mtu { mtu } => {
                write!(f, "MTU {mtu} is larger than the {} that one frame holds", umem::MTU_MAX)
            }
            Self::NoFrames => f.write_str("a UMEM needs frames"),
            Self::Config(what) => f.write_str(what),
            Self::Umem(err) => write!(f, "the kernel refused the packet memory: {err}"),
            Self::Bind(err) => write!(f, "the kernel refused the AF_XDP socket: {err}"),
            Self::Thread(err) => write!(f, "a worker could not be started: {err}"),
        }
    }
}

impl error::Error for Error {}
