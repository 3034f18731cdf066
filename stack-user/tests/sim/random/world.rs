//! What both ends of every connection have seen, and what has to be true of it in the end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sluice::service::http::pattern;
use sluice::tcp::CloseReason;
use sluice::wire::FourTuple;

/// Everything that the actors of both nodes noted.
#[derive(Clone, Debug, Default)]
pub(super) struct World(Arc<Mutex<Notes>>);

#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Each end of each connection that opened.
    pub(super) ends: Vec<End>,
    /// Opens that failed: the node, its life, and why.
    pub(super) failed: Vec<(usize, u32, CloseReason)>,
    /// Opens that were begun: the node and its life.
    pub(super) begun: Vec<(usize, u32)>,
    /// Lives that ended: the node and its life.
    pub(super) crashed: Vec<(usize, u32)>,
}

/// One end of a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct End {
    pub(super) node: usize,
    /// How often the node had crashed.
    pub(super) life: u32,
    pub(super) is_active: bool,
    /// The ports of node 0 and of node 1.
    pub(super) ports: [u16; 2],
    /// Octets that the send buffer took.
    pub(super) sent: u64,
    /// Octets received, all as they should be.
    pub(super) received: u64,
    /// What the peer's stream names itself, once its first octets are here.
    pub(super) peer: Option<usize>,
    pub(super) closes: bool,
    /// It reads no more, whatever comes.
    pub(super) leaves: bool,
    /// It was aborted, perhaps when only unread text was left of it.
    pub(super) aborts: bool,
    pub(super) has_peer_fin: bool,
    pub(super) over: Option<Over>,
    /// The first octets of the peer's stream.
    name: [u8; NAME_LEN],
}

/// How an end ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Told(CloseReason),
    Crashed,
}

impl World {
    pub(super) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an end that opened; returns its number.
    pub(super) fn open(&self, node: usize, life: u32, is_active: bool, tuple: &FourTuple) -> usize {
        let mut ports = [tuple.local_port, tuple.remote_port];
        if node == 1 {
            ports.reverse();
        }
        let mut notes = self.notes();
        notes.ends.push(End { node, life, is_active, ports, ..End::default() });
        notes.ends.len() - 1
    }

    /// Runs `act` on an end, which must not be over.
    pub(super) fn with<R>(&self, number: usize, act: impl FnOnce(&mut End) -> R) -> R {
        let mut notes = self.notes();
        let end = &mut notes.ends[number];
        assert_eq!(end.over, None, "a call after on_closed");
        act(end)
    }

    /// Every connection of that life of the node is gone, and nobody there knows of it.
    pub(super) fn crash(&self, node: usize, life: u32) {
        let mut notes = self.notes();
        notes.crashed.push((node, life));
        for end in notes.ends.iter_mut().filter(|end| end.node == node && end.life == life) {
            end.over.get_or_insert(Over::Crashed);
        }
    }

    /// Asserts that every open was told once, and that every end ended as it may: the end of one is
    /// the doing of the other, or told.
    pub(super) fn check(&self, has_cookies: bool) {
        let notes = self.notes();
        for life in &notes.begun {
            let begun = notes.begun.iter().filter(|begun| *begun == life).count();
            let opened = |end: &&End| end.is_active && (end.node, end.life) == *life;
            let failed = |failed: &&(usize, u32, CloseReason)| (failed.0, failed.1) == *life;
            let told = notes.ends.iter().filter(opened).count()
                + notes.failed.iter().filter(failed).count();
            match notes.crashed.contains(life) {
                true => assert!(told <= begun, "an open is told twice"),
                false => assert_eq!(told, begun, "each open is told once"),
            }
        }
        for end in &notes.ends {
            let twin = notes.twin_of(end);
            check_stream(end, twin);
            check_end(end, twin, has_cookies);
        }
    }
}

impl Notes {
    /// The other end, where it is known.
    fn twin_of(&self, end: &End) -> Option<&End> {
        if let Some(peer) = end.peer {
            return Some(&self.ends[peer]);
        }
        // Nothing came that names it: the only one of these ports must be it.
        let mut same = self.ends.iter().filter(|e| e.node != end.node && e.ports == end.ports);
        let mut own = self.ends.iter().filter(|e| e.node == end.node && e.ports == end.ports);
        let is_only = own.nth(1).is_none();
        same.next().filter(|_| is_only && same.next().is_none())
    }
}

/// What was received is what the other end sent: a prefix, or all where the end was told.
fn check_stream(end: &End, twin: Option<&End>) {
    let Some(twin) = twin else { return };
    assert_eq!((twin.node, twin.ports), (1 - end.node, end.ports), "another's octets: {end:?}");
    assert!(end.received <= twin.sent, "octets from nowhere: {end:?}, the other end {twin:?}");
    if end.has_peer_fin {
        assert!(twin.closes, "a FIN that nobody sent: {end:?}, the other end {twin:?}");
        let is_whole = end.received == twin.sent || end.leaves;
        assert!(is_whole, "the end too early: {end:?}, the other end {twin:?}");
    }
}

fn check_end(end: &End, twin: Option<&End>, has_cookies: bool) {
    match end.over {
        Some(Over::Told(CloseReason::Closed)) => {
            assert!(
                end.closes && (end.has_peer_fin || end.aborts || end.leaves),
                "closed without FINs: {end:?} {twin:?}"
            );
        }
        // A reset comes from an end that gave up, or that is over and has forgotten the connection.
        Some(Over::Told(CloseReason::Reset)) => {
            let is_explained = has_cookies
                || twin.is_none_or(|twin| {
                    !matches!(twin.over, None | Some(Over::Told(CloseReason::Reset)))
                });
            assert!(is_explained, "a reset from nowhere: {end:?}, the other end {twin:?}");
        }
        Some(_) => {}
        // It has nothing to send, and so cannot know that the other end is lost.
        None => {
            let is_lost = twin.is_none_or(|twin| {
                !matches!(twin.over, None | Some(Over::Told(CloseReason::Closed)))
            });
            assert!(is_lost, "stuck: {end:?}, the other end {twin:?}");
        }
    }
}

impl End {
    /// Takes octets of the peer's stream, which must be the right ones.
    pub(super) fn receive(&mut self, data: &[u8]) {
        assert!(!self.has_peer_fin, "octets after the peer's FIN");
        let mut data = data;
        while self.received < NAME_LEN as u64
            && let Some((first, rest)) = data.split_first()
        {
            self.name[self.received as usize] = *first;
            self.received += 1;
            data = rest;
            if self.received == NAME_LEN as u64 {
                self.peer = Some(u64::from_be_bytes(self.name) as usize);
            }
        }
        let Some(peer) = self.peer else { return };
        let mut expected = vec![0; data.len()];
        stream(peer, self.received, &mut expected);
        assert!(data == expected, "wrong octets from {} on: {self:?}", self.received);
        self.received += data.len() as u64;
    }
}

/// The octets at `offset` of the stream of an end: its number, then a pattern of its own.
pub(super) fn stream(number: usize, offset: u64, out: &mut [u8]) {
    let mut offset = offset;
    let mut out = out;
    let name = (number as u64).to_be_bytes();
    while offset < NAME_LEN as u64
        && let Some((first, rest)) = core::mem::take(&mut out).split_first_mut()
    {
        *first = name[offset as usize];
        (offset, out) = (offset + 1, rest);
    }
    pattern(offset + 7_919 * number as u64, out);
}

const NAME_LEN: usize = 8;
