//! The workers as other threads see them: commands in, requests and ends out.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam::queue::ArrayQueue;

use super::handover::{self, Waker};
use super::stack::Stack;
use super::worker::{self, Worker, WorkerError};
use super::xsk::Xsk;
use super::{Clock, DatapathConfig, Error, umem};
use crate::observe::Published;
use crate::shard::{Command, Request};

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// It serves.
    Serving = 0,
    /// It was told to shut down and still has connections or frames.
    Draining = 1,
    /// It was told to shut down and has nothing left.
    Drained = 2,
}

/// The end of a worker's thread.
#[derive(Debug)]
pub struct Ended {
    /// The shard.
    pub shard: u16,
    /// Why it ended; `None` when it was told to.
    pub error: Option<WorkerError>,
}

/// What a worker shares with the control plane.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) commands: ArrayQueue<Command>,
    pub(super) waker: Arc<Waker>,
    pub(super) published: Published,
    pub(super) stop: AtomicBool,
    phase: AtomicU8,
}

impl Shared {
    /// Publishes what the worker is doing.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Serving,
            1 => Phase::Draining,
            _ => Phase::Drained,
        }
    }
}

/// What all workers share: their way to the control plane.
#[derive(Debug)]
pub(super) struct Upward {
    pub(super) requests: ArrayQueue<(u16, Request)>,
    pub(super) ended: ArrayQueue<Ended>,
    pub(super) waker: Waker,
}

/// Workers that run. Dropping it stops them.
#[derive(Debug)]
pub struct Running {
    shared: Vec<Arc<Shared>>,
    upward: Arc<Upward>,
    threads: Vec<JoinHandle<()>>,
    clock: Clock,
}

/// Spawns one thread for each socket.
pub(super) fn start<S: Stack>(
    config: DatapathConfig,
    sockets: Vec<Xsk>,
    stacks: Vec<(S, Published)>,
) -> Result<Running, Error> {
    if sockets.len() != stacks.len() {
        return Err(Error::Thread(io::Error::other("not as many stacks as queues")));
    }
    let no_waker = |errno: nix::Error| Error::Thread(errno.into());
    let wakers: Arc<[Arc<Waker>]> = sockets
        .iter()
        .map(|_| Waker::new().map(Arc::new))
        .collect::<Result<Vec<_>, _>>()
        .map_err(no_waker)?
        .into();
    let frame_size = umem::frame_size_for(config.mtu).ok_or(Error::Mtu { mtu: config.mtu })?;
    let ports = handover::connect(&wakers, HAND_OVER_SLOTS, frame_size);
    let upward = Arc::new(Upward {
        requests: ArrayQueue::new(REQUESTS),
        ended: ArrayQueue::new(sockets.len().max(1)),
        waker: Waker::new().map_err(no_waker)?,
    });
    let mut running =
        Running { shared: Vec::new(), upward, threads: Vec::new(), clock: config.clock };
    for (index, ((xsk, (stack, published)), port)) in
        sockets.into_iter().zip(stacks).zip(ports).enumerate()
    {
        let shared = Arc::new(Shared {
            commands: ArrayQueue::new(COMMANDS),
            waker: Arc::clone(&wakers[index]),
            published,
            stop: AtomicBool::new(false),
            phase: AtomicU8::new(Phase::Serving as u8),
        });
        running.shared.push(Arc::clone(&shared));
        let worker = Worker::new(worker::Parts {
            index: index as u16,
            stack,
            xsk,
            port,
            shared,
            upward: Arc::clone(&running.upward),
            clock: config.clock,
            waiting: config.waiting,
            cpu: config.cpus.get(index % config.cpus.len().max(1)).copied(),
        });
        let thread = thread::Builder::new()
            .name(format!("sluice-{index}"))
            .spawn(move || worker.run())
            .map_err(Error::Thread)?;
        running.threads.push(thread);
    }
    Ok(running)
}

impl Running {
    /// Number of workers.
    pub fn count(&self) -> u16 {
        self.shared.len() as u16
    }

    /// The clock that deadlines of commands refer to.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Gives a command to one shard; gives it back when the shard's queue is full.
    ///
    /// # Errors
    /// The command, when the queue of 1,024 is full or there is no such shard.
    pub fn send(&self, shard: u16, command: Command) -> Result<(), Command> {
        let Some(shared) = self.shared.get(usize::from(shard)) else { return Err(command) };
        shared.commands.push(command)?;
        shared.waker.wake();
        Ok(())
    }

    /// Gives a command to every shard; returns how many had no room for it.
    pub fn broadcast(&self, command: &Command) -> usize {
        (0..self.count()).filter(|&shard| self.send(shard, command.clone()).is_err()).count()
    }

    /// What a shard asked for, oldest first.
    pub fn poll_request(&self) -> Option<(u16, Request)> {
        self.upward.requests.pop()
    }

    /// A worker that ended.
    pub fn poll_ended(&self) -> Option<Ended> {
        self.upward.ended.pop()
    }

    /// Readable when a worker has something to say; call [`Running::prepare_wait`] before polling.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.upward.waker.as_fd()
    }

    /// Says that the caller is about to poll; returns whether there is something to do first.
    pub fn prepare_wait(&self) -> bool {
        self.upward.waker.prepare();
        !self.upward.requests.is_empty() || !self.upward.ended.is_empty()
    }

    /// Says that the caller has polled.
    pub fn finish_wait(&self) {
        self.upward.waker.awake();
    }

    /// What a worker is doing.
    pub fn phase(&self, shard: u16) -> Option<Phase> {
        self.shared.get(usize::from(shard)).map(|shared| shared.phase())
    }

    /// Whether every worker was told to shut down and has nothing left.
    pub fn is_drained(&self) -> bool {
        self.shared.iter().all(|shared| shared.phase() == Phase::Drained)
    }

    /// Ends all workers and closes their sockets.
    pub fn stop(&mut self) {
        for shared in &self.shared {
            shared.stop.store(true, Ordering::Release);
            shared.waker.wake();
        }
        for thread in self.threads.drain(..) {
            // A worker that panicked has said so; its socket is closed all the same.
            let _ = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Commands that may wait for one shard.
const COMMANDS: usize = 1024;
/// Requests that may wait for the control plane.
const REQUESTS: usize = 4096;
/// Frames that may be on their way from one shard to another.
const HAND_OVER_SLOTS: usize = 256;
