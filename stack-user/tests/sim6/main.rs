//! The scenarios of `tests/sim` over IPv6, but for those whose frames are crafted for IPv4.

#[path = "../sim/close.rs"]
mod close;
#[path = "../sim/failure.rs"]
mod failure;
#[path = "../sim/impairment.rs"]
mod impairment;
#[path = "../sim/keepalive.rs"]
mod keepalive;
#[path = "../sim/linger.rs"]
mod linger;
#[path = "../sim/link.rs"]
mod link;
#[path = "../sim/listen.rs"]
mod listen;
#[path = "../sim/loss.rs"]
mod loss;
#[path = "../sim/network.rs"]
mod network;
#[path = "../sim/node.rs"]
mod node;
#[path = "../sim/open.rs"]
mod open;
#[path = "../sim/path.rs"]
mod path;
#[path = "../sim/peer.rs"]
mod peer;
#[path = "../sim/random/mod.rs"]
mod random;
#[path = "../sim/recovery.rs"]
mod recovery;
#[path = "../sim/seed.rs"]
mod seed;
#[path = "../sim/served.rs"]
mod served;
#[path = "../sim/timeout.rs"]
mod timeout;
#[path = "../sim/transfer.rs"]
mod transfer;
#[path = "../sim/urgent.rs"]
mod urgent;
#[path = "../sim/user.rs"]
mod user;
#[path = "../sim/window.rs"]
mod window;

use node::Family;

/// What the nodes speak.
const FAMILY: Family = Family::V6;
