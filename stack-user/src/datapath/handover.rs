//! Hand-over of frames between shards, and the wake-up of a worker that sleeps.
//!
//! For each ordered pair of shards there is a fixed number of slots. The sender copies a frame into
//! a free slot and the receiver gives the slot back; frames of the UMEM never leave their shard. A
//! full ring drops. No lock is taken and nothing is allocated after construction.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam::queue::ArrayQueue;
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Wakes one thread that sleeps in poll on an eventfd.
///
/// The sleeper calls [`Waker::prepare`], looks at its queues again, and only then polls; whoever
/// adds work calls [`Waker::wake`] afterwards. The fences order "flag, then look" against "add, then
/// look at the flag", so one of both sees the other.
#[derive(Debug)]
pub struct Waker {
    asleep: AtomicBool,
    event: EventFd,
}

impl Waker {
    /// A waker of a thread that is awake.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> nix::Result<Self> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        Ok(Self { asleep: AtomicBool::new(false), event: EventFd::from_flags(flags)? })
    }

    /// Says that the owner is about to sleep. It has to look at its queues once more.
    pub fn prepare(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Says that the owner is awake, and empties the eventfd.
    pub fn awake(&self) {
        if !self.asleep.swap(false, Ordering::AcqRel) {
            // Whoever cleared the flag has written or is about to; what comes late costs one turn.
            let _ = self.event.read();
        }
    }

    /// Wakes the owner if it sleeps; returns whether a system call was made.
    pub fn wake(&self) -> bool {
        fence(Ordering::SeqCst);
        let asleep =
            self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel);
        if asleep {
            // It fails only when the counter is full, and then the owner is woken anyway.
            let _ = self.event.write(1);
        }
        asleep
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// A frame on its way to another shard.
#[derive(Debug)]
pub(super) struct Slot {
    bytes: Box<[u8]>,
    len: usize,
}

impl Slot {
    /// The frame.
    pub(super) fn frame(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The slots of one ordered pair of shards.
#[derive(Debug)]
struct Pair {
    empty: ArrayQueue<Slot>,
    full: ArrayQueue<Slot>,
}

impl Pair {
    fn new(slots: usize, frame_size: usize) -> Self {
        let empty = ArrayQueue::new(slots);
        for _ in 0..slots {
            let slot = Slot { bytes: vec![0; frame_size].into_boxed_slice(), len: 0 };
            // The queue has as many places as there are slots.
            let _ = empty.push(slot);
        }
        Self { empty, full: ArrayQueue::new(slots) }
    }

    fn send(&self, frame: &[u8]) -> bool {
        let Some(mut slot) = self.empty.pop() else { return false };
        let Some(room) = slot.bytes.get_mut(..frame.len()) else {
            let _ = self.empty.push(slot);
            return false;
        };
        room.copy_from_slice(frame);
        slot.len = frame.len();
        self.full.push(slot).is_ok()
    }
}

/// One shard's side of all its pairs.
#[derive(Debug)]
pub(super) struct Port {
    index: usize,
    /// To each shard; none to itself.
    out: Vec<Option<Arc<Pair>>>,
    /// From each shard; none from itself.
    from: Vec<Option<Arc<Pair>>>,
    /// The wakers of all shards.
    wakers: Arc<[Arc<Waker>]>,
    /// The shard to be asked first by the next `receive`.
    next: usize,
}

/// Connects as many shards as there are wakers, with `slots` frames of `frame_size` bytes per pair.
pub(super) fn connect(wakers: &Arc<[Arc<Waker>]>, slots: usize, frame_size: usize) -> Vec<Port> {
    let count = wakers.len();
    let pairs: Vec<Vec<Option<Arc<Pair>>>> = (0..count)
        .map(|from| {
            let pair = |to| (to != from).then(|| Arc::new(Pair::new(slots, frame_size)));
            (0..count).map(pair).collect()
        })
        .collect();
    (0..count)
        .map(|index| Port {
            index,
            out: pairs[index].clone(),
            from: pairs.iter().map(|row| row[index].clone()).collect(),
            wakers: Arc::clone(wakers),
            next: 0,
        })
        .collect()
}

impl Port {
    /// Copies `frame` to shard `to` and wakes it; `false` when it was dropped because the ring was
    /// full or there is no such shard.
    pub(super) fn send(&self, to: usize, frame: &[u8]) -> bool {
        let Some(Some(pair)) = self.out.get(to) else { return false };
        let sent = pair.send(frame);
        self.wakers[to].wake();
        sent
    }

    /// Copies `frame` to every other shard; returns how many got it.
    pub(super) fn send_to_all(&self, frame: &[u8]) -> usize {
        (0..self.out.len()).filter(|&to| to != self.index && self.send(to, frame)).count()
    }

    /// Number of other shards.
    pub(super) fn others(&self) -> usize {
        self.out.len() - 1
    }

    /// Appends waiting frames with their sender to `out`, at most `most`, in turns of the senders.
    pub(super) fn receive(&mut self, out: &mut Vec<(usize, Slot)>, most: usize) {
        let count = self.from.len();
        if count == 1 {
            return;
        }
        for step in 0..count {
            let from = (self.next + step) % count;
            let Some(pair) = &self.from[from] else { continue };
            // To take from an empty queue is a fence, which every turn would wait for.
            if pair.full.is_empty() {
                continue;
            }
            while out.len() < most
                && let Some(slot) = pair.full.pop()
            {
                out.push((from, slot));
            }
        }
        self.next = (self.next + 1) % count.max(1);
    }

    /// Gives slots back to their senders.
    pub(super) fn release(&self, slots: &mut Vec<(usize, Slot)>) {
        for (from, slot) in slots.drain(..) {
            if let Some(pair) = &self.from[from] {
                // As many places as slots: there is room.
                let _ = pair.empty.push(slot);
            }
        }
    }

    /// Whether a frame waits.
    pub(super) fn has_frames(&self) -> bool {
        self.from.iter().flatten().any(|pair| !pair.full.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(count: usize, slots: usize) -> Vec<Port> {
        let wakers: Arc<[Arc<Waker>]> =
            (0..count).map(|_| Arc::new(Waker::new().unwrap())).collect();
        connect(&wakers, slots, 64)
    }

    fn received(port: &mut Port, most: usize) -> Vec<(usize, Vec<u8>)> {
        let mut slots = Vec::new();
        port.receive(&mut slots, most);
        let frames = slots.iter().map(|(from, slot)| (*from, slot.frame().to_vec())).collect();
        port.release(&mut slots);
        frames
    }

    #[test]
    fn port_frames_arrive_in_order_with_their_sender() {
        let mut ports = ports(3, 4);
        assert!(ports[0].send(2, b"one") && ports[0].send(2, b"two") && ports[1].send(2, b"three"));
        let got = received(&mut ports[2], 64);
        let expected = [(0, b"one".to_vec()), (0, b"two".to_vec()), (1, b"three".to_vec())];
        assert_eq!(got, expected);
        assert!(received(&mut ports[1], 64).is_empty());
    }

    #[test]
    fn port_full_ring_drops_and_recovers_after_release() {
        let mut ports = ports(2, 2);
        assert!(ports[0].send(1, b"a") && ports[0].send(1, b"b"));
        assert!(!ports[0].send(1, b"c"));
        assert_eq!(received(&mut ports[1], 1), [(0, b"a".to_vec())]);
        assert!(ports[0].send(1, b"d"));
        assert_eq!(received(&mut ports[1], 64), [(0, b"b".to_vec()), (0, b"d".to_vec())]);
    }

    #[test]
    fn port_frame_longer_than_a_slot_is_dropped_and_keeps_the_slot() {
        let mut ports = ports(2, 1);
        assert!(!ports[0].send(1, &[0; 65]));
        assert!(ports[0].send(1, &[7; 64]));
        assert_eq!(received(&mut ports[1], 64), [(0, vec![7; 64])]);
    }

    #[test]
    fn port_send_to_itself_or_nobody_is_refused() {
        let ports = ports(2, 1);
        assert!(!ports[0].send(0, b"x") && !ports[0].send(9, b"x"));
        assert_eq!(ports[0].send_to_all(b"x"), 1);
    }

    #[test]
    fn waker_of_one_awake_makes_no_system_call() {
        let waker = Waker::new().unwrap();
        assert!(!waker.wake());
        assert!(waker.event.read().is_err());
    }

    #[test]
    fn waker_of_a_sleeper_writes_once() {
        let waker = Waker::new().unwrap();
        waker.prepare();
        assert!(waker.wake());
        assert!(!waker.wake());
        assert_eq!(waker.event.read(), Ok(1));
    }

    #[test]
    fn waker_awake_empties_the_eventfd() {
        let waker = Waker::new().unwrap();
        waker.prepare();
        waker.wake();
        waker.awake();
        assert!(waker.event.read().is_err());
        waker.prepare();
        waker.awake();
        assert!(!waker.wake());
    }

    #[test]
    fn ports_two_threads_every_frame_arrives_once() {
        let mut ports = ports(2, 8);
        let mut receiver = ports.pop().unwrap();
        let sender = ports.pop().unwrap();
        let sending = std::thread::spawn(move || {
            for n in 0..10_000_u32 {
                while !sender.send(1, &n.to_be_bytes()) {
                    std::thread::yield_now();
                }
            }
        });
        let mut next = 0_u32;
        while next < 10_000 {
            for (_, frame) in received(&mut receiver, 64) {
                assert_eq!(frame, next.to_be_bytes());
                next += 1;
            }
        }
        sending.join().unwrap();
    }
}
