//! A service that does random things to its connections, and comes to an end with each.

use sluice::service::{Connection, Service};
use sluice::tcp::{CloseReason, KeepAlive, Setting, SettingError};
use sluice::time::Duration;

use super::world::{Over, World, stream};
use crate::seed::Rng;

/// How a node's actor behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Temper {
    /// The most operations on one connection.
    pub(super) operations: u64,
    /// The most octets of one burst, as a power of two.
    pub(super) burst_bits: u64,
    /// The most time between two operations.
    pub(super) pause: Duration,
    /// How many connections are aborted at a random operation.
    pub(super) abort: f64,
}

/// The service.
pub(super) struct Actor {
    world: World,
    node: usize,
    life: u32,
    temper: Temper,
    rng: Rng,
    /// By the number of the end, less the numbers of other nodes: what it does next.
    moods: Vec<Option<Mood>>,
}

/// What an actor has in mind with one connection.
#[derive(Clone, Debug)]
struct Mood {
    /// Operations left.
    left: u64,
    /// Octets left of the present burst.
    burst: u64,
    is_reading: bool,
    /// Closes once the burst is queued.
    is_ending: bool,
    /// The last operation closes both directions for good.
    is_rude: bool,
    /// The most that one call sends.
    piece: usize,
}

impl Actor {
    pub(super) fn new(world: &World, (node, life): (usize, u32), temper: Temper, rng: Rng) -> Self {
        Self { world: world.clone(), node, life, temper, rng, moods: Vec::new() }
    }

    fn open(&mut self, conn: &mut dyn Connection, is_active: bool) {
        assert_eq!(*conn.user(), 0, "a connection opens once");
        let number = self.world.open(self.node, self.life, is_active, &conn.tuple());
        *conn.user() = number as u64 + 1;
        let mood = Mood {
            left: self.rng.below(self.temper.operations + 1),
            burst: 0,
            is_reading: true,
            is_ending: false,
            is_rude: self.rng.chance(0.2),
            piece: 1 + self.rng.scaled((1 << 14) - 1) as usize,
        };
        self.moods.resize(number + 1, None);
        self.moods[number] = Some(mood);
        self.operate(conn);
    }

    fn mood(&mut self, conn: &mut dyn Connection) -> &mut Mood {
        let index = (*conn.user() as usize).checked_sub(1).expect("a connection opens first");
        self.moods[index].as_mut().expect("a connection that opened is known")
    }

    fn number(conn: &mut dyn Connection) -> usize {
        *conn.user() as usize - 1
    }

    /// One random operation, and the time of the next; the last one ends our direction.
    fn operate(&mut self, conn: &mut dyn Connection) {
        let mood = self.mood(conn);
        let Some(left) = mood.left.checked_sub(1) else {
            return self.end(conn);
        };
        mood.left = left;
        let operation = self.rng.below(8);
        match operation {
            0..3 => {
                let most = 1 << self.temper.burst_bits;
                let burst =
                    if self.rng.chance(0.5) { self.rng.below(most) } else { self.rng.scaled(most) };
                self.mood(conn).burst += burst;
                self.pump(conn);
            }
            3 => self.mood(conn).is_reading = false,
            4 | 5 => {
                self.mood(conn).is_reading = true;
                conn.resume();
            }
            6 if self.rng.chance(0.3) => self.shut_down(conn),
            6 if self.rng.chance(0.3) => self.configure(conn),
            6 if self.rng.chance(0.1) => self.stop_reading(conn),
            7 if self.rng.chance(0.2) => self.urge(conn),
            7 if self.rng.chance(self.temper.abort) => return self.abort(conn),
            _ => {}
        }
        // A reader that stops does so for long enough to be felt.
        let most = self.temper.pause.as_micros() as u64;
        let pause = if operation == 3 { self.rng.below(most) } else { self.rng.scaled(most) };
        conn.set_timer(Some(Duration::from_micros(pause)));
    }

    /// Nothing more is to be done but to read to the end.
    fn end(&mut self, conn: &mut dyn Connection) {
        let mood = self.mood(conn);
        (mood.is_reading, mood.is_ending) = (true, true);
        conn.resume();
        self.pump(conn);
    }

    /// Sends what the send buffer takes of the present burst.
    fn pump(&mut self, conn: &mut dyn Connection) {
        let number = Self::number(conn);
        let mut sent = self.world.with(number, |end| end.sent);
        let mood = self.mood(conn);
        let mut piece = [0; 1 << 14];
        while mood.burst > 0 {
            let len = mood.piece.min(mood.burst as usize);
            stream(number, sent, &mut piece[..len]);
            let taken = conn.send(&piece[..len]);
            sent += taken as u64;
            mood.burst -= taken as u64;
            if taken < len {
                break;
            }
        }
        let is_ready = mood.is_ending && mood.burst == 0;
        let has_closed = self.world.with(number, |end| {
            end.sent = sent;
            end.closes
        });
        if has_closed {
            self.mood(conn).burst = 0;
        }
        if is_ready && self.mood(conn).is_rude {
            // Once for good is enough.
            self.mood(conn).is_ending = false;
            self.world.with(number, |end| (end.closes, end.leaves) = (true, true));
            conn.close();
        } else if is_ready && !has_closed {
            self.shut_down(conn);
        }
    }

