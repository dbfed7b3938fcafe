//! A store knows when it is not the newest memory: whatever was done with its files, the next start says so, and says why.

#![allow(clippy::unwrap_used, reason = "in a test, a failure is the report")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use mainstay_store::{Batch, Change, Error, Kind, Store};
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;

fn host(key: &str) -> Batch {
    let change = Change { kind: Kind::Host, key: key.to_owned(), body: Some("{}".to_owned()) };
    Batch { at_ms: 1, changes: vec![change], events: vec![] }
}

/// A state directory below a temporary one, with a store that has one host and was closed in good order.
async fn closed() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state/mainstay.db");
    let store = Store::open(&path).await.unwrap();
    store.commit(&host("h1")).await.unwrap();
    store.close().await;
    (dir, path)
}

/// Why the store says that it is not the newest.
async fn objection(path: &Path) -> Option<String> {
    let store = Store::open(path).await.unwrap();
    let why = store.put_back().map(str::to_owned);
    store.close().await;
    why
}

async fn known_as(path: &Path, words: &str) {
    let why = objection(path).await.unwrap_or_default();
    assert!(why.contains(words), "`{why}` instead of `{words}`");
}

async fn sql(path: &Path, statement: &'static str) {
    let mut connection = SqliteConnection::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

fn copy(arguments: &[&Path]) {
    assert!(Command::new("cp").arg("-a").args(arguments).status().unwrap().success());
}

#[tokio::test]
async fn a_store_that_nobody_touched_has_nothing_to_say() {
    let (dir, path) = closed().await;
    assert_eq!(objection(&path).await, None);
    let store = Store::open(&path).await.unwrap();
    store.commit(&host("h2")).await.unwrap();
    drop(store); // as when the process is killed: nothing is closed
    assert_eq!(objection(&path).await, None);
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    fs::remove_file(dir.path().join("state/mainstay.db.lock")).unwrap();
    assert_eq!(objection(&path).await, None, "a lock file that was tidied away is no reason");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(objection(&path).await, None, "nor is another mode");
}

/// The scenarios: ways in which people and tools put a memory back, copy it, or lose it.
#[tokio::test]
async fn a_memory_that_is_not_the_newest_is_known() {
    // By the book: a backup of Mainstay's own, moved into the place.
    let (dir, path) = closed().await;
    let backup = dir.path().join("backup.db");
    let store = Store::open(&path).await.unwrap();
    store.backup_to(&backup).await.unwrap();
    store.close().await;
    fs::rename(&backup, &path).unwrap();
    known_as(&path, "a backup was put in the database's place").await;

    // An older file over the newer one: the same inode, its old times.
    let (dir, path) = closed().await;
    let old = dir.path().join("old.db");
    copy(&[&path, &old]);
    let store = Store::open(&path).await.unwrap();
    store.commit(&host("h2")).await.unwrap();
    store.close().await;
    copy(&[&old, &path]);
    known_as(&path, "an older copy was put back").await;

    // The same within one term, from a live file and its log.
    let (dir, path) = closed().await;
    let saved = dir.path().join("saved");
    fs::create_dir(&saved).unwrap();
    let store = Store::open(&path).await.unwrap();
    store.commit(&host("h2")).await.unwrap();
    for suffix in ["", "-wal"] {
        fs::copy(dir.path().join(format!("state/mainstay.db{suffix}")), saved.join(format!("mainstay.db{suffix}")))
            .unwrap();
    }
    store.commit(&host("h3")).await.unwrap();
    store.close().await;
    for suffix in ["", "-wal"] {
        fs::copy(saved.join(format!("mainstay.db{suffix}")), dir.path().join(format!("state/mainstay.db{suffix}")))
            .unwrap();
    }
    known_as(&path, "an older copy was put back").await;

    // The whole directory from an archive, lock file and all.
    let (dir, path) = closed().await;
    let (state, archive) = (dir.path().join("state"), dir.path().join("archive"));
    copy(&[&state, &archive]);
    fs::rename(&state, dir.path().join("aside")).unwrap();
    copy(&[&archive, &state]);
    known_as(&path, "the database's file is a copy").await;

    // The same in place, over the files that are there: only the change time tells. Two minutes are allowed for a slow disk.
    let (_dir, path) = closed().await;
    sql(&path, "UPDATE identity SET written_ms = written_ms - 600000").await;
    known_as(&path, "something else wrote the database's file").await;

    let (_dir, path) = closed().await;
    if fs::read_to_string("/etc/machine-id").is_ok_and(|id| !id.trim().is_empty()) {
        sql(&path, "UPDATE identity SET machine = 'that of before'").await;
        known_as(&path, "another machine").await;
    }

    let (_other_dir, other) = closed().await;
    fs::copy(&other, &path).unwrap();
    known_as(&path, "another store").await;

    let (_dir, path) = closed().await;
    fs::remove_file(&path).unwrap();
    known_as(&path, "the database is gone").await;
}

/// The scenario: the controller's machine is a VM itself, and an operator reverts it to last night's snapshot. All on its disk goes
/// back; the witness lies elsewhere.
#[tokio::test]
async fn a_machine_that_was_put_back_is_known_by_its_witness() {
    let (dir, path) = closed().await;
    let witness = dir.path().join("elsewhere");
    fs::write(&witness, "").unwrap();
    let open = async || Store::open_with(&path, Some(&witness)).await.unwrap();
    let store = open().await;
    assert_eq!(store.put_back(), None, "the first time it knows nothing");
    store.commit(&host("h2")).await.unwrap();
    store.close().await;
    let snapshot = dir.path().join("snapshot");
    copy(&[&dir.path().join("state"), &snapshot]);
    let store = open().await;
    assert_eq!(store.put_back(), None, "what the witness missed at the end is no reason");
    store.commit(&host("h3")).await.unwrap();
    store.bear_witness().await.unwrap();
    store.close().await;

    fs::remove_dir_all(dir.path().join("state")).unwrap();
    copy(&[&snapshot, &dir.path().join("state")]);
    let store = open().await;
    assert!(store.put_back().is_some_and(|why| why.contains("machine was put back")), "{:?}", store.put_back());
    store.put_back_is_known().await.unwrap();
    store.close().await;
    let store = open().await;
    assert_eq!(store.put_back(), None, "it is known, and counts from here");

    // Reverted with its memory: the process goes on as if nothing had been, and finds out at its next look.
    let said = fs::read_to_string(&witness).unwrap();
    let (instance, writes) = said.lines().nth(1).unwrap().split_once(' ').unwrap();
    let ahead = writes.trim().parse::<i64>().unwrap() + 100;
    fs::write(&witness, format!("1\n{instance} {ahead:020}\n")).unwrap();
    let error = store.bear_witness().await.unwrap_err();
    assert!(matches!(error, Error::Overtaken { .. }) && error.ends_the_term(), "{error}");
    assert!(matches!(store.commit(&host("h4")).await, Err(Error::Overtaken { .. })), "nothing is accepted any more");
    assert!(matches!(store.deposed().await, Error::Overtaken { .. }));
    drop(store);
    let store = open().await;
    assert!(store.put_back().is_some_and(|why| why.contains("machine was put back")), "{:?}", store.put_back());
}

#[tokio::test]
async fn without_its_witness_no_store_is_opened() {
    let (dir, path) = closed().await;
    let nowhere = dir.path().join("not-mounted");
    let error = Store::open_with(&path, Some(&nowhere)).await.unwrap_err();
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(matches!(error, Error::Witness { .. }) && why.contains("is its storage mounted?"), "{error}: {why}");
    assert!(!nowhere.exists(), "one that is made where nothing is mounted would witness nothing");
    let witness = dir.path().join("elsewhere");
    fs::write(&witness, "something else").unwrap();
    let error = Store::open_with(&path, Some(&witness)).await.unwrap_err();
    assert!(matches!(error, Error::Witness { .. }) && error.to_string().contains("elsewhere"), "{error}");
    assert_eq!(objection(&path).await, None, "it was left as it is");
}

/// A controller that dies before its engine has it on record is told again; after that, not.
#[tokio::test]
async fn what_was_put_back_is_said_until_it_is_known() {
    let (_dir, path) = closed().await;
    fs::remove_file(&path).unwrap();
    known_as(&path, "the database is gone").await;
    let store = Store::open(&path).await.unwrap();
    assert!(store.put_back().is_some_and(|why| why.contains("gone")), "still");
    store.put_back_is_known().await.unwrap();
    store.close().await;
    assert_eq!(objection(&path).await, None);
}

/// The scenario: somebody tidies up the state directory while the controller runs.
#[tokio::test]
async fn nothing_is_accepted_into_a_file_that_is_gone() {
    for replaced in [false, true] {
        let (dir, path) = closed().await;
        let store = Store::open(&path).await.unwrap();
        store.commit(&host("h2")).await.unwrap();
        fs::remove_file(&path).unwrap();
        if replaced {
            fs::write(&path, "").unwrap();
        }
        let error = store.commit(&host("h3")).await.unwrap_err();
        assert!(matches!(error, Error::Gone { .. }) && error.ends_the_term(), "{error:?}");
        let word = if replaced { "replaced" } else { "deleted" };
        assert!(error.to_string().contains(word) && error.to_string().contains("MS1006"), "{error}");
        assert!(matches!(store.confirm_term().await.unwrap_err(), Error::Gone { .. }));
        assert!(matches!(store.deposed().await, Error::Gone { .. }));
        let length = fs::metadata(&path).map(|file| file.len()).unwrap_or_default();
        assert_eq!(length, 0, "nothing is made in its place");

        // What the open file holds is not lost with it.
        let rescued = store.rescue().await.unwrap();
        assert!(rescued.starts_with(dir.path().join("state")), "{rescued:?}");
        store.close().await;
        let again = Store::open(&rescued).await.unwrap();
        let keys: Vec<_> = again.load(&[Kind::Host]).await.unwrap().into_iter().map(|row| row.key).collect();
        assert_eq!(keys, ["h1", "h2"]);
        assert!(again.put_back().is_some());
    }
}

/// Definitions hold passwords: no other user reads them, whatever the folder and the umask allow.
#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    let (dir, path) = closed().await;
    fs::set_permissions(dir.path().join("state"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap(); // as an older version made it
    let store = Store::open(&path).await.unwrap();
    store.commit(&host("h2")).await.unwrap();
    store.backup_to(&dir.path().join("state/backup.db")).await.unwrap();
    let files: Vec<_> = fs::read_dir(dir.path().join("state")).unwrap().map(|entry| entry.unwrap()).collect();
    assert!(files.len() >= 5, "database, -wal, -shm, .lock and backup: {files:?}");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}
