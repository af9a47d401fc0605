//! Tests of the module above.

use super::*;
use crate::state::{Init, Stage};
use std::{
    os::unix::fs::{PermissionsExt, symlink},
    sync::atomic::AtomicBool,
    thread,
};

/// A directory of one test, removed at its end.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let name = format!("urun-test-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&path).unwrap();
        Self(path)
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(&self.0.join("root")).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn id(text: &str) -> ContainerId {
    text.parse().unwrap()
}

fn record(text: &str) -> Record {
    Record::new(id(text), Path::new("/b"), Path::new("/b/rootfs"))
}

#[test]
fn a_root_that_does_not_exist_holds_no_containers() {
    let scratch = Scratch::new();
    let store = scratch.store();
    assert_eq!(store.list().unwrap(), []);
    let error = store.find(&id("c")).unwrap_err();
    assert_eq!(error.to_string(), "container \"c\" does not exist");
    assert!(error.is(Kind::NoContainer));
    assert!(!store.path().exists(), "a question must not make the root");
}

#[test]
fn a_container_is_stored_found_listed_and_removed() {
    let scratch = Scratch::new();
    let mut store = scratch.store();
    let entry = store.create(&id("b")).unwrap();
    store.create(&id("a")).unwrap();
    assert_eq!(store.list().unwrap(), [id("a"), id("b")]);
    assert_eq!(entry.record().unwrap(), None);
    entry.save(&record("b")).unwrap();
    entry.save_config(b"{}").unwrap();
    let found = scratch.store().find(&id("b")).unwrap();
    assert_eq!(found.record().unwrap(), Some(record_like(&found)));
    assert_eq!(found.config().unwrap(), b"{}");
    let mode = std::fs::metadata(found.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
    entry.remove().unwrap();
    assert_eq!(store.list().unwrap(), [id("a")]);
}

fn record_like(entry: &Entry) -> Record {
    let created = entry.record().unwrap().unwrap().created;
    Record { created, ..record(entry.id().as_str()) }
}

#[test]
fn the_second_container_of_a_name_is_refused_or_numbered() {
    let scratch = Scratch::new();
    let mut store = scratch.store();
    store.create(&id("c")).unwrap();
    let error = store.create(&id("c")).unwrap_err();
    assert!(error.to_string().starts_with("container with given ID already exists"), "{error}");
    assert_eq!(store.free(&id("c")), id("c-2"));
    store.create(&id("c-2")).unwrap();
    assert_eq!(store.free(&id("c")), id("c-3"));
    assert_eq!(store.free(&id("d")), id("d"));
}

#[test]
fn of_many_creators_exactly_one_wins() {
    let scratch = Scratch::new();
    let wins = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                if scratch.store().create(&id("c")).is_ok() {
                    wins.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(wins.into_inner(), 1);
}

#[test]
fn readers_never_see_half_a_record() {
    let scratch = Scratch::new();
    let mut store = scratch.store();
    let entry = store.create(&id("c")).unwrap();
    entry.save(&record("c")).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let entry = scratch.store().find(&id("c")).unwrap();
                while !done.load(Ordering::Relaxed) {
                    entry.record().unwrap().unwrap();
                }
            });
        }
        for size in 0..300 {
            let mut record = record("c");
            record.annotations.insert("filler".to_owned(), "x".repeat(size * 97));
            entry.save(&record).unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    let names = std::fs::read_dir(entry.path()).unwrap().count();
    assert_eq!(names, 1, "no temporary file stays behind");
}

#[test]
fn a_lock_excludes_others_until_it_is_released() {
    let scratch = Scratch::new();
    let mut store = scratch.store();
    let mut holder = store.create(&id("c")).unwrap();
    let mut other = store.find(&id("c")).unwrap();
    assert!(other.is_busy().unwrap());
    let error = other.lock(Duration::from_millis(5)).unwrap_err();
    assert!(error.to_string().contains("is busy"), "{error}");
    thread::scope(|scope| {
        scope.spawn(|| {
            sleep(Duration::from_millis(30));
            holder.unlock();
        });
        other.lock(Duration::from_secs(10)).unwrap();
    });
    assert!(holder.is_busy().unwrap());
    assert!(!other.is_busy().unwrap(), "its own lock does not count");
}

#[test]
fn a_lock_won_on_a_deleted_container_is_no_lock() {
    let scratch = Scratch::new();
    let mut store = scratch.store();
    let entry = store.create(&id("c")).unwrap();
    let mut late = store.find(&id("c")).unwrap();
    entry.remove().unwrap();
    store.create(&id("c")).unwrap();
    assert!(late.lock(Duration::from_secs(1)).unwrap_err().is(Kind::NoContainer));
}

#[test]
fn a_root_of_somebody_else_or_open_to_others_is_refused() {
    let scratch = Scratch::new();
    std::fs::set_permissions(&scratch.0, PermissionsExt::from_mode(0o777)).unwrap();
    let error = Store::open(&scratch.0).unwrap_err();
    assert!(error.to_string().contains("others may write"), "{error}");
    std::fs::set_permissions(&scratch.0, PermissionsExt::from_mode(0o755)).unwrap();
    Store::open(&scratch.0).unwrap();
    if geteuid().is_root() {
        std::os::unix::fs::chown(&scratch.0, Some(1), None).unwrap();
        let error = Store::open(&scratch.0).unwrap_err();
        assert!(error.to_string().contains("belongs to uid 1"), "{error}");
        assert!(error.remedy().is_some());
    }
}

#[test]
fn a_link_in_place_of_a_container_or_its_record_is_refused() {
    let scratch = Scratch::new();
    let mut store = scratch.store();
    let entry = store.create(&id("real")).unwrap();
    symlink(entry.path(), store.path().join("link")).unwrap();
    assert!(!store.find(&id("link")).unwrap_err().is(Kind::NoContainer));
    assert_eq!(store.list().unwrap(), [id("real")]);
    std::fs::write(scratch.0.join("foreign.json"), record("real").encode().unwrap()).unwrap();
    symlink(scratch.0.join("foreign.json"), entry.path().join(STATE)).unwrap();
    assert!(entry.record().is_err());
    // Replacing it replaces the link, not its target.
    entry.save(&Record { stage: Stage::Created, ..record("real") }).unwrap();
    assert_eq!(entry.record().unwrap().unwrap().stage, Stage::Created);
    let foreign = std::fs::read(scratch.0.join("foreign.json")).unwrap();
    assert_eq!(Record::decode(&foreign).unwrap().stage, Stage::Creating);
}

#[test]
fn a_broken_record_is_an_error_with_a_remedy_and_can_be_removed() {
    let scratch = Scratch::new();
    let mut store = scratch.store();
    let entry = store.create(&id("c")).unwrap();
    std::fs::write(entry.path().join(STATE), b"{\"schema\"").unwrap();
    assert_eq!(entry.record().unwrap_err().remedy(), Some("urun delete --force c clears what is left of it"));
    entry.remove().unwrap();
    assert!(store.find(&id("c")).is_err());
}

#[test]
fn an_interrupted_removal_keeps_the_record() {
    let scratch = Scratch::new();
    let mut store = scratch.store();
    let entry = store.create(&id("c")).unwrap();
    let init = Some(Init { pid: 1, number: 1, start_time: 0 });
    entry.save(&Record { init, ..record("c") }).unwrap();
    std::fs::create_dir_all(entry.path().join("unexpected/deep")).unwrap();
    assert!(entry.remove().is_err());
    assert_eq!(store.find(&id("c")).unwrap().record().unwrap().unwrap().init, init);
}
