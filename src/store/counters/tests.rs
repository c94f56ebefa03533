use crate::error::Error;
use crate::event::Seq;
use crate::store::testing::{event, memory_store};
use crate::store::{Level, Store, Way};

fn balance(store: &Store) -> u64 {
    let books = store.books();
    for way in Way::ALL {
        let account = books.of(way);
        let decided = account.committed() + account.duplicates + account.refused_in_all();
        assert_eq!(account.offered, decided + account.pending, "{way:?}: {account:?}");
    }
    Way::ALL.map(|way| books.of(way).pending).iter().sum()
}

#[test]
fn each_event_is_entered_once_where_it_belongs() {
    let (store, _) = memory_store();
    store.emit_from(Way::Http, vec![event(1), event(2)], Level::Disk, None).unwrap().wait().unwrap();
    store.emit_from(Way::Http, vec![event(2), event(3), event(3)], Level::Os, None).unwrap().wait().unwrap();
    let conflict = store.emit_from(Way::Hook, vec![event(4)], Level::Disk, Some(Seq::new(9)));
    assert!(matches!(conflict, Err(Error::Conflict { .. })));
    store.refused(Way::Http, "malformed_json", 1);
    assert_eq!(balance(&store), 0);
    let books = store.books();
    let http = books.of(Way::Http);
    assert_eq!((http.offered, http.committed(), http.duplicates), (6, 3, 2));
    assert_eq!(http.refused.iter().collect::<Vec<_>>(), [(&"malformed_json", &1)]);
    assert_eq!(books.of(Way::Hook).refused.get("conflict"), Some(&1));
    assert_eq!(books.opened_at.get() + books.committed(), store.tail().prev().get());
}

#[test]
fn a_batch_that_nobody_waits_for_is_entered_all_the_same() {
    let (store, _) = memory_store();
    for n in 0..200 {
        drop(store.emit_from(Way::Hook, vec![event(n)], Level::Disk, None).unwrap());
    }
    store.emit(vec![event(1_000)], Level::Disk, None).unwrap().wait().unwrap();
    assert_eq!(balance(&store), 0);
    assert_eq!(store.books().of(Way::Hook).committed(), 200);
}

#[test]
fn a_closed_store_refuses_in_its_own_word() {
    let (store, _) = memory_store();
    store.close().unwrap();
    assert!(store.emit_from(Way::Http, vec![event(1)], Level::Disk, None).is_err());
    assert_eq!(store.books().of(Way::Http).refused.get("stopping"), Some(&1));
    assert_eq!(balance(&store), 0);
}
