//! When the store cannot be used, the message names the file, the reason and the way out, and nothing is made worse.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use mainstay_store::{Batch, Change, Error, Keep, Kind, Sample, Store};
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;

fn directory() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("mainstay.db");
    (dir, path)
}

fn host(key: &str, size: usize) -> Batch {
    let body = format!("\"{}\"", "x".repeat(size));
    Batch {
        at_ms: 1,
        changes: vec![Change { kind: Kind::Host, key: key.to_owned(), body: Some(body) }],
        events: vec![],
    }
}

async fn sql(path: &Path, statement: &'static str) {
    let url = format!("sqlite:{}?mode=rwc", path.display());
    let mut connection = SqliteConnection::connect(&url).await.expect("SQLite opens it");
    sqlx::raw_sql(statement).execute(&mut connection).await.expect("SQLite does it");
    connection.close().await.expect("SQLite closes it");
}

#[tokio::test]
async fn a_second_controller_is_kept_out_until_the_first_has_gone() {
    let (_dir, path) = directory();
    let first = Store::open(&path).await.unwrap();
    let error = Store::open(&path).await.unwrap_err();
    assert!(matches!(error, Error::Locked { .. }));
    assert!(error.to_string().contains(&format!("(process {})", std::process::id())), "{error}");
    first.close().await;
    Store::open(&path).await.unwrap();
}

/// The scenario: the lock file was deleted (or its file system forgot the lock) while the first controller stood still.
#[tokio::test]
async fn who_opened_last_leads_and_the_other_writes_nothing_more() {
    let (dir, path) = directory();
    let first = Store::open(&path).await.unwrap();
    first.commit(&host("h1", 1)).await.unwrap();
    first.confirm_term().await.unwrap();
    fs::remove_file(dir.path().join("mainstay.db.lock")).unwrap();
    let second = Store::open(&path).await.unwrap();
    second.commit(&host("h2", 1)).await.unwrap();

    let error = first.commit(&host("h3", 1)).await.unwrap_err();
    assert!(matches!(error, Error::Deposed { newest: 2, own: 1, .. }), "{error:?}");
    let (process, text) = (format!("process {}", std::process::id()), error.to_string());
    assert!(text.contains(&process) && text.contains("MS1004"), "{text}");
    let sample = Sample { workload: "web-1".to_owned(), at_ms: 1, ..Sample::default() };
    assert!(matches!(first.append_samples(&[sample]).await.unwrap_err(), Error::Deposed { .. }));
    let keep = Keep { events_since_ms: 9, notable_events: 0, routine_events: 0, samples_since_ms: 9 };
    assert!(matches!(first.prune(&keep).await.unwrap_err(), Error::Deposed { .. }));
    assert!(matches!(first.confirm_term().await.unwrap_err(), Error::Deposed { .. }));
    assert!(matches!(first.deposed().await, Error::Deposed { newest: 2, .. }), "whoever waits for it is told");

    second.commit(&host("h4", 1)).await.unwrap();
    second.confirm_term().await.unwrap();
    let keys: Vec<_> = second.load(&[Kind::Host]).await.unwrap().into_iter().map(|row| row.key).collect();
    assert_eq!(keys, ["h1", "h2", "h4"], "nothing of the first one's after its term");
    first.close().await;
    second.commit(&host("h5", 1)).await.unwrap();
}

/// The scenario: the first one waits in the middle of what it writes; the second one must not take over half of it.
#[tokio::test]
async fn a_term_begins_between_two_batches() {
    let (dir, path) = directory();
    let first = std::sync::Arc::new(Store::open(&path).await.unwrap());
    let writer = std::sync::Arc::clone(&first);
    let writes = tokio::spawn(async move {
        for number in 0.. {
            if let Err(error) = writer.commit(&host(&format!("h{number}"), 1)).await {
                return (number, error);
            }
        }
        unreachable!("it ends when it is deposed")
    });
    while first.load(&[Kind::Host]).await.unwrap().is_empty() {}
    fs::remove_file(dir.path().join("mainstay.db.lock")).unwrap();
    let second = Store::open(&path).await.unwrap();
    let found = second.load(&[Kind::Host]).await.unwrap().len();
    let (acknowledged, error) = writes.await.unwrap();
    assert!(matches!(error, Error::Deposed { .. }), "{error:?}");
    assert_eq!(acknowledged, found, "what the second found is all there will ever be of the first");
}

#[tokio::test]
async fn a_file_of_another_kind_is_left_alone() {
    let (_dir, path) = directory();
    fs::write(&path, "a list of what to buy\n".repeat(100)).unwrap();
    assert!(matches!(Store::open(&path).await.unwrap_err(), Error::NotOurs { .. }));
    assert_eq!(fs::read_to_string(&path).unwrap(), "a list of what to buy\n".repeat(100));

    let (_dir, path) = directory();
    sql(&path, "CREATE TABLE recipes (name TEXT)").await;
    let before = fs::read(&path).unwrap();
    assert!(matches!(Store::open(&path).await.unwrap_err(), Error::NotOurs { .. }));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn an_empty_file_is_a_new_store() {
    let (_dir, path) = directory();
    fs::write(&path, "").unwrap();
    Store::open(&path).await.unwrap().commit(&host("h1", 1)).await.unwrap();
}

/// The scenario: killed after the migrator had made its own table, before the first migration.
#[tokio::test]
async fn a_store_without_its_first_migration_is_made() {
    let (_dir, path) = directory();
    let migrators_own = "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
                         installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, \
                         checksum BLOB NOT NULL, execution_time BIGINT NOT NULL)";
    sql(&path, migrators_own).await;
    Store::open(&path).await.unwrap().commit(&host("h1", 1)).await.unwrap();
}

