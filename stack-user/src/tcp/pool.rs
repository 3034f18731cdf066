//! The shard's pool of buffer chunks, and byte queues made of them; beside them the records of what
//! is in flight.
//!
//! Everything that a connection buffers, in either direction, lies in chunks of one bounded pool.
//! Memory is taken from the system in blocks as it is first needed and stays with the pool.

use super::flight::Records;

/// Bytes in a chunk.
pub const CHUNK: usize = 4096;

/// A bounded pool of chunks, linked into [`Chain`]s by index.
#[derive(Debug)]
pub struct Pool {
    blocks: Vec<Box<[u8]>>,
    links: Vec<Link>,
    free: u32,
    /// Pieces of what is sent that were lent and not copied, by index less [`LENT_BIT`].
    lent: Vec<Lent>,
    free_lent: u32,
    used: u32,
    /// Of the chunks in use, how many hold what is sent.
    sending: u32,
    limit: u32,
    /// What senders, or receivers, may have in use when more comes for them.
    half: u32,
    /// The records of segments in flight.
    pub(super) records: Records,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    next: u32,
    /// The first byte held, and the one past the last.
    start: u16,
    end: u16,
}

/// Bytes that live as long as the process, in a [`Chain`] beside its chunks.
#[derive(Clone, Copy, Debug)]
struct Lent {
    next: u32,
    bytes: &'static [u8],
}

impl Pool {
    /// A pool of at most `bytes`, rounded up to whole chunks and to a mebibyte.
    pub fn new(bytes: usize) -> Self {
        let limit = u32::try_from(bytes.div_ceil(CHUNK)).unwrap_or(NONE - 1).max(8 * RESERVE);
        let records = Records::new(limit.saturating_mul(RECORDS_PER_CHUNK));
        let (blocks, links) = (Vec::new(), Vec::new());
        let (lent, free_lent) = (Vec::new(), NONE);
        let half = limit / 2 - RESERVE;
        Self {
            blocks,
            links,
            free: NONE,
            lent,
            free_lent,
            used: 0,
            sending: 0,
            limit,
            half,
            records,
        }
    }

    /// Bytes of the chunks in use.
    pub fn used(&self) -> usize {
        self.used as usize * CHUNK
    }

    /// Chunks in use: the senders' and the others.
    pub(crate) fn chunks(&self) -> (usize, usize) {
        (self.sending as usize, (self.used - self.sending) as usize)
    }

    /// Bytes that senders may still take. They have half of the pool and receivers the other half:
    /// a service may be rid of what it received only by sending, as an echo is, and what is sent may
    /// be acknowledged only by segments that bring text, as between two ends that both send.
    pub fn room_to_send(&self) -> usize {
        let room = (self.limit / 2).saturating_sub(self.sending).min(self.limit - self.used);
        room as usize * CHUNK
    }

    /// Whether a received segment may be accepted. The rest of the receivers' half is for the
    /// segment itself, which must find its place.
    pub fn has_room_to_receive(&self) -> bool {
        self.used - self.sending <= self.half
    }

    /// Whether a segment that came early may be kept. This ends before the room to receive does, or
    /// what waits behind a gap would keep out what fills it.
    pub fn has_room_for_early(&self) -> bool {
        self.used - self.sending <= self.limit / 4
    }

    /// Whether senders or receivers have no room left: the third of the marks.
    #[inline]
    pub fn is_exhausted(&self) -> bool {
        // While less than half is in use both have room: asked for in each turn.
        let is_half_free = self.used <= self.half;
        !is_half_free && (!self.has_room_to_receive() || self.room_to_send() == 0)
    }

    /// Whether more than half of the pool is in use: windows stop growing.
    pub fn is_under_pressure(&self) -> bool {
        self.used > self.limit / 2
    }

    fn take(&mut self) -> Option<u32> {
        if self.used == self.limit {
            return None;
        }
        if self.free == NONE {
            self.grow();
        }
        let index = self.free;
        let link = &mut self.links[index as usize];
        self.free = link.next;
        *link = Link { next: NONE, start: 0, end: 0 };
        self.used += 1;
        Some(index)
    }

