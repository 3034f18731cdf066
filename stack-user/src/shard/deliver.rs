//! From connections to their services, and back.

use super::Shard;
use super::handle::Handle;
use super::inner::{Admission, Conn, Core, Lists, Mark, Marks};
use crate::service::{Connection, Service};
use crate::tables::flow::{FlowKind, FlowRef};
use crate::tcp::pool::Chain;
use crate::tcp::{CloseReason, Env, Events, Trouble};
use crate::time::Instant;

impl Shard {
    /// Tells the service what a segment or a timer brought, in the order in which it happened: open,
    /// text, what reassembly adds, FIN, end.
    pub(super) fn deliver(&mut self, index: u32, (text, follows): (&[u8], Chain), now: Instant) {
        let Some(conn) = self.core.conns.get_mut(index) else { return };
        // CM-3.e: what comes before accept waits.
        if !conn.is_admitted() {
            return self.core.keep(index, text, follows);
        }
        let held = text.len() + follows.len();
        let events = conn.tcb.poll_event();
        if events != Events::default() {
            self.announce(index, (events, held), now);
        }
        if !text.is_empty() {
            self.offer(index, (text, held), now);
        }
        if !follows.is_empty()
            && let Some((conn, mut env)) = self.core.conn_env(index)
        {
            conn.tcb.keep_chain(follows, &mut env);
        }
        if !self.core.conns.get(index).is_some_and(Conn::is_at_rest) {
            self.go_on_reading(index, now);
        }
        let closed = events.closed.filter(|reason| *reason != CloseReason::Closed);
        if let Some(reason) = closed.or(events.released) {
            self.end(index, reason);
        }
    }

    /// Offers what is left after text was offered, and the end of it.
    fn go_on_reading(&mut self, index: u32, now: Instant) {
        self.offer_unread(index, now);
        if let Some((conn, mut env)) = self.core.conn_env(index) {
            conn.tcb.lose_unread(&mut env);
        }
        self.finish_reading(index, now);
    }

    /// As [`Shard::deliver`], for text alone that a connection of `service` gets to which
    /// [`Conn::is_plain`] applies. What `is_unseen` changed nothing that its record shows; what the
    /// service sends does, and output notes that. Whether that was all, and the connection is settled.
    pub(super) fn deliver_plain(
        &mut self,
        (index, service): (u32, u16),
        (text, is_unseen): (&[u8], bool),
        now: Instant,
    ) -> bool {
        let offer = match text.is_empty() {
            true => Offer::Taken,
            false => self.offer_plain((index, service), text, now),
        };
        self.settle_offered(index, (offer, is_unseen), now)
    }

    /// Offers such text. What the service leaves is kept.
    #[inline(always)]
    pub(super) fn offer_plain(
        &mut self,
        (index, service): (u32, u16),
        text: &[u8],
        now: Instant,
    ) -> Offer {
        let service = &mut *self.services[usize::from(service)];
        let mut handle = Handle::new(&mut self.core, index, now).holding(text.len());
        let consumed = service.on_data(&mut handle, text);
        let is_changed = handle.is_changed();
        if consumed < text.len() {
            self.keep_left(index, &text[consumed..]);
            return Offer::Left;
        }
        if is_changed { Offer::Taken } else { Offer::TakenAlone }
    }

    /// Keeps what the service left of text.
    #[inline(never)]
    fn keep_left(&mut self, index: u32, text: &[u8]) {
        if let Some((conn, mut env)) = self.core.conn_env(index)
            && !conn.tcb.is_text_lost()
        {
            conn.tcb.keep_unread(text, &mut env);
        }
    }

    /// After such text was offered: settles the connection where that is simple; whether it was.
    #[inline(never)]
    pub(super) fn settle_offered(
        &mut self,
        index: u32,
        (offer, is_unseen): (Offer, bool),
        now: Instant,
    ) -> bool {
        let Some((conn, env, mut lists)) = self.core.conn_parts(index) else { return false };
        if offer != Offer::Left
            && conn.is_plain()
            && let owes_ack_alone = conn.owes_ack_alone()
            && lists.settle_plain((index, conn), (is_unseen, owes_ack_alone), &env, now)
        {
            return true;
        }
        if !conn.is_at_rest() {
            self.go_on_reading(index, now);
        }
        false
    }

