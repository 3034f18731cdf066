//! A relay between two interfaces, in user space: delay, rate, and whatever its user wants done to
//! single frames.
//!
//! Owns two packet sockets and a thread. What waits is bounded in bytes; beyond the bound frames are
//! dropped and counted. Namespaces are the business of whoever opens the sockets.

mod packets;

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

pub use packets::PacketSocket;

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client's end to the server's.
    ToServer,
    /// From the server's end to the client's.
    ToClient,
}

/// What a filter wants of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on, after the link's delay.
    Carry,
    /// It is lost.
    Drop,
    /// It waits for [`Relay::release`].
    Hold,
}

/// Looks at each frame.
pub type Filter = Box<dyn FnMut(Way, &[u8]) -> Fate + Send>;

/// What the link is like, the same both ways.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// How long each frame takes.
    pub delay: Duration,
    /// Bits of frames in a second; `None` for as many as come.
    pub rate: Option<u64>,
    /// The most bytes that wait, each way.
    pub queue: usize,
}

impl Default for Link {
    fn default() -> Self {
        Self { delay: Duration::ZERO, rate: None, queue: 4 << 20 }
    }
}

/// What the relay has done so far, both ways together.
#[derive(Debug, Default)]
pub struct Carried {
    /// Frames that came in.
    pub frames: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
    /// Frames for which the queue had no room.
    pub overflown: AtomicU64,
    /// Frames that the kernel did not take.
    pub refused: AtomicU64,
}

/// A running relay; ends when dropped.
#[derive(Debug)]
pub struct Relay {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    is_over: AtomicBool,
    carried: Carried,
    wishes: Mutex<Wishes>,
}

/// What the user wants next.
#[derive(Default)]
struct Wishes {
    filter: Option<Filter>,
    releases: bool,
}

impl std::fmt::Debug for Wishes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wishes(..)")
    }
}

impl Relay {
    /// Relays between two interfaces: the one towards the server and the one towards the client.
    ///
    /// # Errors
    /// Where the kernel refuses room for what comes while the thread does not run: without
    /// CAP_NET_ADMIN.
    pub fn start([to_server, to_client]: [PacketSocket; 2], link: Link) -> nix::Result<Self> {
        for socket in [&to_server, &to_client] {
            setsockopt(&socket.fd, sockopt::RcvBufForce, &(16 << 20))?;
            setsockopt(&socket.fd, sockopt::SndBuf, &(4 << 20))?;
        }
        let sides = [to_server, to_client].map(|socket| Side {
            socket,
            queue: VecDeque::new(),
            queued: 0,
            free_at: Duration::ZERO,
        });
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let [to_server, to_client] = sides;
            Thread { shared: theirs, link, to_server, to_client, held: Vec::new() }.run();
        });
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Every frame from now on is looked at by `filter`.
    pub fn filter(&self, filter: impl FnMut(Way, &[u8]) -> Fate + Send + 'static) {
        self.wishes().filter = Some(Box::new(filter));
    }

    /// Frames are no longer looked at.
    pub fn clear(&self) {
        self.wishes().filter = None;
    }

    /// Sends what is held, in the order in which it came.
    pub fn release(&self) {
        self.wishes().releases = true;
    }

    /// What the relay has done so far.
    pub fn carried(&self) -> &Carried {
        &self.shared.carried
    }

    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.shared.wishes()
    }
}

impl Shared {
    /// A filter that panicked has ended the thread, which is told when the relay is dropped.
    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if ended.is_some_and(|ended| ended.is_err()) && !std::thread::panicking() {
            panic!("the relay panicked");
        }
    }
}

/// The end towards one side, with the frames that go there.
struct Side {
    socket: PacketSocket,
    queue: VecDeque<(Duration, Vec<u8>)>,
    queued: usize,
    /// When the link has sent what is queued.
    free_at: Duration,
}

struct Thread {
    shared: Arc<Shared>,
    link: Link,
    to_server: Side,
    to_client: Side,
    held: Vec<(Way, Vec<u8>)>,
}