    fn shut_down(&mut self, conn: &mut dyn Connection) {
        self.mood(conn).burst = 0;
        self.world.with(Self::number(conn), |end| end.closes = true);
        conn.shutdown_write();
    }

    fn stop_reading(&mut self, conn: &mut dyn Connection) {
        self.world.with(Self::number(conn), |end| end.leaves = true);
        conn.shutdown_read();
    }

    /// Some of the stream, urgent.
    fn urge(&mut self, conn: &mut dyn Connection) {
        let number = Self::number(conn);
        let mut piece = [0; 40];
        let len = 1 + self.rng.below(40) as usize;
        stream(number, self.world.with(number, |end| end.sent), &mut piece[..len]);
        let taken = conn.send_urgent(&piece[..len]);
        self.world.with(number, |end| end.sent += taken as u64);
    }

    fn configure(&mut self, conn: &mut dyn Connection) {
        let rng = &mut self.rng;
        let time = Duration::from_millis(1 + rng.scaled(100_000));
        let setting = match rng.below(9) {
            0 => Setting::NoDelay(rng.chance(0.5)),
            1 => Setting::Cork(rng.chance(0.5)),
            2 => Setting::QuickAck(rng.chance(0.5)),
            3 => {
                let (idle, interval) = (time + LEAST, time / 4 + LEAST);
                Setting::KeepAlive(rng.chance(0.7).then_some(KeepAlive {
                    idle,
                    interval,
                    count: 3,
                }))
            }
            4 => Setting::UserTimeout(rng.chance(0.5).then_some(time)),
            5 => Setting::Linger(rng.chance(0.5).then_some(time)),
            6 => Setting::MaxSegment(88 + rng.scaled(2_000) as u16),
            7 => Setting::ReceiveBuffer(rng.scaled(1 << 20) as u32),
            _ => Setting::SendBuffer(rng.scaled(1 << 20) as u32),
        };
        // Buffers have a least size, and what is over cannot be set.
        if let Err(SettingError::OutOfRange(bound)) = conn.configure(setting) {
            assert!(bound.unit == "octets", "{setting:?} was refused: {bound}");
        }
    }

    fn abort(&mut self, conn: &mut dyn Connection) {
        self.world.with(Self::number(conn), |end| end.aborts = true);
        conn.abort();
    }
}

impl Service for Actor {
    fn on_accept(&mut self, conn: &mut dyn Connection) {
        self.open(conn, false);
    }

    fn on_connected(&mut self, conn: &mut dyn Connection) {
        self.open(conn, true);
    }

    fn on_data(&mut self, conn: &mut dyn Connection, data: &[u8]) -> usize {
        assert!(!data.is_empty(), "data without octets");
        let mood = self.mood(conn).clone();
        if !mood.is_reading {
            return 0;
        }
        let mut len = data.len();
        if !mood.is_ending && self.rng.chance(0.1) {
            // What is left comes again with whatever happens next, at the next operation at last.
            len = 1 + self.rng.below(len as u64) as usize;
            if self.rng.chance(0.5) {
                conn.resume();
            }
        }
        self.world.with(Self::number(conn), |end| end.receive(&data[..len]));
        len
    }

    fn on_writable(&mut self, conn: &mut dyn Connection) {
        self.pump(conn);
    }

    fn on_peer_fin(&mut self, conn: &mut dyn Connection) {
        self.world.with(Self::number(conn), |end| {
            assert!(!end.has_peer_fin, "the peer's FIN twice");
            end.has_peer_fin = true;
        });
        if self.rng.chance(0.3) {
            self.end(conn);
        }
    }

    fn on_closed(&mut self, user: u64, reason: CloseReason) {
        let mut notes = self.world.notes();
        match (user as usize).checked_sub(1) {
            Some(number) => {
                let before = notes.ends[number].over.replace(Over::Told(reason));
                assert_eq!(before, None, "on_closed twice");
            }
            None => notes.failed.push((self.node, self.life, reason)),
        }
    }

    fn on_timer(&mut self, conn: &mut dyn Connection) {
        if self.mood(conn).is_reading {
            conn.resume();
        }
        self.operate(conn);
    }
}

/// The least time of a keepalive.
const LEAST: Duration = Duration::from_millis(10);
