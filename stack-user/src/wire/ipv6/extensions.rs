//! Extension headers (RFC 8200, section 4): stepped over, up to what they stand in front of.
//!
//! Nothing in them is carried out. An option that we do not know says itself what becomes of its
//! packet; a source route that is not at its end, and a part of a packet, are dropped.

use super::{HEADER_LEN, Packet};
use crate::counters::DropReason;

/// What lies behind the extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upper<'a> {
    /// What it is.
    pub protocol: u8,
    /// It, up to the end of the packet.
    pub payload: &'a [u8],
    /// Where in the packet it is named: a parameter problem points there.
    pub named_at: u32,
    /// Whether a fragment header stood before it, though nothing is missing (RFC 6946).
    pub is_fragment: bool,
}

/// Why a packet goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// As which it is counted.
    pub reason: DropReason,
    /// What its sender is to be told, unless something forbids that.
    pub problem: Option<Problem>,
}

/// A parameter problem (RFC 4443, 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Zero: a field that makes no sense; one: a header that we do not know; two: an option.
    pub code: u8,
    /// Where in the packet, in octets.
    pub pointer: u32,
}

impl From<DropReason> for Stop {
    fn from(reason: DropReason) -> Self {
        Self { reason, problem: None }
    }
}

impl<'a> Packet<'a> {
    /// Steps over at most four extension headers, with at most eight options in each.
    ///
    /// # Errors
    ///
    /// [`Stop`], with [`DropReason::DropFragment`] for a part of a packet,
    /// [`DropReason::DropSourceRoute`] for a route that goes on, [`DropReason::DropExtension`] for
    /// everything else.
    #[inline]
    pub fn upper(&self) -> Result<Upper<'a>, Stop> {
        match self.next_header {
            HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS => self.walk(),
            protocol => {
                let (payload, named_at) = (self.payload, NAMED_AT);
                Ok(Upper { protocol, payload, named_at, is_fragment: false })
            }
        }
    }

    #[cold]
    fn walk(&self) -> Result<Upper<'a>, Stop> {
        let (mut protocol, mut named_at, mut at) = (self.next_header, NAMED_AT, HEADER_LEN);
        let mut is_fragment = false;
        for index in 0..=MOST {
            let rest = self.bytes.get(at..).unwrap_or_default();
            let len = match protocol {
                // RFC 8200 4.3: nowhere but right behind the fixed header.
                HOP_BY_HOP if index > 0 => return Err(problem(1, named_at)),
                HOP_BY_HOP | DESTINATION_OPTIONS => {
                    let header = header(rest)?;
                    check_options(header, (at, super::is_multicast(&self.dst)))?;
                    header.len()
                }
                ROUTING => {
                    let header = header(rest)?;
                    // RFC 8200 4.4, RFC 5095: we know no kind of route.
                    if header[3] != 0 {
                        let problem = Some(Problem { code: 0, pointer: at as u32 + 2 });
                        return Err(Stop { reason: DropReason::DropSourceRoute, problem });
                    }
                    header.len()
                }
                FRAGMENT => {
                    let part = rest.first_chunk::<FRAGMENT_LEN>();
                    let [_, _, offset, more, ..] = part.ok_or(DropReason::DropExtension)?;
                    if *offset != 0 || *more & 0xf9 != 0 {
                        return Err(DropReason::DropFragment.into());
                    }
                    is_fragment = true;
                    FRAGMENT_LEN
                }
                protocol => return Ok(Upper { protocol, payload: rest, named_at, is_fragment }),
            };
            (protocol, named_at) = (rest[0], at as u32);
            at += len;
        }
        Err(DropReason::DropExtension.into())
    }
}

/// The extension header at the front, which says its own length.
fn header(rest: &[u8]) -> Result<&[u8], Stop> {
    let len = rest.get(1).map(|units| (usize::from(*units) + 1) * 8);
    len.and_then(|len| rest.get(..len)).ok_or(DropReason::DropExtension.into())
}

/// Whether all options of a header may be passed over (RFC 8200, 4.2): of those that are no padding
/// the two highest bits say so.
fn check_options(header: &[u8], (at, is_multicast): (usize, bool)) -> Result<(), Stop> {
    let mut seen = 0;
    let mut offset = 2;
    while let Some(kind) = header.get(offset).copied() {
        if kind == PAD_1 {
            offset += 1;
            continue;
        }
        let len = header.get(offset + 1).ok_or(DropReason::DropExtension)?;
        let end = offset + 2 + usize::from(*len);
        seen += 1;
        if end > header.len() || seen > MOST_OPTIONS {
            return Err(DropReason::DropExtension.into());
        }
        match kind >> 6 {
            0 => {}
            1 => return Err(DropReason::DropExtension.into()),
            3 if is_multicast => return Err(DropReason::DropExtension.into()),
            _ => return Err(problem(2, (at + offset) as u32)),
        }
        offset = end;
    }
    Ok(())
}

const fn problem(code: u8, pointer: u32) -> Stop {
    Stop { reason: DropReason::DropExtension, problem: Some(Problem { code, pointer }) }
}

/// Extension headers that are stepped over, at most.
const MOST: usize = 4;
/// Options in one of them, at most (RFC 8504, 5.3).
const MOST_OPTIONS: usize = 8;

/// Where the fixed header names what follows it.
const NAMED_AT: u32 = 6;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
const FRAGMENT_LEN: usize = 8;

/// An option that fills up, and is an octet long (RFC 8200, 4.2).
const PAD_1: u8 = 0;

#[cfg(test)]
mod tests {
    use super::super::emit_header;
    use super::*;
    use crate::wire::{Addr, PROTOCOL_TCP};
    use core::net::Ipv6Addr;
    use proptest::prelude::*;

