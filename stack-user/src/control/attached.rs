//! Which XDP program is attached to an interface, as rtnetlink tells.
//!
//! Owns the reading of IFLA_XDP. Attaches nothing.

use aya::programs::loaded_programs;
use neli::consts::nl::NlmF;
use neli::consts::rtnl::{Ifla, RtAddrFamily, Rtm};
use neli::consts::socket::NlFamily;
use neli::nl::NlPayload;
use neli::router::synchronous::NlRouter;
use neli::rtnl::{Ifinfomsg, IfinfomsgBuilder};
use neli::utils::Groups;

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
    let id = program_id(ifindex)?;
    let info = loaded_programs().filter_map(Result::ok).find(|program| program.id() == id);
    let name = info.and_then(|program| program.name_as_str().map(String::from));
    Some(Attachment { id, name })
}

fn program_id(ifindex: u32) -> Option<u32> {
    let (rtnl, _) = NlRouter::connect(NlFamily::Route, None, Groups::empty()).ok()?;
    let question = IfinfomsgBuilder::default()
        .ifi_family(RtAddrFamily::Unspecified)
        .ifi_index(i32::try_from(ifindex).ok()?)
        .build()
        .ok()?;
    let answers = rtnl
        .send::<_, _, Rtm, Ifinfomsg>(Rtm::Getlink, NlmF::empty(), NlPayload::Payload(question))
        .ok()?;
    for answer in answers {
        let answer = answer.ok()?;
        let Some(link) = answer.get_payload() else { continue };
        let xdp = link.rtattrs().iter().find(|attr| *attr.rta_type() == Ifla::Xdp);
        if let Some(xdp) = xdp {
            return nested_program_id(xdp.rta_payload().as_ref());
        }
    }
    None
}

/// The program's number within IFLA_XDP: attributes of two bytes of length, two of type, a value,
/// and padding to four bytes. With native and generic programs at once only their own kinds are
/// there.
fn nested_program_id(mut bytes: &[u8]) -> Option<u32> {
    let mut found = None;
    while let &[l0, l1, t0, t1, ..] = bytes {
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = bytes.get(4..length)?;
        if PROGRAM_IDS.contains(&u16::from_ne_bytes([t0, t1])) {
            found = found.or(value.try_into().ok().map(u32::from_ne_bytes));
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found.filter(|id| *id != 0)
}

/// IFLA_XDP_PROG_ID, IFLA_XDP_DRV_PROG_ID, IFLA_XDP_SKB_PROG_ID, IFLA_XDP_HW_PROG_ID.
const PROGRAM_IDS: [u16; 4] = [4, 5, 6, 7];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_attributes_with_a_program_give_its_number() {
        let bytes = [5, 0, 2, 0, 1, 0, 0, 0, 8, 0, 4, 0, 42, 0, 0, 0];
        assert_eq!(nested_program_id(&bytes), Some(42));
    }

    #[test]
    fn nested_attributes_without_or_cut_short_give_none() {
        assert_eq!(nested_program_id(&[5, 0, 2, 0, 0, 0, 0, 0]), None);
        assert_eq!(nested_program_id(&[8, 0, 4, 0, 42, 0]), None);
        assert_eq!(nested_program_id(&[0, 0, 4, 0, 42, 0]), None);
        assert_eq!(nested_program_id(&[]), None);
    }
}
