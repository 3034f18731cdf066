use super::*;
use crate::tables::flow::{FlowKind, FlowRef};
use crate::tables::published::Look;

const LAYOUT: Layout = Layout { flows: 100, connections: 10 };
const IDENTITY: Identity = Identity { boot: 7 << 90 | 5, process: 4_000_000, shard: 3, shards: 4 };

fn region() -> Region {
    Region::create(Words::zeroed(LAYOUT.words()), LAYOUT, IDENTITY)
}

#[test]
fn opened_region_has_the_tables_of_its_maker() {
    let made = region();
    let opened = Region::open(made.words.clone()).unwrap();
    assert_eq!(opened.identity(), IDENTITY);
    let mut flows = made.flow_table();
    assert!(flows.capacity() >= 100);
    flows.insert(42, FlowRef::new(FlowKind::Tcb, 9)).unwrap();
    assert!(opened.flow_reader().contains(42) && !opened.flow_reader().contains(43));
    assert_eq!(opened.record_reader().places(), 10);
    assert_eq!(opened.record_reader().get(9), Look::Free);
    made.note_record(3);
    made.note_record(1);
    made.note_written(Instant::from_millis(5));
    assert_eq!((opened.records_used(), opened.written_at()), (4, Instant::from_millis(5)));
}

#[test]
fn head_is_laid_out_as_described() {
    let region = region();
    let flow_words = flow::words_for(100) as u64;
    let head = [
        MAGIC,
        1,
        5,
        7 << 26,
        4_000_000 | 3 << 32 | 4 << 48,
        64,
        flow_words,
        64 + flow_words,
        10,
        0,
        0,
    ];
    for (word, want) in head.into_iter().enumerate() {
        assert_eq!(region.value(word), want, "word {word}");
    }
    assert_eq!(MAGIC.to_le_bytes(), *b"sluice\0\x01");
}

#[test]
fn words_of_something_else_are_refused() {
    let open = |words: &Words| Region::open(words.clone()).err();
    assert_eq!(open(&Words::zeroed(8)), Some(RegionError::Magic));
    assert_eq!(open(&Words::zeroed(LAYOUT.words())), Some(RegionError::Magic));
    let words = region().words;
    assert_eq!(open(&words), None);
    assert_eq!(open(&words.part(0, LAYOUT.words() - 1)), Some(RegionError::Size));
    for word in [5, 6, 7, 8] {
        let words = region().words;
        words.as_ref()[word].store(u64::MAX / 3, Ordering::Relaxed);
        assert_eq!(open(&words), Some(RegionError::Size), "word {word}");
    }
    words.as_ref()[1].store(2, Ordering::Relaxed);
    assert_eq!(open(&words), Some(RegionError::Version(2)));
}

#[test]
#[should_panic(expected = "the words hold the layout")]
fn too_few_words_for_the_layout_panic() {
    Region::create(Words::zeroed(LAYOUT.words() - 1), LAYOUT, IDENTITY);
}
