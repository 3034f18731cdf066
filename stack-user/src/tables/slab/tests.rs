use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

#[test]
fn insert_beyond_capacity_is_refused() {
    let mut slab = Slab::new(2);
    let first = slab.insert('a').unwrap();
    assert_eq!(slab.insert('b').unwrap().index, 1);
    assert!(slab.is_full());
    assert_eq!(slab.insert('c'), None);
    assert_eq!(slab.remove(first.index), Some('a'));
    assert_eq!(slab.insert('c'), Some(TcbId { index: 0, generation: 1 }));
}

#[test]
fn removed_id_does_not_find_the_next_tenant() {
    let mut slab = Slab::new(10);
    let old = slab.insert('a').unwrap();
    slab.remove(old.index);
    assert_eq!(
        (slab.get(old.index).copied(), slab.id(old.index), slab.remove(old.index)),
        (None, None, None)
    );
    let new = slab.insert_with(|id| (b'a' + id.generation as u8) as char).unwrap();
    assert_eq!(new.index, old.index);
    assert_eq!((slab.get_by_id(old), slab.get_by_id(new)), (None, Some(&'b')));
    assert!(slab.get_mut_by_id(old).is_none() && !slab.contains(old));
    assert!(slab.discard(new.index) && !slab.discard(new.index) && !slab.contains(new));
    let new = slab.insert('c').unwrap();
    assert_eq!((new.index, new.generation), (old.index, 2));
    *slab.get_mut_by_id(new).unwrap() = 'z';
    assert_eq!(slab.get(new.index), Some(&'z'));
}

#[test]
fn growth_never_moves_a_value() {
    let mut slab = Slab::new(100_000);
    let first = slab.insert([7u8; 100]).unwrap();
    let address = core::ptr::from_ref(slab.get(first.index).unwrap()).addr();
    while slab.insert([0; 100]).is_some() {}
    assert_eq!(slab.len(), 100_000);
    assert_eq!(core::ptr::from_ref(slab.get(first.index).unwrap()).addr(), address);
}

#[test]
fn get_beyond_the_end_is_none() {
    let mut slab = Slab::new(2000);
    slab.insert(1);
    for index in [1, 1023, 1024, u32::MAX] {
        assert_eq!(
            (slab.get(index).copied(), slab.get_mut(index).copied(), slab.remove(index)),
            (None, None, None)
        );
    }
    assert_eq!(Slab::<()>::new(0).insert(()), None);
}

proptest! {
    #[test]
    fn any_sequence_is_that_of_a_map(
        capacity in 0usize..40, ops in prop::collection::vec((0..3, 0u32..40), 0..300),
    ) {
        let mut slab = Slab::new(capacity);
        let mut model: HashMap<u32, (TcbId, usize)> = HashMap::new();
        for (n, (op, index)) in ops.into_iter().enumerate() {
            if op == 0 {
                let id = slab.insert(n);
                prop_assert_eq!(id.is_some(), model.len() < capacity);
                if let Some(id) = id {
                    prop_assert!(model.insert(id.index, (id, n)).is_none());
                }
            } else if op == 1 {
                prop_assert_eq!(slab.discard(index), model.remove(&index).is_some());
            } else {
                prop_assert_eq!(slab.remove(index), model.remove(&index).map(|(_, value)| value));
            }
            prop_assert_eq!(slab.len(), model.len());
            let all: HashMap<_, _> = slab.iter().map(|(id, value)| (id.index, (id, *value))).collect();
            prop_assert_eq!(&all, &model);
            for (id, value) in model.values() {
                prop_assert_eq!(slab.get_by_id(*id), Some(value));
            }
        }
    }
}
