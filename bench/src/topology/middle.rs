//! A third namespace between the two, with room for a relay.

use anyhow::{Context, Result};
use relay::{Link, PacketSocket, Relay};

use super::{CLIENT_END, Namespace, SERVER_END};

/// The middle: its interface towards the server, and the one towards the client.
pub(super) const ENDS: [&str; 2] = ["m0", "m1"];

/// Has frames come as they are on a wire: with their checksums, neither joined nor longer than the MTU.
pub(super) fn furnish(middle: &Namespace, [server, client]: [&Namespace; 2]) -> Result<()> {
    for (namespace, end) in [(server, SERVER_END), (client, CLIENT_END)] {
        namespace.run(&format!("ethtool -K {end} tx off tso off gso off gro off"))?;
        // What the kernel remembers of a path that lost much would slow its next connections on one
        // that does not.
        namespace.write_sysctl("net/ipv4/tcp_no_metrics_save", "1")?;
    }
    for end in ENDS {
        middle.run(&format!("ethtool -K {end} gro off"))?;
        middle.ip(&format!("link set {end} up"))?;
        // As on the other two: frames wait where the next ring is full.
        middle.run(&format!("tc qdisc add dev {end} root pfifo limit {}", super::QUEUE))?;
    }
    Ok(())
}

/// Relays between both ends as `link` says, until the relay is dropped.
pub(super) fn relay(middle: &Namespace, link: Link) -> Result<Relay> {
    let open = || -> Result<[PacketSocket; 2]> {
        let [to_server, to_client] = ENDS.map(PacketSocket::open);
        Ok([to_server?, to_client?])
    };
    let ends = middle.inside(open).context("the relay's packet sockets")?;
    Relay::start(ends, link).context("the relay")
}