    /// What happened besides text; `held` octets of it are still to be offered.
    fn announce(&mut self, index: u32, (events, held): (Events, usize), now: Instant) {
        if events.fin
            && let Some(conn) = self.core.conns.get_mut(index)
        {
            conn.marks.set(Mark::FinPending, true);
        }
        if events.closed == Some(CloseReason::Closed) {
            self.core.detach(index);
        }
        if events.opened {
            let Some(conn) = self.core.conns.get_mut(index) else { return };
            conn.marks.set(Mark::Known, true);
            let is_active = conn.marks.has(Mark::Active);
            self.call(index, now, |service, conn| match is_active {
                true => service.on_connected(conn),
                false => service.on_accept(conn),
            });
        }
        if events.writable {
            self.call(index, now, |service, conn| service.on_writable(conn));
        }
        if events.timer {
            self.call(index, now, |service, conn| service.on_timer(conn));
        }
        if let Some(trouble) = events.trouble {
            if trouble == Trouble::Unanswered {
                self.core.doubt_next_hop(index);
            }
            self.call(index, now, |service, conn| service.on_trouble(conn, trouble));
        }
        if events.urgent {
            self.call_holding(index, held, now, |service, conn| service.on_urgent(conn));
        }
    }

    /// Runs one call of the connection's service.
    fn call<R>(
        &mut self,
        index: u32,
        now: Instant,
        run: impl FnOnce(&mut dyn Service, &mut dyn Connection) -> R,
    ) -> Option<R> {
        self.call_holding(index, 0, now, run)
    }

    /// As [`Shard::call`], while `held` octets of text are neither in the receive buffer nor
    /// consumed. A service that has closed for good is not called any more.
    fn call_holding<R>(
        &mut self,
        index: u32,
        held: usize,
        now: Instant,
        run: impl FnOnce(&mut dyn Service, &mut dyn Connection) -> R,
    ) -> Option<R> {
        let conn = self.core.conns.get(index).filter(|conn| !conn.tcb.is_forsaken())?;
        let service = usize::from(conn.service);
        let mut handle = Handle::new(&mut self.core, index, now).holding(held);
        Some(run(&mut *self.services[service], &mut handle))
    }

    /// Offers text that is still in its frame; what is not consumed is copied.
    fn offer(&mut self, index: u32, (text, held): (&[u8], usize), now: Instant) {
        let is_behind = self.core.conns.get(index).is_some_and(|conn| conn.tcb.has_unread());
        let consumed = match is_behind {
            true => 0,
            false => self
                .call_holding(index, held, now, |service, conn| service.on_data(conn, text))
                .unwrap_or(0),
        };
        if consumed < text.len() {
            self.keep_left(index, &text[consumed..]);
        }
    }

    /// Offers what was kept, until the service leaves something or nothing is left.
    fn offer_unread(&mut self, index: u32, now: Instant) {
        loop {
            let Some(conn) = self.core.conns.get_mut(index) else { return };
            conn.marks.set(Mark::Resumed, false);
            if !conn.tcb.has_unread() || conn.tcb.is_forsaken() {
                return;
            }
            let mut chain = conn.tcb.take_unread();
            let front = chain.front(&self.core.pool);
            let len = front.len();
            self.scratch[..len].copy_from_slice(front);
            let scratch = core::mem::take(&mut self.scratch);
            let text = &scratch[..len];
            let held = chain.len();
            let consumed = self
                .call_holding(index, held, now, |service, conn| service.on_data(conn, text))
                .unwrap_or(0);
            self.scratch = scratch;
            chain.consume(&mut self.core.pool, consumed.min(len));
            let Some(conn) = self.core.conns.get_mut(index) else { return };
            if conn.tcb.is_text_lost() {
                chain.clear(&mut self.core.pool);
                return;
            }
            conn.tcb.put_unread(chain);
            conn.tcb.on_consumed();
            if consumed == 0 || (consumed < len && !conn.marks.has(Mark::Resumed)) {
                return;
            }
        }
    }

