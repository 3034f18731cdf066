//! A whole scenario in one value: two peers, their plans, and the path between them.

use sluice::shard::ShardConfig;
use sluice::tcp::CloseReason;
use sluice::time::Duration;

use crate::impairment::Impairment;
use crate::network::Network;
use crate::node::{Node, config};
use crate::peer::{Log, Peer, Plan};

/// Two peers on a path. Node 0 opens, node 1 listens.
pub(crate) struct Path {
    pub(crate) net: Network,
    pub(crate) logs: [Log; 2],
    plans: [Plan; 2],
}

impl Path {
    pub(crate) fn new(plans: [Plan; 2], impairment: Impairment, seed: u64) -> Self {
        Self::with(plans, impairment, seed, |_| {})
    }

    /// As [`Path::new`], with both configurations changed by `adjust`.
    pub(crate) fn with(
        plans: [Plan; 2],
        impairment: Impairment,
        seed: u64,
        adjust: impl Fn(&mut ShardConfig),
    ) -> Self {
        let node = |n: u8| {
            let (peer, log) = Peer::new(plans[usize::from(n) - 1]);
            let mut config = config(n, seed);
            adjust(&mut config);
            (Node::new(config, vec![Box::new(peer)]), log)
        };
        let ((node_0, log_0), (node_1, log_1)) = (node(1), node(2));
        let net = Network::new([node_0, node_1], impairment, seed);
        Self { net, logs: [log_0, log_1], plans }
    }

    /// Opens `count` connections and runs until both ends of all are over, within `bound`. Asserts
    /// that every octet arrived; returns the time that it took.
    pub(crate) fn transfer(&mut self, count: usize, bound: Duration) -> Duration {
        for _ in 0..count {
            self.net.connect();
        }
        let logs = self.logs.clone();
        let took = self.net.run_until(bound, |_| logs.iter().all(|log| log.are_over(count)));
        self.assert_complete();
        took
    }

    /// Asserts that every connection had all that the other end sends, and ended in order.
    pub(crate) fn assert_complete(&self) {
        for (log, other) in self.logs.iter().zip([&self.plans[1], &self.plans[0]]) {
            assert!(log.failed().is_empty(), "opens failed: {:?}", log.failed());
            for seen in log.conns() {
                assert_eq!(seen.closed, Some(CloseReason::Closed));
                assert_eq!(seen.received, other.send);
                assert!(seen.peer_fin.is_some(), "the peer's FIN was not told");
            }
        }
    }

    /// Lets TIME-WAIT expire and asserts that both nodes have forgotten everything.
    pub(crate) fn assert_clean(&mut self) {
        self.net.run_to_end(Duration::from_secs(600));
        self.net.nodes.iter().for_each(Node::assert_clean);
        // RFC 9293 3.1 (MUST-3): whatever was damaged was noticed, and nothing else was taken for it.
        for (node, link) in self.net.nodes.iter().zip([1, 0]) {
            assert_eq!(node.damaged(), self.net.links[link].damaged);
        }
    }
}
