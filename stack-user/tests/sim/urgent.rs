//! Urgent data from end to end (RFC 9293, 3.8.5).

use sluice::time::Duration;

use crate::impairment::Impairment;
use crate::seed;
use crate::user::{Pair, Told};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

// RFC 9293 3.8.5 (MUST-30, MUST-32, MUST-33).
// CM-9.a CM-9.b
#[test]
fn established_urgent_mark_is_told_and_stands_where_it_was_set() {
    seed::each(10, |seed| {
        let mut pair = Pair::with(Impairment::loss(0.1), seed, |_| {});
        let ids = pair.connect(vec![]);
        pair.scribes[1].notes().is_lazy = true;
        pair.on(0, ids[0], |conn| conn.send(&[1; 20_000]));
        pair.on(0, ids[0], |conn| conn.send_urgent(&[2; 10]));
        pair.on(0, ids[0], |conn| conn.send(&[3; 10_000]));
        pair.run(secs(60));
        let told = pair.told(1);
        assert_eq!(told.first(), Some(&Told::Opened));
        assert!(told[1..].iter().all(|told| *told == Told::Urgent) && told.len() > 1, "{told:?}");
        let mut all: Vec<u8> = Vec::new();
        let mut piece = [0; 7_000];
        while let Some(ahead) = pair.on(1, ids[1], |conn| conn.urgent_ahead()).flatten() {
            assert_eq!(ahead as usize + all.len(), 20_010, "the mark stands still");
            let most = piece.len().min((ahead as usize).max(1));
            let taken = pair.on(1, ids[1], |conn| conn.read(&mut piece[..most])).unwrap_or(0);
            all.extend(&piece[..taken]);
        }
        assert_eq!(all.len(), 20_011, "one octet past the mark");
        assert_eq!(all[19_999..], [1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3]);
    });
}

// RFC 9293 3.8.6 (MUST-66): the mark is told though no text fits.
#[test]
fn established_urgent_mark_passes_a_closed_window() {
    let mut pair = Pair::new();
    let ids = pair.connect(vec![]);
    pair.scribes[1].notes().is_lazy = true;
    while pair.on(0, ids[0], |conn| conn.unsent()) == Some(0) {
        pair.on(0, ids[0], |conn| conn.send(&[1; 10_000]));
        pair.run(secs(1));
    }
    pair.told(1);
    assert_eq!(pair.on(0, ids[0], |conn| conn.send_urgent(b"!")), Some(1));
    pair.run(secs(1));
    assert_eq!(pair.told(1), [Told::Urgent]);
    let ahead = pair.on(1, ids[1], |conn| conn.urgent_ahead()).flatten();
    let unread = pair.on(1, ids[1], |conn| conn.unread()).unwrap_or(0);
    assert!(ahead.is_some_and(|ahead| ahead as usize > unread), "{ahead:?} {unread}");
}
