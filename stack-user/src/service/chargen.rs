//! The character generator service (RFC 864): lines of text without end, until the peer closes.
//!
//! Line `k` holds 72 of the 95 printable characters of ASCII as a ring, beginning at the `k`-th,
//! and ends with CR LF, so that the stream repeats every 95 lines. What the peer sends is thrown
//! away.

use super::{Connection, Service};

/// The character generator. [`Connection::user`] holds the offset into the period.
#[derive(Debug, Default)]
pub struct Chargen;

impl Chargen {
    /// Sends until the send buffer is full; `on_writable` goes on from there.
    fn fill(conn: &mut dyn Connection) {
        let mut offset = *conn.user() as usize;
        loop {
            let given = &STREAM[offset..];
            let taken = conn.send_static(given);
            offset = (offset + taken) % PERIOD;
            if taken < given.len() {
                break;
            }
        }
        *conn.user() = offset as u64;
    }
}

impl Service for Chargen {
    fn on_accept(&mut self, conn: &mut dyn Connection) {
        Self::fill(conn);
    }

    fn on_data(&mut self, _conn: &mut dyn Connection, data: &[u8]) -> usize {
        data.len()
    }

    fn on_writable(&mut self, conn: &mut dyn Connection) {
        Self::fill(conn);
    }
}

/// Characters of a line before its CR LF.
const LINE: usize = 72;
/// Printable characters of ASCII, space to tilde: as many as there are different lines.
const RING: usize = 95;
/// Bytes after which the stream repeats.
const PERIOD: usize = RING * (LINE + 2);

/// Eight periods, so that most calls of `send` are given several segments at once.
static STREAM: [u8; 8 * PERIOD] = stream();

const fn stream() -> [u8; 8 * PERIOD] {
    let mut bytes = [0; 8 * PERIOD];
    let mut at = 0;
    while at < bytes.len() {
        let (line, column) = (at / (LINE + 2), at % (LINE + 2));
        bytes[at] = match column {
            LINE => b'\r',
            c if c > LINE => b'\n',
            c => b' ' + ((line + c) % RING) as u8,
        };
        at += 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fake::Rig;

    /// The first `len` bytes as RFC 864, section "Data Syntax", describes its popular pattern.
    fn expected(len: usize) -> Vec<u8> {
        let ring: Vec<u8> = (b' '..=b'~').collect();
        let line = |k: usize| {
            let chars = ring.iter().cycle().skip(k % 95).take(72).copied();
            chars.chain(*b"\r\n").collect::<Vec<u8>>()
        };
        (0..).flat_map(line).take(len).collect()
    }

    #[test]
    fn established_sends_the_rotating_lines_across_short_sends() {
        let mut rig = Rig::new(Chargen, 1001);
        rig.accept();
        let mut got = Vec::new();
        while got.len() < 100_000 {
            got.extend(rig.read(613));
        }
        assert!(got == expected(got.len()));
    }

    #[test]
    fn established_input_is_discarded() {
        let mut rig = Rig::new(Chargen, 100);
        rig.accept();
        rig.deliver(&[0; 3000]);
        assert_eq!(rig.unconsumed(), 0);
    }

    #[test]
    fn close_wait_stops_the_stream() {
        let mut rig = Rig::new(Chargen, 100);
        rig.accept();
        rig.fin();
        assert!(rig.is_closed());
        assert_eq!(rig.read_all().len(), 100);
    }
}
