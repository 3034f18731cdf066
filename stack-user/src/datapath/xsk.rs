//! One AF_XDP socket with its UMEM and its rings: what a worker receives and sends with.
//!
//! Owns binding, kicks and statistics. Does not load programs (the socket is put into the program's
//! map by the control plane) and does not wait.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::poll::ppoll;
use nix::sys::time::TimeSpec;
use xsk_rs::config::{BindFlags, Interface, LibxdpFlags, SocketConfig};
use xsk_rs::socket::Socket;

use super::burst::Bursts;
use super::frame::{Frame, Free, Pool, Rx};
use super::level::Level;
use super::rings::{CompletionRing, FillRing, RxRing, TxRing, queue_size};
use super::syscalls::{self, Kick};
use super::umem::{self, HEADROOM, Memory, Parts};
use super::{CopyMode, Error};
use crate::shard::Ahead;
use crate::shard::Transmit;
use crate::wire::run::{MOST_SEGMENTS, Run};

/// What a socket is bound to and how large its rings are.
#[derive(Clone, Debug)]
pub(super) struct XskConfig {
    /// The interface's name.
    pub(super) interface: String,
    /// The queue, from 0.
    pub(super) queue: u16,
    /// Whether copies are demanded, refused or as found.
    pub(super) copy: CopyMode,
    /// Size of a frame in bytes.
    pub(super) frame_size: usize,
    /// Whether it is the interface's only queue: packets of other sockets then take the same way.
    pub(super) is_lone: bool,
}

/// What the kernel counts for a socket (`XDP_STATISTICS`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Statistics {
    pub(super) rx_dropped: u64,
    pub(super) rx_ring_full: u64,
    pub(super) fill_ring_empty: u64,
    pub(super) rx_invalid: u64,
    pub(super) tx_invalid: u64,
}

/// A bound socket. The rings stand before the memory, so that they are dropped first.
#[derive(Debug)]
pub(super) struct Xsk {
    fill: FillRing,
    rx: RxRing,
    tx: TxRing,
    completion: CompletionRing,
    rx_pool: Pool,
    tx_pool: Pool,
    memory: Memory,
    /// The frame given out by `reserve` and not yet committed.
    reserved: Option<Frame<Free>>,
    /// Offset in a reserved frame at which its data begins, as the last commit had it.
    lead: usize,
    zero_copy: bool,
    /// Where runs of segments leave as one packet, if they do.
    bursts: Option<Bursts>,
    level: Level,
}

impl Xsk {
    /// Maps a UMEM, binds a socket and fills its fill ring. `EBUSY` is retried for a second: the
    /// kernel frees the queue of a socket just closed with a delay.
    pub(super) fn bind(config: &XskConfig) -> Result<Self, Error> {
        let umem = umem::config(config.frame_size, RX_FRAMES, TX_FRAMES)?;
        let (memory, Parts { rx: rx_pool, tx: tx_pool }) = Memory::new(umem, RX_FRAMES, TX_FRAMES)?;
        let interface: Interface = config
            .interface
            .parse()
            .map_err(|_| Error::Config("an interface's name holds no NUL".to_owned()))?;
        let socket_config = SocketConfig::builder()
            .rx_queue_size(queue_size(RX_FRAMES)?)
            .tx_queue_size(queue_size(TX_FRAMES)?)
            .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
            .bind_flags(config.copy.bind_flags() | BindFlags::XDP_USE_NEED_WAKEUP)
            .build();
        let mut attempt = 0;
        let (tx, rx, rest) = loop {
            // SAFETY: this UMEM is new and shared with no other socket, and no program is loaded
            // by libxdp (the flag above), which is what the contract asks.
            let socket = unsafe {
                Socket::new(socket_config, memory.umem(), &interface, u32::from(config.queue))
            };
            match socket.map_err(Error::socket) {
                Ok(rings) => break rings,
                Err(Error::Bind(err)) if is_busy(&err) && attempt < BIND_ATTEMPTS => {
                    attempt += 1;
                    pause();
                }
                Err(err) => return Err(err),
            }
        };
        let (fill, completion) =
            rest.ok_or_else(|| Error::Config("a UMEM of its own brings its rings".to_owned()))?;
        let tx = TxRing::new(tx, TX_FRAMES);
        let fd = tx.socket().as_raw_fd();
        let zero_copy = syscalls::is_zero_copy(fd).map_err(Error::Bind)?;
        // Both only raise the ceiling of one wake-up; without them a burst takes more wake-ups.
        let _ = syscalls::allow_frames_per_kick(fd, TX_FRAMES);
        let _ = syscalls::allow_send_memory(fd, SEND_MEMORY);
        let mut xsk = Self {
            fill: FillRing::new(fill),
            rx: RxRing::new(rx),
            tx,
            completion: CompletionRing::new(completion),
            rx_pool,
            tx_pool,
            memory,
            reserved: None,
            lead: 0,
            zero_copy,
            bursts: None,
            level: Level::new(RX_FRAMES as usize),
        };
        if config.is_lone && !zero_copy && syscalls::sums_in_software(&config.interface) {
            // Without it every frame goes by the ring.
            xsk.bursts = Bursts::open(&config.interface).ok();
        }
        xsk.refill();
        Ok(xsk)
    }

