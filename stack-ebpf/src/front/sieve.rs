//! What the program that steers would say of a plain IPv4 segment, from what the front line has read of it.

use zerocopy::transmute;

use super::segment::Segment;
use crate::contract::{AddressKey, Limits};
use crate::frame::Frame;
use crate::hints::{Hints, Told};
use crate::steer::{is_martian, oddity};

/// What user space told, as far as nothing has to be looked up for it.
///
/// It stands where [`crate::steer::classify`] calls [`crate::steer::Tables::hand_over`], and knows a part of what
/// that gives to a socket from there on: a frame that it does not take may be anything.
#[derive(Clone, Copy)]
pub struct Sieve<'a> {
    /// The addresses.
    pub hints: &'a Hints,
    /// Whether somebody is blocked.
    pub limits: &'a Limits,
}

impl Sieve<'_> {
    /// Whether a segment that was handed over, and is for a port that is listened on, would be given to a socket,
    /// but for the budget of its source at an open door.
    #[inline(always)]
    pub(super) fn takes<F: Frame + ?Sized>(&self, frame: &F, segment: &Segment<false>) -> bool {
        let Self { hints, limits } = *self;
        let remote: AddressKey = transmute!(segment.name.remote.map(u64::to_le));
        limits.has_blocks == 0
            && hints.address(&remote) == Told::Exactly(None)
            && !is_martian(segment.name.remote, false)
            && oddity(segment.flags).is_none()
            && segment.is_sound(frame)
    }
}

#[cfg(test)]
mod tests {
    use core::mem::size_of;

    use super::*;
    use crate::contract::{Address, mapped};
    use crate::frame::Ethernet;
    use crate::front::ground::*;
    use crate::steer::classify;
    use crate::steer::watched::Watched;
    use crate::verdict::Verdict;

    fn hints() -> Hints {
        let mut hints = Hints::EMPTY;
        hints.add_address(&mapped(SHARED), Address::Shared);
        hints.add_address(&mapped(OWN), Address::Own);
        hints
    }

    fn takes(sieve: Sieve<'_>, frame: &[u8]) -> bool {
        let segment = Segment::<false>::of_ipv4(frame, size_of::<Ethernet>());
        segment.is_some_and(|segment| sieve.takes(frame, &segment))
    }

    #[test]
    fn every_change_of_an_octet_takes_what_is_given_to_a_socket_and_nothing_else() {
        let (ground, hints, limits) = (Ground::new(0), hints(), Limits::default());
        let sieve = Sieve { hints: &hints, limits: &limits };
        let (mut taken, mut left) = (0, 0);
        for (local, flags) in [(SHARED, SYN), (SHARED, ACK), (OWN, SYN), (OWN, ACK | FIN)] {
            let frame = Says { local, flags, ..Says::default() }.frame();
            assert!(takes(sieve, &frame));
            for (at, octet) in
                (0..frame.len()).flat_map(|at| (0..=255).map(move |octet| (at, octet)))
            {
                for is_summed in [false, true] {
                    let mut frame = frame.clone();
                    frame[at] = octet;
                    if is_summed {
                        sum_ipv4(&mut frame);
                    }
                    let tables = Watched::new(&ground);
                    let verdict = classify(&frame[..], &tables);
                    // What is not listened on does not come behind it.
                    let port = u16::from_be_bytes([frame[36], frame[37]]);
                    if tables.times() == 0 || ![HTTP, ECHO].contains(&port) {
                        continue;
                    }
                    let is_asked =
                        matches!(verdict, Verdict::RedirectListener | Verdict::RedirectOwn);
                    if takes(sieve, &frame) {
                        assert!(is_asked, "{verdict:?}: {frame:02x?}");
                        taken += 1;
                    } else {
                        left += is_asked as u32;
                    }
                }
            }
        }
        // Those left are classified after all: with IP options, or as fragments to an address of our own.
        assert!(taken > 10_000 && left < taken / 10, "{taken} taken, {left} left");
    }

    #[test]
    fn what_has_to_be_looked_up_is_left() {
        let hints = hints();
        let frame = Says::default().frame();
        let blocks = Limits { has_blocks: 1, ..Limits::default() };
        let none = Limits::default();
        let mut unclear = hints.clone();
        unclear.add_address(&mapped(PEER), Address::Shared);
        for (hints, limits, wanted) in
            [(&hints, &blocks, false), (&unclear, &none, false), (&hints, &none, true)]
        {
            assert_eq!(takes(Sieve { hints, limits }, &frame), wanted);
        }
    }
}