    /// Once everything before the peer's FIN is consumed, the service hears of it; never when text
    /// before it was thrown away.
    fn finish_reading(&mut self, index: u32, now: Instant) {
        let Some(conn) = self.core.conns.get_mut(index) else { return };
        if conn.tcb.has_unread() {
            return;
        }
        if conn.marks.take(Mark::FinPending) && !conn.tcb.is_text_lost() {
            self.call(index, now, |service, conn| service.on_peer_fin(conn));
        }
        // One that was lost ends as it says, which `deliver` knows.
        let is_whole = |conn: &Conn| conn.marks.has(Mark::Detached) && !conn.tcb.is_text_lost();
        if self.core.conns.get(index).is_some_and(is_whole) {
            self.end(index, CloseReason::Closed);
        }
    }

    /// The connection is over: the service hears of it once, and the table forgets it as soon as
    /// nothing is left to send.
    fn end(&mut self, index: u32, reason: CloseReason) {
        let Some(conn) = self.core.conns.get_mut(index) else { return };
        if conn.marks.has(Mark::Known) || conn.marks.has(Mark::Active) {
            let (service, user) = (usize::from(conn.service), conn.user);
            conn.marks.set(Mark::Known, false);
            conn.marks.set(Mark::Active, false);
            self.services[service].on_closed(user, reason);
        }
    }

    /// After anything was done to a connection: tells its service what that led to, forgets it when
    /// it is over, else sees that output and the wheel look at it.
    pub(super) fn settle(&mut self, index: u32, now: Instant) {
        while self.core.conns.get(index).is_some_and(Conn::wants_call) {
            self.deliver(index, (&[], Chain::default()), now);
        }
        let Some(conn) = self.core.conns.get(index) else { return };
        let may_be_over = conn.tcb.is_silent() || conn.marks.has(Mark::Detached);
        let is_over = may_be_over && self.settle_end(index, now);
        // One that was forgotten has nothing to tell.
        self.core.note_changed(index, now);
        if is_over {
            return;
        }
        if self.core.watch(index, now) {
            self.reset_for_memory(index, now);
        }
    }

    /// A connection has nothing left to send, or no name any more; whether that was all.
    fn settle_end(&mut self, index: u32, now: Instant) -> bool {
        let Some(conn) = self.core.conns.get(index) else { return true };
        if !conn.is_admitted() && conn.tcb.is_silent() {
            self.core.settle_unaccepted(index);
        } else if conn.marks.has(Mark::Detached) {
            self.settle_detached(index, now);
        } else if conn.tcb.is_over() {
            let hash = self.core.hasher.hash(conn.tcb.tuple());
            self.core.flows.remove(hash, FlowRef::new(FlowKind::Tcb, index));
            self.core.forget(index);
        } else {
            return false;
        }
        true
    }

    /// The pool has room again: services that waited for it may send. An acknowledgment tells a
    /// service only of room that its own connection made.
    #[inline(never)]
    pub(super) fn feed_starved(&mut self, now: Instant) {
        for _ in 0..self.core.starved.len() {
            if self.core.pool.room_to_send() == 0 {
                return;
            }
            let Some(index) = self.core.starved.pop_front() else { return };
            if let Some(conn) = self.core.conns.get_mut(index)
                && conn.marks.take(Mark::Starved)
            {
                conn.tcb.on_pool_room();
                self.settle(index, now);
            }
        }
    }

    /// The connection is over, or TIME-WAIT has its record; it stays for a service that has not read
    /// everything and will come back for it by its timer.
    fn settle_detached(&mut self, index: u32, now: Instant) {
        self.finish_reading(index, now);
        let Some(conn) = self.core.conns.get(index) else { return };
        if conn.tcb.has_unread() && (conn.marks.has(Mark::Held) || conn.tcb.has_timer()) {
            self.core.arm(index, now);
            return;
        }
        self.end(index, CloseReason::Closed);
        self.core.forget(index);
    }
}