    /// The socket's descriptor, for poll and for the program's map.
    pub(super) fn fd(&self) -> RawFd {
        self.tx.socket().as_raw_fd()
    }

    /// The socket's descriptor, borrowed.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket is open as long as the rings in `self` live.
        unsafe { BorrowedFd::borrow_raw(self.fd()) }
    }

    /// Whether the kernel shares its buffers with the UMEM, as it said itself.
    pub(super) fn is_zero_copy(&self) -> bool {
        self.zero_copy
    }

    /// Takes back the frames whose packets have left; returns how many.
    pub(super) fn complete(&mut self) -> usize {
        self.completion.complete(&mut self.tx_pool, self.memory.size())
    }

    /// Appends received frames to `out`, at most `most`, and asks for their first lines; returns how many.
    pub(super) fn receive(&mut self, out: &mut Vec<Frame<Rx>>, most: usize) -> usize {
        let n = self.rx.receive(&mut self.rx_pool, self.memory.size(), out, most);
        if n > 0 {
            // Where fewer came than might have, none was left; to ask the ring would be to wait for a
            // line that another core writes.
            let behind = if n < most { 0 } else { self.rx.waiting() };
            self.level.on_received(n, behind);
        }
        for frame in out.iter() {
            self.memory.prefetch(frame);
        }
        n
    }

    /// The bytes of a received frame.
    #[inline]
    pub(super) fn packet<'a>(&'a self, frame: &'a Frame<Rx>) -> &'a [u8] {
        self.memory.packet(frame)
    }

    /// What stands ahead of a received frame.
    #[inline]
    pub(super) fn ahead<'a>(&'a self, frame: &'a Frame<Rx>) -> Ahead<'a> {
        self.memory.ahead(frame)
    }

    /// Gives received frames back.
    pub(super) fn release(&mut self, frames: &mut Vec<Frame<Rx>>) {
        for frame in frames.drain(..) {
            self.rx_pool.release(frame);
        }
    }

    /// Another second is over, for what is reckoned by time.
    pub(super) fn on_second(&mut self) {
        self.level.on_second();
    }

    /// Puts free frames on the fill ring, as many as are to lie ready, and wakes the driver where it waits for them.
    pub(super) fn refill(&mut self) -> usize {
        let most = self.level.now().saturating_sub(self.rx_pool.in_kernel());
        let given = self.fill.refill(&mut self.rx_pool, most);
        if given > 0 && self.zero_copy && self.fill.needs_wakeup() {
            // An interface that is down or gone says so to the next transmit kick or poll.
            let _ = syscalls::kick_rx(self.fd());
        }
        given
    }

    /// Whether a received frame waits.
    pub(super) fn has_frames(&mut self) -> bool {
        self.rx.has_frames()
    }

    /// Frames that wait on the transmit ring for the kernel.
    pub(super) fn waiting(&mut self) -> u32 {
        self.tx.waiting()
    }

    /// Wakes the kernel until it has taken every frame, as often as `KICKS` allows. What is left
    /// stays on the ring for the next turn.
    pub(super) fn kick(&mut self) -> Kick {
        let mut last = Kick::Done;
        for _ in 0..KICKS {
            if self.tx.waiting() == 0 || !self.tx.needs_wakeup() {
                return Kick::Done;
            }
            last = syscalls::kick_tx(self.fd());
            match last {
                Kick::Done => {}
                // A completion frees the memory or the completion slot that it asked for.
                Kick::Again => {
                    self.complete();
                }
                Kick::Down | Kick::Gone | Kick::Failed(_) => return last,
            }
        }
        if self.tx.waiting() == 0 { Kick::Done } else { last }
    }

    /// The socket's pending error, taken: 0 when there is none.
    pub(super) fn pending_error(&self) -> i32 {
        syscalls::pending_error(self.fd()).unwrap_or(0)
    }

    /// What the kernel counted.
    pub(super) fn statistics(&self) -> io::Result<Statistics> {
        let read = self.tx.socket().xdp_statistics()?;
        Ok(Statistics {
            rx_dropped: read.rx_dropped(),
            rx_ring_full: read.rx_ring_full(),
            fill_ring_empty: read.rx_fill_ring_empty_descs(),
            rx_invalid: read.rx_invalid_descs(),
            tx_invalid: read.tx_invalid_descs(),
        })
    }

    /// In debug builds: every frame is where the ledger says, and none was lost in this turn.
    pub(super) fn assert_whole(&self) {
        self.rx_pool.assert_whole(0);
        self.tx_pool.assert_whole(usize::from(self.reserved.is_some()));
    }
}