    /// Gives back a chunk, or ends a loan; whether it was a chunk.
    fn give_back(&mut self, index: u32) -> bool {
        if index & LENT_BIT != 0 {
            let lent = &mut self.lent[(index & !LENT_BIT) as usize];
            *lent = Lent { next: self.free_lent, bytes: &[] };
            self.free_lent = index;
            return false;
        }
        self.links[index as usize].next = self.free;
        self.free = index;
        self.used -= 1;
        true
    }

    /// Takes bytes on loan; their index.
    fn borrow(&mut self, bytes: &'static [u8]) -> u32 {
        let entry = Lent { next: NONE, bytes };
        if self.free_lent == NONE {
            self.lent.push(entry);
            return (self.lent.len() as u32 - 1) | LENT_BIT;
        }
        let index = self.free_lent;
        let slot = &mut self.lent[(index & !LENT_BIT) as usize];
        self.free_lent = slot.next;
        *slot = entry;
        index
    }

    fn next(&self, index: u32) -> u32 {
        match index & LENT_BIT {
            0 => self.links[index as usize].next,
            _ => self.lent[(index & !LENT_BIT) as usize].next,
        }
    }

    fn set_next(&mut self, index: u32, next: u32) {
        match index & LENT_BIT {
            0 => self.links[index as usize].next = next,
            _ => self.lent[(index & !LENT_BIT) as usize].next = next,
        }
    }

    /// Drops the first `n` of the bytes held at an index, which has more.
    fn skip(&mut self, index: u32, n: usize) {
        match index & LENT_BIT {
            0 => self.links[index as usize].start += n as u16,
            _ => {
                let lent = &mut self.lent[(index & !LENT_BIT) as usize];
                lent.bytes = &lent.bytes[n..];
            }
        }
    }

    fn grow(&mut self) {
        self.blocks.push(vec![0; BLOCK * CHUNK].into_boxed_slice());
        let first = self.links.len() as u32;
        for index in first..first + BLOCK as u32 {
            self.links.push(Link { next: self.free, start: 0, end: 0 });
            self.free = index;
        }
    }

    fn chunk(&self, index: u32) -> &[u8] {
        let at = index as usize % BLOCK * CHUNK;
        &self.blocks[index as usize / BLOCK][at..at + CHUNK]
    }

    fn chunk_mut(&mut self, index: u32) -> &mut [u8] {
        let at = index as usize % BLOCK * CHUNK;
        &mut self.blocks[index as usize / BLOCK][at..at + CHUNK]
    }

    /// How many bytes are held at an index.
    #[inline]
    fn held_len(&self, index: u32) -> usize {
        if index & LENT_BIT != 0 {
            return self.lent[(index & !LENT_BIT) as usize].bytes.len();
        }
        let Link { start, end, .. } = self.links[index as usize];
        usize::from(end - start)
    }

    fn held(&self, index: u32) -> &[u8] {
        if index & LENT_BIT != 0 {
            return self.lent[(index & !LENT_BIT) as usize].bytes;
        }
        let Link { start, end, .. } = self.links[index as usize];
        &self.chunk(index)[start as usize..end as usize]
    }
}

impl Pool {
    /// Copies all that one chunk holds behind what another holds, which has room for it.
    fn copy(&mut self, from: u32, to: u32) {
        let Link { start, end, .. } = self.links[from as usize];
        let at = |index: u32| (index as usize / BLOCK, index as usize % BLOCK * CHUNK);
        let ((source, from_at), (target, to_at)) = (at(from), at(to));
        let bytes = from_at + usize::from(start)..from_at + usize::from(end);
        let place = to_at + usize::from(self.links[to as usize].end);
        if source == target {
            self.blocks[source].copy_within(bytes, place);
        } else if let Ok([source, target]) = self.blocks.get_disjoint_mut([source, target]) {
            target[place..place + bytes.len()].copy_from_slice(&source[bytes]);
        }
        self.links[to as usize].end += end - start;
    }
}

