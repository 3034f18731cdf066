//! Established connections in numbers: what an idle one costs, and a million of them.

use sluice::service::Echo;
use sluice::shard::Limits;
use sluice::tcp::State;
use sluice::time::Duration;
use sluice::wire::tcp::Flags;

use crate::crowd::{Crowd, ISN, Sends, ack_of, batches};
use crate::{alone, count, resident};

fn established(crowd: &Crowd) -> u32 {
    crowd.shard.census()[State::Established as usize]
}

fn limits(count: u32) -> Limits {
    let limits = Limits { half_open: 1024, time_wait: 1024, ..Limits::default() };
    Limits { connections: count as usize, ..limits }
}

/// Opens `count` connections, each of which has an octet echoed and then is silent for a minute.
fn fill(crowd: &mut Crowd, count: u32) {
    for batch in batches(count) {
        let opened = crowd.open(batch);
        let flags = Flags::PSH.union(Flags::ACK);
        let says = |&(client, ack)| Sends { client, seq: ISN + 1, ack, flags, text: b"x" };
        let answers = crowd.exchange(opened.iter().map(says));
        assert_eq!(answers.len(), opened.len());
        assert!(answers.iter().all(|answer| answer.text == 1));
        crowd.exchange(answers.iter().map(|a| ack_of(a.client, ISN + 2, a.header.seq + 1)));
    }
    let later = crowd.now + Duration::from_secs(60);
    crowd.wait(later);
    assert_eq!((established(crowd), crowd.shard.buffered()), (count, 0));
}

// Issue 3, tables and time: an established idle connection costs at most 480 bytes, all in.
#[test]
fn established_idle_costs_at_most_480_bytes() {
    alone("established::established_idle_costs_at_most_480_bytes", || {
        let count = 100_000;
        let before = resident();
        let mut crowd = Crowd::new(limits(count), Box::new(Echo));
        fill(&mut crowd, count);
        let used = resident() - before;
        let each = used / count as usize;
        println!("{count} idle connections: {used} bytes, {each} each");
        assert!(each <= MOST, "{each} bytes each");
    });
}

// Issue 3, tables and time: a million connections per shard, which other threads can read.
#[test]
fn established_million_is_served_and_published() {
    alone("established::established_million_is_served_and_published", || {
        let count = count(50_000, 1_000_000);
        let mut crowd = Crowd::new(limits(count), Box::new(Echo));
        fill(&mut crowd, count);
        // No room for one more, and nothing is lost by asking.
        assert_eq!(crowd.open(count..count + 1).len(), 1);
        assert_eq!(established(&crowd), count);

        let region = crowd.shard.region().clone();
        assert_eq!(region.records_used(), count);
        let reader = region.record_reader();
        let published = std::thread::spawn(move || {
            let records = reader.iter(u32::MAX);
            let established = records.filter(|(_, r)| r.summary.state == State::Established);
            established.filter(|(_, r)| r.summary.srtt > 0 && r.summary.queued == 0).count()
        });
        assert_eq!(published.join().expect("no panic"), count as usize);

        // Each still answers.
        let mut answered = 0;
        for batch in batches(count) {
            let again =
                |client| Sends { client, seq: ISN + 1, ack: 0, flags: Flags::SYN, text: &[] };
            // RFC 5961 4.2: a SYN in the window brings a challenge ACK.
            let answers = crowd.exchange(batch.map(again));
            // The one too many may be sent its SYN-ACK again.
            answered += answers.iter().filter(|answer| answer.client < count).count();
        }
        assert_eq!(answered, count as usize);
    });
}

/// The most bytes of an idle connection.
const MOST: usize = 480;
