//! Connections in the hands of the scenario: what a user may call is called from outside, and what a
//! service is told is written down.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sluice::service::{Connection, Service};
use sluice::shard::{ConnId, Open, ShardConfig};
use sluice::tables::listeners::{Accepts, Listener, ListenerId};
use sluice::tcp::{CloseReason, Setting, State};
use sluice::time::Duration;

use crate::impairment::Impairment;
use crate::network::Network;
use crate::node::{Node, PORT, addr, config};

/// What a [`Scribe`] was told, in its order; text is gathered beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Opened,
    Urgent,
    Fin,
    Closed(CloseReason),
}

/// A service that does nothing of its own accord but to read, where it is allowed to.
#[derive(Clone, Default)]
pub(crate) struct Scribe(Arc<Mutex<Notes>>);

#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) told: Vec<Told>,
    pub(crate) text: Vec<u8>,
    /// Leaves everything in the receive buffer.
    pub(crate) is_lazy: bool,
}

impl Scribe {
    pub(crate) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, told: Told) {
        self.notes().told.push(told);
    }
}

impl Service for Scribe {
    fn on_accept(&mut self, _conn: &mut dyn Connection) {
        self.note(Told::Opened);
    }

    fn on_connected(&mut self, _conn: &mut dyn Connection) {
        self.note(Told::Opened);
    }

    fn on_data(&mut self, _conn: &mut dyn Connection, data: &[u8]) -> usize {
        let mut notes = self.notes();
        if notes.is_lazy {
            return 0;
        }
        notes.text.extend_from_slice(data);
        data.len()
    }

    fn on_peer_fin(&mut self, _conn: &mut dyn Connection) {
        self.note(Told::Fin);
    }

    fn on_urgent(&mut self, _conn: &mut dyn Connection) {
        self.note(Told::Urgent);
    }

    fn on_closed(&mut self, _user: u64, reason: CloseReason) {
        self.note(Told::Closed(reason));
    }
}

/// Two nodes. Node 0 opens, node 1 accepts on call.
pub(crate) struct Pair {
    pub(crate) net: Network,
    pub(crate) scribes: [Scribe; 2],
    listener: ListenerId,
    seed: u64,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self::with(Impairment::default(), 1, |_| {})
    }

    /// With this path, and with both configurations changed by `adjust`.
    pub(crate) fn with(
        impairment: Impairment,
        seed: u64,
        adjust: impl Fn(&mut ShardConfig),
    ) -> Self {
        let scribes = [Scribe::default(), Scribe::default()];
        let node = |n: u8| {
            let mut config = config(n, seed);
            config.listeners = Vec::new();
            adjust(&mut config);
            assert_eq!(config.tcp.check(), Ok(()));
            Node::new(config, vec![Box::new(scribes[usize::from(n) - 1].clone())])
        };
        let mut net = Network::new([node(1), node(2)], impairment, seed);
        let listener = Listener { accepts: Accepts::OnCall, ..Listener::new(None, PORT, 0) };
        let listener = net.nodes[1].shard.listen(listener, net.now).expect("nobody listens yet");
        Self { net, scribes, listener, seed }
    }

    /// Sends the SYN of a connection.
    pub(crate) fn open(&mut self, settings: Vec<Setting>) -> ConnId {
        let open = Open {
            local: None,
            local_port: None,
            remote: addr(2),
            remote_port: PORT,
            service: 0,
            settings,
            user: 0,
        };
        self.net.nodes[0].shard.open(&open, self.net.now).expect("there is room")
    }

    /// A connection that is open on both ends: its ids there.
    pub(crate) fn connect(&mut self, settings: Vec<Setting>) -> [ConnId; 2] {
        let ours = self.open(settings);
        let listener = self.listener;
        self.net.run_until(Duration::from_secs(60), |net| net.nodes[1].shard.waiting(listener) > 0);
        let now = self.net.now;
        let theirs = self.net.nodes[1].shard.accept(listener, now).expect("one waits");
        [ours, theirs]
    }

    /// Calls something on a connection of a node; `None` when it is over.
    pub(crate) fn on<R>(
        &mut self,
        node: usize,
        id: ConnId,
        run: impl FnOnce(&mut dyn Connection) -> R,
    ) -> Option<R> {
        let now = self.net.now;
        self.net.nodes[node].shard.with(id, now, run)
    }

    pub(crate) fn state(&mut self, node: usize, id: ConnId) -> State {
        self.on(node, id, |conn| conn.info().state).unwrap_or(State::Closed)
    }

    pub(crate) fn run(&mut self, time: Duration) {
        self.net.run_for(time);
    }

    /// What a node was told since the last call.
    pub(crate) fn told(&self, node: usize) -> Vec<Told> {
        std::mem::take(&mut self.scribes[node].notes().told)
    }

    /// Node `index` forgets everything and comes back at once, with a new configuration's secrets.
    pub(crate) fn reboot(&mut self, index: usize) {
        let mut config = config(index as u8 + 1, self.seed + 1);
        config.listeners = Vec::new();
        let scribe = self.scribes[index].clone();
        let mut node = Node::new(config, vec![Box::new(scribe)]);
        if index == 1 {
            let listener = Listener { accepts: Accepts::OnCall, ..Listener::new(None, PORT, 0) };
            self.listener = node.shard.listen(listener, self.net.now).expect("nobody listens yet");
        }
        self.net.crash(index, Some(node));
    }
}