/// On the dirty list, or waiting to come there.
const BUSY: Marks = Marks::NONE.with(Mark::Dirty).with(Mark::Waiting);

/// What a service did with text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// It took all, and did nothing to its connection.
    TakenAlone,
    /// It took all.
    Taken,
    /// It left some.
    Left,
}

impl Lists<'_> {
    /// As [`Shard::settle`], for a connection to which [`Conn::is_plain`] applies, where there is nothing to
    /// tell and nothing ends; false, and nothing was done, where it may be otherwise.
    #[inline(always)]
    pub(super) fn settle_plain(
        &mut self,
        (index, conn): (u32, &mut Conn),
        (is_unseen, owes_ack_alone): (bool, bool),
        env: &Env<'_>,
        now: Instant,
    ) -> bool {
        let is_simple = conn.stuck == 0
            && !conn.tcb.is_stuck()
            && !conn.tcb.waits_for_pool(env.pool, env.config);
        if !is_simple {
            return false;
        }
        if !conn.marks.has(Mark::Unarmed) {
            if conn.marks.has_any_of(BUSY) {
                return false;
            }
            conn.marks.set(Mark::Dirty, true);
            conn.marks.set(Mark::Unarmed, true);
            self.dirty.push_unarmed(index);
        }
        conn.marks.set(Mark::AckAlone, owes_ack_alone);
        if !is_unseen {
            self.publisher.note(index, conn, now);
        }
        true
    }
}

impl Core {
    /// A connection goes on: output looks at it in this turn, the wheel by its deadline, and it is
    /// remembered where it waits for room in the pool. Whether it is an orphan too many.
    #[inline]
    fn watch(&mut self, index: u32, now: Instant) -> bool {
        let Some(conn) = self.conns.get_mut(index) else { return false };
        if !conn.marks.has(Mark::Dirty) && !conn.marks.has(Mark::Waiting) {
            conn.marks.set(Mark::Dirty, true);
            // Output comes to it in this turn, and its deadline may be another one then.
            conn.marks.set(Mark::Unarmed, true);
            self.dirty.push_unarmed(index);
        }
        let is_alone = conn.marks.has(Mark::Dirty) && conn.is_plain() && conn.owes_ack_alone();
        conn.marks.set(Mark::AckAlone, is_alone);
        let is_armed_later = conn.marks.has(Mark::Unarmed);
        if conn.tcb.waits_for_pool(&self.pool, &self.config.tcp) && !conn.marks.has(Mark::Starved) {
            conn.marks.set(Mark::Starved, true);
            self.starved.push_back(index);
        }
        let is_too_many = self.orphans.note(index, conn, self.config.limits.orphans);
        if self.orphans.wants_compacting() {
            self.compact_stuck();
        }
        if !is_armed_later {
            self.arm(index, now);
        }
        is_too_many
    }

    /// Keeps what came for a connection that its service does not have yet. Its events stay where they
    /// are.
    fn keep(&mut self, index: u32, text: &[u8], follows: Chain) {
        let Some((conn, mut env)) = self.conn_env(index) else { return };
        if !conn.tcb.is_text_lost() {
            conn.tcb.keep_unread(text, &mut env);
        }
        conn.tcb.keep_chain(follows, &mut env);
    }

    /// A connection is over before its service had it: it waits on in the accept queue, or is
    /// forgotten.
    fn settle_unaccepted(&mut self, index: u32) {
        let Some(conn) = self.conns.get(index) else { return };
        let is_refused = conn.admission == Admission::Refused;
        if !conn.marks.has(Mark::Detached) {
            self.detach(index);
        }
        if is_refused {
            self.forget(index);
        }
    }

    /// Both FINs are acknowledged: the flow ends, and what is unread stays with its service.
    fn detach(&mut self, index: u32) {
        let Some(conn) = self.conns.get_mut(index) else { return };
        conn.marks.set(Mark::Detached, true);
        let hash = self.hasher.hash(conn.tcb.tuple());
        self.flows.remove(hash, FlowRef::new(FlowKind::Tcb, index));
    }
}
