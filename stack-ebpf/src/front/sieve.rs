//! What the program that steers would say of a plain IPv4 segment, from what the front line has read of it.

use zerocopy::transmute;

use super::segment::Segment;
use crate::contract::{AddressKey, Config, Limits};
use crate::frame::{self, Ethernet, Frame};
use crate::hints::{Hints, Told};
use crate::steer::{is_martian, oddity};

/// What user space told of all frames, as far as nothing has to be looked up for it.
///
/// It knows a part of what [`crate::steer::classify`] gives to a listener or to an address of our own: a frame
/// that it does not take may be anything.
#[derive(Clone, Copy)]
pub struct Sieve<'a> {
    /// The interface.
    pub config: &'a Config,
    /// The addresses.
    pub hints: &'a Hints,
    /// Whether somebody is blocked.
    pub limits: &'a Limits,
}

impl Sieve<'_> {
    /// Whether the segment of an untagged frame, which is for a port that is listened on, would be given to a
    /// socket, but for the budget of its source at an open door.
    #[inline(always)]
    pub(super) fn takes<F: Frame + ?Sized>(&self, frame: &F, segment: &Segment<false>) -> bool {
        let Some(ethernet) = frame.read::<Ethernet>(0) else { return false };
        let Self { config, hints, limits } = *self;
        let is_ours = config.vlan == 0
            && ethernet.ethertype.get() == frame::ETHERTYPE_IPV4
            && ethernet.destination.is(config.mac)
            && !config.is_local_port((segment.name.ports >> 16) as u16);
        let kind = |addr: [u64; 2]| {
            let addr: AddressKey = transmute!(addr.map(u64::to_le));
            hints.address(&addr)
        };
        is_ours
            && limits.has_blocks == 0
            && matches!(kind(segment.name.local), Told::Exactly(Some(_)))
            && kind(segment.name.remote) == Told::Exactly(None)
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
    use crate::front::ground::*;
    use crate::steer::classify;
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
        let sieve = Sieve { config: &ground.config, hints: &hints, limits: &limits };
        let mut taken = 0;
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
                    // What is not listened on does not come behind it.
                    let port = u16::from_be_bytes([frame[36], frame[37]]);
                    if takes(sieve, &frame) && [HTTP, ECHO].contains(&port) {
                        let verdict = classify(&frame[..], &ground);
                        let is_asked =
                            matches!(verdict, Verdict::RedirectListener | Verdict::RedirectOwn);
                        assert!(is_asked, "{verdict:?}: {frame:02x?}");
                        taken += 1;
                    }
                }
            }
        }
        assert!(taken > 10_000, "{taken}");
    }

    #[test]
    fn what_has_to_be_looked_up_is_left() {
        let (mut ground, hints) = (Ground::new(0), hints());
        let frame = Says::default().frame();
        let blocks = Limits { has_blocks: 1, ..Limits::default() };
        let none = Limits::default();
        let sieve = Sieve { config: &ground.config, hints: &hints, limits: &blocks };
        assert!(!takes(sieve, &frame));
        assert!(!takes(Sieve { hints: &Hints::EMPTY, limits: &none, ..sieve }, &frame));
        assert!(takes(Sieve { limits: &none, ..sieve }, &frame));
        ground.config.vlan = 7;
        let sieve = Sieve { config: &ground.config, hints: &hints, limits: &none };
        assert!(!takes(sieve, &frame));
    }
}