    fn packet(first: u8, headers: &[&[u8]]) -> Vec<u8> {
        let payload = [&headers.concat()[..], b"text"].concat();
        let [src, dst] =
            [1, 2].map(|n| Addr(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n).octets()));
        let mut bytes = vec![0; HEADER_LEN];
        emit_header(&mut bytes, &src, &dst, first, payload.len());
        bytes.extend(payload);
        bytes
    }

    fn walk(first: u8, headers: &[&[u8]]) -> Result<(u8, Vec<u8>, u32, bool), Stop> {
        let bytes = packet(first, headers);
        let upper = Packet::parse(&bytes).expect("a sound packet").upper()?;
        Ok((upper.protocol, upper.payload.to_vec(), upper.named_at, upper.is_fragment))
    }

    fn dropped(reason: DropReason) -> Result<(u8, Vec<u8>, u32, bool), Stop> {
        Err(reason.into())
    }

    const OPTIONS: [u8; 8] = [60, 0, 1, 4, 0, 0, 0, 0];
    const LAST: [u8; 8] = [6, 0, 1, 4, 0, 0, 0, 0];
    const ROUTE: [u8; 8] = [6, 0, 4, 0, 0, 0, 0, 0];

    // RFC 8200 4.
    #[test]
    fn upper_layer_is_found_behind_what_is_stepped_over() {
        let text = b"text".to_vec();
        assert_eq!(walk(6, &[]), Ok((6, text.clone(), 6, false)));
        assert_eq!(walk(0, &[&LAST]), Ok((6, text.clone(), 40, false)));
        assert_eq!(walk(43, &[&ROUTE]), Ok((6, text.clone(), 40, false)));
        let long = [&[6, 1, 1, 12][..], &[0; 12]].concat();
        assert_eq!(walk(0, &[&OPTIONS, &long]), Ok((6, text.clone(), 48, false)));
        // RFC 6946: a packet in one part is whole.
        assert_eq!(walk(44, &[&[6, 0, 0, 0, 0, 0, 0, 9]]), Ok((6, text, 40, true)));
    }

    // RFC 8200 4.5.
    #[test]
    fn part_of_a_packet_is_dropped() {
        for (offset, more) in [(0, 1), (0, 8), (1, 0), (0xff, 0xf9)] {
            let part = [6, 0, offset, more, 0, 0, 0, 9];
            assert_eq!(walk(44, &[&part]), dropped(DropReason::DropFragment));
        }
    }

    // RFC 8200 4.4, RFC 5095.
    #[test]
    fn route_that_goes_on_is_refused_where_its_kind_stands() {
        let problem = Some(Problem { code: 0, pointer: 42 });
        let stop = Stop { reason: DropReason::DropSourceRoute, problem };
        assert_eq!(walk(43, &[&[6, 0, 0, 1, 0, 0, 0, 0]]), Err(stop));
    }

    // RFC 8200 4.2: the two highest bits of an option.
    #[test]
    fn unknown_option_decides_by_its_own_bits() {
        let with = |kind| [6, 0, kind, 2, 7, 7, 0, 0];
        assert!(walk(60, &[&with(0x1e)]).is_ok());
        assert_eq!(walk(60, &[&with(0x5e)]), dropped(DropReason::DropExtension));
        for kind in [0x9e, 0xde] {
            assert_eq!(walk(60, &[&with(kind)]), Err(problem(2, 42)));
        }
        let bytes = packet(0, &[&with(0xde)]);
        let packet =
            Packet { dst: super::super::ALL_NODES, ..Packet::parse(&bytes).expect("sound") };
        assert_eq!(packet.upper(), Err(DropReason::DropExtension.into()));
    }

    // RFC 8200 4.3.
    #[test]
    fn hop_by_hop_options_elsewhere_are_a_problem() {
        let [_, rest @ ..] = OPTIONS;
        let before: Vec<u8> = [&[0][..], &rest].concat();
        assert_eq!(walk(60, &[&before, &LAST]), Err(problem(1, 40)));
    }

    #[test]
    fn more_than_is_followed_or_cut_short_is_dropped() {
        let many: Vec<&[u8]> = vec![&OPTIONS; MOST - 1];
        assert!(walk(60, &[&many[..], &[&LAST]].concat()).is_ok());
        let many: Vec<&[u8]> = vec![&OPTIONS; MOST];
        let too_many = [&many[..], &[&LAST]].concat();
        assert_eq!(walk(60, &too_many), dropped(DropReason::DropExtension));
        let crowd = [&[6, 2][..], &[0x1e, 0].repeat(11)].concat();
        assert_eq!(walk(60, &[&crowd]), dropped(DropReason::DropExtension));
        // A header, and an option, that are longer than what there is.
        for header in [[6, 9, 1, 4, 0, 0, 0, 0], [6, 0, 1, 5, 0, 0, 0, 0], [6, 0, 1, 3, 0, 0, 0, 1]]
        {
            assert_eq!(walk(60, &[&header]), dropped(DropReason::DropExtension));
        }
        assert_eq!(walk(44, &[]), dropped(DropReason::DropExtension));
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(first in 0u8..64, bytes: Vec<u8>) {
            let packet = packet(first, &[&bytes]);
            let upper = Packet::parse(&packet).expect("a sound header").upper();
            prop_assert!(upper.is_err() || upper.is_ok_and(|upper| packet.ends_with(upper.payload)));
        }

        #[test]
        fn any_options_never_panic(mut options: Vec<u8>) {
            options.truncate(2030);
            let units = (options.len() + 2).div_ceil(8);
            options.resize(units * 8 - 2, 0);
            let header = [&[PROTOCOL_TCP, (units - 1) as u8][..], &options].concat();
            let _ = walk(60, &[&header]);
        }
    }
}