/// A queue of bytes in chunks of a [`Pool`]. Dropping one that is not empty loses its chunks: end it
/// with [`Chain::clear`].
#[derive(Debug)]
pub struct Chain {
    head: u32,
    tail: u32,
    /// Bytes held, and [`SENDING`].
    len: u32,
}

impl Default for Chain {
    fn default() -> Self {
        Self { head: NONE, tail: NONE, len: 0 }
    }
}

impl Chain {
    /// An empty queue of bytes to be sent.
    pub fn for_sending() -> Self {
        Self { len: SENDING, ..Self::default() }
    }

    /// Bytes held.
    pub fn len(&self) -> usize {
        (self.len & !SENDING) as usize
    }

    /// Whether no byte is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether its chunks count as the senders'.
    fn is_sending(&self) -> bool {
        self.len & SENDING != 0
    }

    /// Appends `data`; returns how many bytes found room, all of them unless the pool is exhausted.
    pub fn append(&mut self, pool: &mut Pool, data: &[u8]) -> usize {
        let mut rest = data;
        while !rest.is_empty() {
            let room = if self.tail == NONE { 0 } else { self.room_in_tail(pool) };
            if room == 0 {
                let Some(index) = pool.take() else { break };
                pool.sending += u32::from(self.is_sending());
                self.link(pool, index);
                continue;
            }
            let (now, later) = rest.split_at(room.min(rest.len()));
            let end = pool.links[self.tail as usize].end as usize;
            pool.chunk_mut(self.tail)[end..end + now.len()].copy_from_slice(now);
            pool.links[self.tail as usize].end = (end + now.len()) as u16;
            self.len += now.len() as u32;
            rest = later;
        }
        data.len() - rest.len()
    }

    /// Appends `data` without a copy, where that is worth it.
    pub fn append_lent(&mut self, pool: &mut Pool, data: &'static [u8]) -> usize {
        // A shorter piece would take more to remember than to copy.
        if data.len() < CHUNK {
            return self.append(pool, data);
        }
        let index = pool.borrow(data);
        self.link(pool, index);
        self.len += data.len() as u32;
        data.len()
    }

    fn room_in_tail(&self, pool: &Pool) -> usize {
        if self.tail & LENT_BIT != 0 {
            return 0;
        }
        CHUNK - pool.links[self.tail as usize].end as usize
    }

    fn link(&mut self, pool: &mut Pool, index: u32) {
        if self.tail == NONE {
            self.head = index;
        } else {
            pool.set_next(self.tail, index);
        }
        self.tail = index;
    }

    /// The first bytes, as many as lie together; empty when the chain is.
    pub fn front<'p>(&self, pool: &'p Pool) -> &'p [u8] {
        if self.is_empty() { &[] } else { pool.held(self.head) }
    }

    /// Drops the first `n` bytes.
    ///
    /// # Panics
    /// When `n` is more than [`Chain::len`].
    pub fn consume(&mut self, pool: &mut Pool, n: usize) {
        assert!(n <= self.len(), "consumed more than the chain holds");
        let mut rest = n;
        self.len -= n as u32;
        while self.head != NONE {
            let held = pool.held_len(self.head);
            if rest < held {
                pool.skip(self.head, rest);
                return;
            }
            rest -= held;
            let next = pool.next(self.head);
            let is_chunk = pool.give_back(self.head);
            pool.sending -= u32::from(is_chunk && self.is_sending());
            self.head = next;
        }
        self.tail = NONE;
    }

    /// Moves all of `other` behind the last byte. What fits in the last chunk is copied there, or a
    /// peer that sends octet by octet, the last one first, would take a chunk for each.
    pub fn concat(&mut self, pool: &mut Pool, mut other: Chain) {
        // What is lent is only ever sent, and what is sent is not joined.
        debug_assert!(!self.is_sending() && !other.is_sending());
        while other.head != NONE && self.tail != NONE {
            let len = pool.held(other.head).len();
            if len > self.room_in_tail(pool) {
                break;
            }
            pool.copy(other.head, self.tail);
            self.len += len as u32;
            other.consume(pool, len);
        }
        if other.head == NONE {
            return;
        }
        self.link(pool, other.head);
        self.tail = other.tail;
        self.len += other.len() as u32;
    }

    /// How many chunks it has.
    pub(crate) fn chunks(&self, pool: &Pool) -> usize {
        let next = |at: &u32| Some(pool.next(*at)).filter(|next| *next != NONE);
        core::iter::successors(Some(self.head).filter(|head| *head != NONE), next)
            .filter(|at| at & LENT_BIT == 0)
            .count()
    }

    /// Gives all chunks back.
    pub fn clear(&mut self, pool: &mut Pool) {
        self.consume(pool, self.len());
    }
}

