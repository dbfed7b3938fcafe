//! Acknowledged means durable: a process that is killed at any instant forgets nothing that it acknowledged, keeps no half of
//! a batch, and leaves no lock behind.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use mainstay_store::{Batch, Change, Event, EventQuery, Kind, Store, Subject};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout_at};

/// Tells the test binary, started again by itself, to be the process that is killed.
const CHILD_STORE: &str = "MAINSTAY_TEST_CHILD_STORE";

fn numbered(number: u64) -> Batch {
    let body = Some(format!(r#"{{"number":{number}}}"#));
    let change = |kind, key: String| Change { kind, key, body: body.clone() };
    let event = Event {
        at_ms: number,
        subject: Subject::default(),
        severity: 0,
        code: "seen".to_owned(),
        text: number.to_string(),
        incident: None,
    };
    Batch {
        at_ms: number,
        changes: vec![change(Kind::Order, format!("{number:08}")), change(Kind::Meta, "last".to_owned())],
        events: vec![event],
    }
}

/// Not a test by itself: commits batch after batch and says so, until it is killed.
#[tokio::test]
async fn child_that_commits_until_killed() {
    let Ok(path) = std::env::var(CHILD_STORE) else { return };
    let store = Store::open(Path::new(&path)).await.expect("it opens");
    println!("opened");
    let first = store.load(Kind::ALL).await.unwrap().iter().filter(|row| row.kind == Kind::Order).count();
    for number in first as u64.. {
        store.commit(&numbered(number)).await.unwrap();
        println!("acknowledged {number}");
    }
}

fn start_child(path: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this test binary"))
        .args(["--exact", "child_that_commits_until_killed", "--nocapture"])
        .env(CHILD_STORE, path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test binary starts again")
}

/// Lets a child commit, kills it when it has had the store open for `life`, and tells what it acknowledged.
async fn live_and_die(path: &Path, life: Duration) -> BTreeSet<u64> {
    let mut child = start_child(path);
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut acknowledged = BTreeSet::new();
    let mut death = Instant::now() + Duration::from_secs(60);
    while let Ok(line) = timeout_at(death, lines.next_line()).await {
        let line = line.expect("its output").expect("it does not end by itself");
        if line.ends_with("opened") {
            death = Instant::now() + life;
        }
        acknowledged.extend(number_in(&line));
    }
    child.kill().await.expect("it can be killed");
    while let Ok(Some(line)) = lines.next_line().await {
        acknowledged.extend(number_in(&line));
    }
    acknowledged
}

fn number_in(line: &str) -> Option<u64> {
    line.strip_prefix("acknowledged ")?.parse().ok()
}

#[tokio::test]
async fn a_killed_controller_forgets_nothing_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mainstay.db");
    let mut acknowledged = BTreeSet::new();
    for life in [0, 1, 2, 5, 9, 17, 33, 64, 150, 400].map(Duration::from_millis) {
        acknowledged.extend(live_and_die(&path, life).await);
        let store = Store::open(&path).await.unwrap();
        let rows = store.load(Kind::ALL).await.unwrap();
        let numbers: BTreeSet<u64> =
            rows.iter().filter(|row| row.kind == Kind::Order).map(|row| row.key.parse().unwrap()).collect();
        let forgotten: Vec<_> = acknowledged.difference(&numbers).collect();
        assert!(forgotten.is_empty(), "acknowledged and forgotten after {life:?}: {forgotten:?}");
        let last = rows.iter().find(|row| row.kind == Kind::Meta).map(|row| row.body.clone());
        assert_eq!(last, numbers.last().map(|number| format!(r#"{{"number":{number}}}"#)), "half of a batch");
        let query = EventQuery { limit: 10_000, ..EventQuery::default() };
        let events: BTreeSet<u64> =
            store.events(&query).await.unwrap().iter().map(|stored| stored.event.at_ms).collect();
        assert_eq!(events, numbers.iter().rev().take(10_000).copied().collect(), "half of a batch");
        store.close().await;
    }
    assert!(acknowledged.len() > 20, "only {} batches were tried", acknowledged.len());
}

#[tokio::test]
async fn a_store_whose_making_was_interrupted_is_made() {
    for life in (0..40).step_by(2).map(Duration::from_millis) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mainstay.db");
        let mut child = start_child(&path);
        tokio::time::sleep(life).await;
        child.kill().await.unwrap();
        let store = Store::open(&path).await.unwrap_or_else(|error| panic!("killed after {life:?}: {error:?}"));
        store.commit(&numbered(1_000_000)).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_torn_at_the_end_of_the_log_is_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let (path, copy) = (dir.path().join("mainstay.db"), dir.path().join("copy.db"));
    let store = Store::open(&path).await.unwrap();
    for number in 0..20 {
        store.commit(&numbered(number)).await.unwrap();
    }
    std::fs::copy(&path, &copy).unwrap();
    let mut log = std::fs::read(dir.path().join("mainstay.db-wal")).unwrap();
    log.extend([0xa5; 3000]);
    std::fs::write(dir.path().join("copy.db-wal"), log).unwrap();
    let torn = Store::open(&copy).await.unwrap();
    assert_eq!(torn.load(Kind::ALL).await.unwrap().len(), 21);
}