impl Transmit for Xsk {
    fn reserve(&mut self) -> Option<&mut [u8]> {
        if self.reserved.is_none() {
            if self.tx_pool.free() == 0 {
                self.complete();
            }
            if !self.tx.has_room() {
                return None;
            }
            self.reserved = self.tx_pool.take();
        }
        let frame = self.reserved.as_mut()?;
        Some(self.memory.buffer(frame, self.lead))
    }

    fn commit(&mut self, start: usize, len: usize) {
        let Some(mut frame) = self.reserved.take() else {
            debug_assert!(false, "commit follows reserve");
            return;
        };
        // xsk-rs fixes where a frame's data begins, so the buffer is laid such that the start seen
        // last falls there. Only when the start changes are bytes moved.
        let lead = self.lead;
        let room = self.memory.buffer(&mut frame, lead);
        if start + len > room.len() || lead + len > room.len() {
            debug_assert!(false, "a packet fits its frame");
            self.tx_pool.give_back(frame);
            return;
        }
        if start != lead {
            room.copy_within(start..start + len, lead);
            self.lead = start.min(HEADROOM);
        }
        let frame = self.memory.finish(frame, len);
        self.tx.submit(&mut self.tx_pool, frame);
    }

    fn reserve_run(&mut self) -> Option<(&mut [u8], usize)> {
        let bursts = self.bursts.as_mut()?;
        // A run that the kernel refuses goes by the ring.
        if self.tx_pool.free() < MOST_SEGMENTS {
            self.completion.complete(&mut self.tx_pool, self.memory.size());
        }
        let has_room = self.tx_pool.free() >= MOST_SEGMENTS
            && self.tx.waiting() as usize + MOST_SEGMENTS <= TX_FRAMES as usize;
        has_room.then(|| (bursts.room(), MOST_SEGMENTS))
    }

    fn commit_run(&mut self, start: usize, text: &[&[u8]], run: Run) {
        if self.tx.waiting() > 0 {
            // What was made before leaves before. An error comes again with the turn's own kick.
            let _ = self.kick();
        }
        let Some(bursts) = &mut self.bursts else { return };
        if bursts.send(start, text, run) {
            return;
        }
        // Seldom: the kernel is short of memory, or the interface is down.
        let whole = bursts.whole(start, text, run);
        for n in 0..run.count(whole.len()) {
            let cut = |frame: &mut [u8]| run.cut(&whole, n, frame);
            if let Some(len) = self.reserve().and_then(cut) {
                self.commit(0, len);
            }
        }
    }
}

impl CopyMode {
    fn bind_flags(self) -> BindFlags {
        match self {
            Self::Auto => BindFlags::empty(),
            Self::Copy => BindFlags::XDP_COPY,
            Self::ZeroCopy => BindFlags::XDP_ZEROCOPY,
        }
    }
}

fn is_busy(err: &io::Error) -> bool {
    err.raw_os_error() == Some(libc::EBUSY)
}

/// Waits before the next attempt to bind.
fn pause() {
    let _ = ppoll(&mut [], Some(TimeSpec::new(0, BIND_PAUSE_NANOS)), None);
}

/// Frames for reception; the fill ring holds all of them, and so does the receive ring: a worker
/// that waits a few milliseconds for its core then loses nothing at a million packets a second.
const RX_FRAMES: u32 = 8192;
/// Frames for transmission; the transmit and the completion ring hold all of them.
const TX_FRAMES: u32 = 2048;
/// Memory that sent frames may hold until the device is done with them, in bytes.
const SEND_MEMORY: i32 = 8 << 20;
/// Wake-ups in one turn: a full ring at the default of 32 frames each.
const KICKS: u32 = TX_FRAMES / 32 + 1;
/// Attempts to bind a busy queue, and the pause between them: about one second.
const BIND_ATTEMPTS: u32 = 50;
const BIND_PAUSE_NANOS: i64 = 20_000_000;