/// A place in a [`Chain`] that reads move forward, so that reading in order does not walk the chain
/// from its start each time.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    chunk: u32,
    /// Stream position of the first byte held in `chunk`.
    position: u32,
}

impl Default for Cursor {
    fn default() -> Self {
        Self { chunk: NONE, position: 0 }
    }
}

impl Cursor {
    /// Copies bytes from stream position `position` on into `out`. `base` is the position of the
    /// chain's first byte; positions wrap.
    ///
    /// # Panics
    /// When the chain ends before `out` is full.
    pub fn read(&mut self, (pool, chain): (&Pool, &Chain), at: (u32, u32), out: &mut [u8]) {
        let mut written = 0;
        self.visit((pool, chain), at, out.len(), |piece| {
            out[written..written + piece.len()].copy_from_slice(piece);
            written += piece.len();
            true
        });
    }

    /// Shows `len` bytes from stream position `position` on, piece by piece, until told to stop.
    /// Otherwise as [`Cursor::read`].
    pub fn visit<'p>(
        &mut self,
        (pool, chain): (&'p Pool, &Chain),
        (base, position): (u32, u32),
        len: usize,
        mut see: impl FnMut(&'p [u8]) -> bool,
    ) {
        let behind = position.wrapping_sub(self.position) > chain.len() as u32;
        let freed = self.position.wrapping_sub(base) > chain.len() as u32;
        let moved_head = self.chunk == chain.head;
        let mut at = if self.chunk == NONE || behind || freed || moved_head {
            Self { chunk: chain.head, position: base }
        } else {
            *self
        };
        let mut seen = 0;
        while seen < len {
            let held = pool.held(at.chunk);
            let skip = position.wrapping_add(seen as u32).wrapping_sub(at.position) as usize;
            if skip >= held.len() {
                at.position = at.position.wrapping_add(held.len() as u32);
                at.chunk = pool.next(at.chunk);
                continue;
            }
            let n = (held.len() - skip).min(len - seen);
            seen += n;
            if !see(&held[skip..skip + n]) {
                break;
            }
        }
        // A read far behind the last one is a retransmission; the next read is of new data again.
        if !behind || self.chunk == NONE || freed {
            *self = at;
        }
    }
}

const NONE: u32 = u32::MAX;
/// The bit of a chain's length that says that its chunks count as the senders'. No chain holds as
/// many bytes.
const SENDING: u32 = 1 << 31;
/// The bit of an index that says that it is no chunk's: no pool has as many.
const LENT_BIT: u32 = 1 << 31;
/// Chunks in a block taken from the system: 256 KiB.
const BLOCK: usize = 64;
/// Segments in flight for each chunk that the pool may have: a sixteenth of its memory, and enough
/// for segments of 256 octets.
const RECORDS_PER_CHUNK: u32 = 16;
/// Chunks for a segment that was accepted, and what it releases.
const RESERVE: u32 = 32;

#[cfg(test)]
impl Chain {
    /// All the bytes; gives every chunk back.
    pub(super) fn into_vec(mut self, pool: &mut Pool) -> Vec<u8> {
        let mut out = Vec::new();
        while !self.is_empty() {
            out.extend(self.front(pool));
            self.consume(pool, self.front(pool).len());
        }
        out
    }
}

#[cfg(test)]
mod tests;