#[tokio::test]
async fn damage_is_found_at_the_start() {
    let (_dir, path) = directory();
    let store = Store::open(&path).await.unwrap();
    for number in 0..200 {
        store.commit(&host(&format!("h{number}"), 1_000)).await.unwrap();
    }
    store.close().await;
    let whole = fs::read(&path).unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    for page in 20..30 {
        file.write_all_at(&[0xa5; 4096], page * 4096).unwrap();
    }
    let error = Store::open(&path).await.unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains("backup"), "{error}");

    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = Store::open(&path).await.unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
    fs::write(&path, whole).unwrap();
    assert_eq!(Store::open(&path).await.unwrap().load(Kind::ALL).await.unwrap().len(), 200, "put back, all is there");
}

#[tokio::test]
async fn a_newer_store_names_both_versions() {
    let (_dir, path) = directory();
    Store::open(&path).await.unwrap().close().await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (98, 'later', 1, x'00', 0), (99, 'later still', 1, x'00', 0)";
    sql(&path, newer).await;
    let error = Store::open(&path).await.unwrap_err();
    assert!(matches!(error, Error::Newer { found: 99, known: 3, .. }), "{error:?}");
}

#[tokio::test]
async fn a_full_disk_refuses_the_batch_and_nothing_else() {
    let disk = SmallDisk::new();
    let store = Store::open(&disk.path().join("mainstay.db")).await.unwrap();
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![0; 1_400 * 1024]).unwrap();
    let mut committed = 0;
    let error = loop {
        match store.commit(&host(&format!("h{committed}"), 20_000)).await {
            Ok(()) => committed += 1,
            Err(error) => break error,
        }
        assert!(committed < 1_000, "the disk is never full");
    };
    assert!(matches!(error, Error::Full { .. }), "{error:?}");
    assert_eq!(store.load(Kind::ALL).await.unwrap().len(), committed);
    fs::remove_file(ballast).unwrap();
    store.commit(&host("after", 20_000)).await.unwrap();
    store.close().await;
    let again = Store::open(&disk.path().join("mainstay.db")).await.unwrap();
    assert_eq!(again.load(Kind::ALL).await.unwrap().len(), committed + 1);
}

/// The scenario: the machine is rebooted because nothing works any more, and nothing works because its disk is full.
#[tokio::test]
async fn a_start_without_room_says_so() {
    let disk = SmallDisk::new();
    let path = disk.path().join("mainstay.db");
    let store = Store::open(&path).await.unwrap();
    store.commit(&host("h1", 1)).await.unwrap();
    store.close().await;
    let ballast = disk.path().join("ballast");
    let mut file = fs::File::create(&ballast).unwrap();
    while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
    let error = Store::open(&path).await.unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error:?}");
    drop(file);
    fs::remove_file(ballast).unwrap();
    let store = Store::open(&path).await.unwrap();
    assert_eq!(store.load(&[Kind::Host]).await.unwrap().len(), 1, "nothing was lost");
}

/// The scenario: somebody looks into the database with a shell, begins a transaction, and goes for lunch.
#[tokio::test]
async fn a_lock_of_another_program_is_named_and_waited_out() {
    let (_dir, path) = directory();
    let store = Store::open(&path).await.unwrap();
    let mut shell = SqliteConnection::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut shell).await.unwrap();
    let error = store.commit(&host("h1", 1)).await.unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error:?}");
    assert_eq!(store.load(Kind::ALL).await.unwrap(), [], "it can still be read");
    sqlx::raw_sql("ROLLBACK").execute(&mut shell).await.unwrap();
    store.commit(&host("h1", 1)).await.unwrap();
    assert_eq!(store.load(Kind::ALL).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_read_only_disk_is_named() {
    let disk = SmallDisk::new();
    let path = disk.path().join("mainstay.db");
    Store::open(&path).await.unwrap().close().await;
    disk.mount(&["-o", "remount,ro"]);
    let error = Store::open(&path).await.unwrap_err();
    assert!(matches!(error, Error::ReadOnly { .. }), "{error:?}");
    let error = Store::open(&disk.path().join("new/mainstay.db")).await.unwrap_err();
    assert!(matches!(error, Error::ReadOnly { .. }), "{error:?}");
}

/// A file system of two megabytes. Needs root, as all of Mainstay's tests do.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn new() -> Self {
        let disk = Self(tempfile::tempdir().expect("a temporary directory"));
        disk.mount(&["-t", "tmpfs", "-o", "size=2m", "mainstay-store-test"]);
        disk
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn mount(&self, arguments: &[&str]) {
        let done = Command::new("mount").args(arguments).arg(self.path()).status().expect("mount runs");
        assert!(done.success(), "mount {arguments:?} failed: run the tests as root");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: SQLite's threads may still hold files open.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