impl Thread {
    fn run(mut self) {
        let mut buffer = vec![0; 1 << 16];
        while !self.shared.is_over.load(Ordering::Relaxed) {
            self.wait();
            self.grant();
            // Frames that came in at the client's end go to the server.
            for way in [Way::ToServer, Way::ToClient] {
                for _ in 0..BATCH {
                    let from = match way {
                        Way::ToServer => &self.to_client.socket,
                        Way::ToClient => &self.to_server.socket,
                    };
                    let taken = recv(from.fd.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT);
                    let Ok(len) = taken else { break };
                    self.take(way, &buffer[..len]);
                }
            }
            let now = now();
            for side in [&mut self.to_server, &mut self.to_client] {
                send_due(side, &self.shared.carried, now);
            }
        }
    }

    /// Until a frame comes or is due; a wish is seen after that time at the latest.
    fn wait(&self) {
        let queues = [&self.to_server.queue, &self.to_client.queue];
        let due = queues.iter().filter_map(|queue| Some(queue.front()?.0)).min();
        let left = due.map_or(LOOK, |due| due.saturating_sub(now()).min(LOOK));
        // Below this it looks again without sleeping: a wake-up takes as long.
        let left = if left < SPIN { Duration::ZERO } else { left };
        let mut fds = [&self.to_server, &self.to_client]
            .map(|side| PollFd::new(side.socket.fd.as_fd(), PollFlags::POLLIN));
        // An interruption only makes the look earlier.
        let _ = ppoll(&mut fds, Some(TimeSpec::from_duration(left)), None);
    }

    /// Does what the user wished for.
    fn grant(&mut self) {
        if !std::mem::take(&mut self.shared.wishes().releases) {
            return;
        }
        for (way, frame) in std::mem::take(&mut self.held) {
            self.enqueue(way, frame);
        }
    }

    fn take(&mut self, way: Way, frame: &[u8]) {
        let carried = &self.shared.carried;
        carried.frames.fetch_add(1, Ordering::Relaxed);
        carried.bytes.fetch_add(frame.len() as u64, Ordering::Relaxed);
        let mut wishes = self.shared.wishes();
        let fate = wishes.filter.as_mut().map_or(Fate::Carry, |filter| filter(way, frame));
        drop(wishes);
        match fate {
            Fate::Carry => self.enqueue(way, frame.to_vec()),
            Fate::Drop => {}
            Fate::Hold => {
                assert!(self.held.len() < MOST_HELD, "more frames are held than are looked at");
                self.held.push((way, frame.to_vec()));
            }
        }
    }

    fn enqueue(&mut self, way: Way, frame: Vec<u8>) {
        let now = now();
        let side = match way {
            Way::ToServer => &mut self.to_server,
            Way::ToClient => &mut self.to_client,
        };
        if side.queued + frame.len() > self.link.queue {
            self.shared.carried.overflown.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let sending = self.link.rate.map_or(Duration::ZERO, |rate| {
            Duration::from_nanos(frame.len() as u64 * 8_000_000_000 / rate)
        });
        side.free_at = side.free_at.max(now) + sending;
        side.queued += frame.len();
        side.queue.push_back((side.free_at + self.link.delay, frame));
    }
}

/// Sends what is due. What the kernel does not take is lost, as on any link.
fn send_due(side: &mut Side, carried: &Carried, now: Duration) {
    while side.queue.front().is_some_and(|(due, _)| *due <= now) {
        let Some((_, frame)) = side.queue.pop_front() else { return };
        side.queued -= frame.len();
        if !side.socket.send(&frame) {
            carried.refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Time since some fixed moment, on a clock that never goes back.
fn now() -> Duration {
    // Every kernel has this clock.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// Waits shorter than this are no sleep.
const SPIN: Duration = Duration::from_micros(100);
/// Frames taken from one side before the other has its turn.
const BATCH: usize = 64;
/// How long a wish may wait.
const LOOK: Duration = Duration::from_millis(2);
/// The most frames that are held.
const MOST_HELD: usize = 4096;
