//! Which XDP program is attached to an interface, as rtnetlink tells.
//!
//! Owns the question and the reading of its answer. Attaches nothing.

use aya::programs::loaded_programs;
use netlink_packet_core::{
    NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage, LinkXdp};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// An XDP program on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The kernel's number for the program.
    pub id: u32,
    /// The program's name, at most 15 bytes; `None` where it may not be read.
    pub name: Option<String>,
}

/// The program attached to the interface with this index; `None` where there is none, or where the
/// kernel does not tell.
pub fn attached(ifindex: u32) -> Option<Attachment> {
    let id = program_id(&link(ifindex)?)?;
    let info = loaded_programs().filter_map(Result::ok).find(|program| program.id() == id);
    let name = info.and_then(|program| program.name_as_str().map(String::from));
    Some(Attachment { id, name })
}

/// Asks for one interface; the answer is one message.
fn link(ifindex: u32) -> Option<LinkMessage> {
    let mut question = LinkMessage::default();
    question.header.index = ifindex;
    let mut packet = NetlinkMessage::new(
        NetlinkHeader::default(),
        NetlinkPayload::from(RouteNetlinkMessage::GetLink(question)),
    );
    packet.header.flags = NLM_F_REQUEST;
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);

    let socket = Socket::new(NETLINK_ROUTE).ok()?;
    socket.connect(&SocketAddr::new(0, 0)).ok()?;
    socket.send(&bytes, 0).ok()?;
    let (answer, _) = socket.recv_from_full().ok()?;
    let length = NetlinkBuffer::new_checked(&answer).ok()?.length();
    let answer = answer.get(..usize::try_from(length).ok()?)?;
    match NetlinkMessage::deserialize(answer).ok()?.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => Some(link),
        _ => None,
    }
}

/// The program's number within IFLA_XDP; where native and generic programs are attached at once the
/// kernel tells only each kind's own.
fn program_id(link: &LinkMessage) -> Option<u32> {
    let xdp = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Xdp(xdp) => Some(xdp),
        _ => None,
    })?;
    xdp.iter().find_map(|info| match info {
        LinkXdp::ProgId(id)
        | LinkXdp::DrvProgId(id)
        | LinkXdp::SkbProgId(id)
        | LinkXdp::HwProgId(id) => Some(*id).filter(|id| *id != 0),
        _ => None,
    })
}
