//! Which XDP program is attached to an interface, as rtnetlink tells.
//!
//! Attaches nothing.

use super::netlink::Netlink;
use aya::programs::loaded_programs;

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
    let id = Netlink::open().ok()?.link_at(ifindex).ok()??.program?;
    let info = loaded_programs().filter_map(Result::ok).find(|program| program.id() == id);
    let name = info.and_then(|program| program.name_as_str().map(String::from));
    Some(Attachment { id, name })
}
