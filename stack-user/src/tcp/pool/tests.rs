//! Queues of bytes in chunks, and places in them.

use super::*;

fn bytes(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 7 + i / 251) as u8).collect()
}

#[test]
fn chain_gives_back_what_was_appended_and_frees_every_chunk() {
    let mut pool = Pool::new(1 << 20);
    let data = bytes(3 * CHUNK + 17);
    let mut chain = Chain::default();
    assert_eq!(chain.append(&mut pool, &data[..100]), 100);
    assert_eq!(chain.append(&mut pool, &data[100..]), data.len() - 100);
    assert_eq!(chain.into_vec(&mut pool), data);
    assert_eq!(pool.used(), 0);
}

#[test]
fn append_to_an_exhausted_pool_is_short() {
    let mut pool = Pool::new(0);
    let mut chain = Chain::default();
    let room = 8 * RESERVE as usize * CHUNK;
    assert_eq!(chain.append(&mut pool, &bytes(room + 5)), room);
    assert_eq!(pool.room_to_send(), 0);
    assert!(!pool.has_room_to_receive());
    chain.clear(&mut pool);
    assert_eq!(pool.used(), 0);
}

#[test]
fn neither_half_takes_from_the_other() {
    let mut pool = Pool::new(2 << 20);
    let (mut sent, mut received) = (Chain::for_sending(), Chain::default());
    sent.append(&mut pool, &bytes(1 << 20));
    assert_eq!((pool.room_to_send(), sent.chunks(&pool)), (0, 256));
    assert!(pool.has_room_to_receive() && pool.has_room_for_early());
    received.append(&mut pool, &bytes((512 << 10) + 1));
    assert_eq!((pool.chunks(), received.chunks(&pool)), ((256, 129), 129));
    assert!(pool.has_room_to_receive() && !pool.has_room_for_early());
    received.append(&mut pool, &bytes((512 << 10) - 1));
    assert!(!pool.has_room_to_receive());
    sent.clear(&mut pool);
    assert_eq!(pool.room_to_send(), 1 << 20);
    assert!(!pool.has_room_to_receive());
    received.clear(&mut pool);
    assert_eq!((pool.used(), pool.sending), (0, 0));
}

#[test]
fn concat_keeps_the_order_of_partly_filled_chunks() {
    let mut pool = Pool::new(1 << 20);
    let data = bytes(2 * CHUNK);
    let (mut a, mut b) = (Chain::default(), Chain::default());
    a.append(&mut pool, &data[..10]);
    b.append(&mut pool, &data[10..5000]);
    a.concat(&mut pool, b);
    a.append(&mut pool, &data[5000..]);
    assert_eq!(a.into_vec(&mut pool), data);
}

#[test]
fn concat_of_octets_fills_chunks_before_it_takes_more() {
    let mut pool = Pool::new(1 << 20);
    let data = bytes(2 * CHUNK);
    let mut chain = Chain::default();
    for octet in data.chunks(1).rev() {
        let mut front = Chain::default();
        front.append(&mut pool, octet);
        front.concat(&mut pool, chain);
        chain = front;
        assert!(pool.used() <= 3 * CHUNK);
    }
    assert_eq!(chain.into_vec(&mut pool), data);
    assert_eq!(pool.used(), 0);
}

// Chunks of different blocks.
#[test]
fn concat_copies_between_blocks() {
    let mut pool = Pool::new(4 << 20);
    let data = bytes(100);
    let (mut a, mut b, mut rest) = (Chain::default(), Chain::default(), Chain::default());
    a.append(&mut pool, &data[..60]);
    rest.append(&mut pool, &bytes(BLOCK * CHUNK));
    b.append(&mut pool, &data[60..]);
    a.concat(&mut pool, b);
    assert_eq!(a.into_vec(&mut pool), data);
    rest.clear(&mut pool);
    assert_eq!(pool.used(), 0);
}

#[test]
fn cursor_reads_forward_backward_and_after_consumption() {
    let mut pool = Pool::new(1 << 20);
    let data = bytes(10 * CHUNK);
    let mut chain = Chain::default();
    chain.append(&mut pool, &data);
    let start = u32::MAX - 5000;
    let (mut cursor, mut base) = (Cursor::default(), start);
    let places = [0, 1448, 9000, 20_000, 1448, 30_000, 31_448, 9000, 12_000];
    for (round, place) in places.into_iter().enumerate() {
        if round == 4 {
            chain.consume(&mut pool, 1400);
            base = base.wrapping_add(1400);
        }
        if round == 7 {
            chain.consume(&mut pool, 7600);
            base = base.wrapping_add(7600);
        }
        let mut out = [0; 1448];
        let position = start.wrapping_add(place as u32);
        cursor.read((&pool, &chain), (base, position), &mut out);
        assert_eq!(out, data[place..place + 1448], "round {round}");
    }
}

// Its chunk is free by then, and may hold what is another's.
#[test]
fn cursor_whose_chunk_was_consumed_begins_anew() {
    let mut pool = Pool::new(1 << 20);
    let data = bytes(6 * CHUNK);
    let (mut chain, mut other) = (Chain::default(), Chain::default());
    chain.append(&mut pool, &data);
    let (mut cursor, mut out) = (Cursor::default(), [0; 1000]);
    cursor.read((&pool, &chain), (0, 5000), &mut out);
    chain.consume(&mut pool, 3 * CHUNK);
    other.append(&mut pool, &[0xee; 3 * CHUNK]);
    cursor.read((&pool, &chain), (3 * CHUNK as u32, 13_000), &mut out);
    assert_eq!(out, data[13_000..14_000]);
}

#[test]
fn lent_bytes_lie_between_copied_ones_and_take_no_chunk() {
    static LENT: [u8; 3 * CHUNK] = [9; 3 * CHUNK];
    let mut pool = Pool::new(1 << 20);
    let mut chain = Chain::for_sending();
    chain.append(&mut pool, &[1; 10]);
    chain.append_lent(&mut pool, &LENT);
    chain.append(&mut pool, &[2; 10]);
    // Too short to be worth a loan.
    chain.append_lent(&mut pool, &LENT[..100]);
    assert_eq!((chain.len(), pool.chunks().0), (120 + 3 * CHUNK, 2));
    let (mut cursor, mut out) = (Cursor::default(), vec![0; 3 * CHUNK + 12]);
    cursor.read((&pool, &chain), (0, 9), &mut out);
    assert_eq!((out[0], out[1], out[3 * CHUNK], out[3 * CHUNK + 1]), (1, 9, 9, 2));
    chain.consume(&mut pool, 10 + CHUNK);
    assert_eq!((chain.front(&pool).len(), pool.chunks().0, chain.chunks(&pool)), (2 * CHUNK, 1, 1));
    cursor.read((&pool, &chain), (10 + CHUNK as u32, 10 + 3 * CHUNK as u32), &mut out[..11]);
    assert_eq!((out[0], out[10]), (2, 9));
    chain.clear(&mut pool);
    assert_eq!((pool.used(), pool.lent.len(), pool.free_lent), (0, 1, LENT_BIT));
}

#[test]
fn visit_ends_where_it_is_told_to() {
    let mut pool = Pool::new(1 << 20);
    let mut chain = Chain::default();
    chain.append(&mut pool, &bytes(3 * CHUNK));
    let (mut cursor, mut seen) = (Cursor::default(), Vec::new());
    cursor.visit((&pool, &chain), (0, 100), 2 * CHUNK, |piece| {
        seen.push(piece.len());
        seen.len() < 2
    });
    assert_eq!(seen, [CHUNK - 100, CHUNK]);
}
