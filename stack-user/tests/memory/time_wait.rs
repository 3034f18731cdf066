//! TIME-WAIT in numbers: what a record costs with its flow, and how they end.

use sluice::service::{Connection, Service};
use sluice::shard::Limits;
use sluice::tcp::State;
use sluice::time::Duration;
use sluice::wire::tcp::Flags;

use crate::crowd::{Crowd, ISN, Sends, ack_of, batches};
use crate::{alone, count, resident};

/// Closes first, so that TIME-WAIT is here.
struct Closes;

impl Service for Closes {
    fn on_accept(&mut self, conn: &mut dyn Connection) {
        conn.close();
    }

    fn on_data(&mut self, _conn: &mut dyn Connection, data: &[u8]) -> usize {
        data.len()
    }
}

fn time_waits(crowd: &Crowd) -> u32 {
    crowd.shard.census()[State::TimeWait as usize]
}

/// A shard with `count` records and nothing else.
fn fill(crowd: &mut Crowd, count: u32) {
    for batch in batches(count) {
        let opened = crowd.open(batch);
        // Our FIN is out: the clients acknowledge it with theirs.
        let flags = Flags::FIN.union(Flags::ACK);
        crowd.exchange(opened.into_iter().map(|(client, ack)| Sends {
            client,
            seq: ISN + 1,
            ack: ack + 1,
            flags,
            text: &[],
        }));
    }
    assert_eq!(time_waits(crowd), count);
    assert_eq!(crowd.shard.flows(), count as usize);
}

fn limits(count: u32) -> Limits {
    let limits = Limits { connections: 128, half_open: 128, ..Limits::default() };
    Limits { time_wait: count as usize, ..limits }
}

// CM-6.h. Issue 3, point 6: record, index and queue take at most 96 bytes; ten million fit in 1
// GiB.
#[test]
fn time_wait_costs_at_most_96_bytes_and_nothing_before() {
    alone("time_wait::time_wait_costs_at_most_96_bytes_and_nothing_before", || {
        let count = count(500_000, 10_000_000);
        let before = resident();
        let mut crowd = Crowd::new(limits(count), Box::new(Closes));
        let empty = resident() - before;
        assert!(empty < 2 << 20, "{empty} bytes before the first connection");
        fill(&mut crowd, count);
        let used = resident() - before;
        let each = used / count as usize;
        println!("{count} TIME-WAIT records: {used} bytes, {each} each");
        assert!(each <= 96, "{each} bytes each");
        assert!(used <= 1 << 30 || count < 10_000_000, "{used} bytes");
    });
}

// CM-6.i. Issue 3, point 6: they expire without a hitch. What is counted is work, not time.
#[test]
fn time_wait_ends_in_steps_of_bounded_work_while_others_are_served() {
    alone("time_wait::time_wait_ends_in_steps_of_bounded_work_while_others_are_served", || {
        let count = count(100_000, 10_000_000);
        let mut crowd = Crowd::new(limits(count), Box::new(Closes));
        fill(&mut crowd, count);
        // The timers of their opening and closing pass, but not 2MSL.
        let later = crowd.now + Duration::from_secs(5);
        crowd.wait(later);
        assert_eq!(time_waits(&crowd), count);
        // All of them at once.
        crowd.now = crowd.now + Duration::from_secs(3600);
        let (mut left, mut turns) = (count, 0);
        while left > 0 {
            let now = crowd.now;
            assert!(crowd.shard.next_deadline().is_some_and(|next| next <= now), "{left} stay");
            crowd.shard.on_timers(now);
            if turns == 10 {
                // In the middle of it a new connection opens as ever, until its client resets it.
                let opened = crowd.open(0..1);
                assert_eq!(opened.len(), 1);
                let reset =
                    |(client, ack)| Sends { flags: Flags::RST, ..ack_of(client, ISN + 1, ack) };
                crowd.exchange(opened.into_iter().map(reset));
            }
            let ended = left - time_waits(&crowd);
            assert!(ended <= TURN || turns == 10, "{ended} ended in one turn");
            left -= ended;
            turns += 1;
        }
        println!("{count} TIME-WAIT records ended in {turns} turns");
        assert!(turns <= count / TURN + 5, "{turns} turns");
        assert_eq!(crowd.shard.flows(), 0);
    });
}

/// The most records of one turn.
const TURN: u32 = 256;
