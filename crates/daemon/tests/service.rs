//! The controller as a service, without any host that answers: it starts, reloads, refuses, remembers and stops.

#![allow(clippy::unwrap_used, reason = "in a test, a failure is the report")]

use mainstay_daemon::{EventQuery, Options, Running, StartError, start};
use mainstay_engine::view::ClusterView;
use mainstay_model::{Code, Reply};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::timeout;

/// Far longer than anything here takes, also on a machine that is overloaded many times.
const SOON: Duration = Duration::from_secs(300);

/// Hosts at addresses of this machine, at a port where nothing listens: `h3` is at 127.0.0.3.
fn configure(directory: &Path, hosts: &[&str], more: &str) -> PathBuf {
    let mut text = format!(
        "[controller]\nstate_directory = \"{0}\"\napi_socket = \"{0}/api.sock\"\n[site.lab]\nshared_storage = true\n\
         [site.lab.libvirt]\nuri = \"qemu+tcp://{{address}}:1/system\"\n",
        directory.display()
    );
    for host in hosts {
        let number = host.trim_start_matches('h');
        text += &format!("[site.lab.host.{host}]\naddress = \"127.0.0.{number}\"\n");
    }
    let path = directory.join("mainstay.toml");
    std::fs::write(&path, text + more).unwrap();
    path
}

async fn begin(config: &Path) -> Result<Running, StartError> {
    let running = start(Options { config: config.to_owned(), ..Options::default() }).await?;
    let ready = async {
        while !running.handle.health().ready {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, ready).await.expect("it becomes ready");
    Ok(running)
}

async fn end(running: Running) {
    running.handle.shutdown().await;
    timeout(SOON, running.stopped()).await.expect("it stops in time").expect("it led till the end");
}

async fn hosts(running: &Running) -> Vec<String> {
    running.handle.view().await.unwrap().hosts.iter().map(|host| host.host.to_string()).collect()
}

/// Waits until the controller's view is so.
async fn seen(running: &Running, so: impl Fn(&ClusterView) -> bool) {
    let looked = async {
        while !so(&running.handle.view().await.unwrap()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, looked).await.expect("the view becomes so in time");
}

#[tokio::test]
async fn a_bad_reload_keeps_the_old_configuration_and_a_good_one_needs_no_restart() {
    let directory = tempfile::tempdir().unwrap();
    let config = configure(directory.path(), &["h1", "h2"], "");
    let running = begin(&config).await.unwrap();
    assert_eq!(hosts(&running).await, ["h1", "h2"]);

    configure(directory.path(), &["h1", "h2"], "[detection]\nheartbeat_evry = \"1s\"\n");
    let refused = running.handle.reload().await.unwrap().unwrap_err();
    assert!(refused.problems.iter().any(|line| line.contains(":1") && line.contains("heartbeat_every")), "{refused}");
    assert_eq!(hosts(&running).await, ["h1", "h2"]);
    seen(&running, |view| view.alarms.iter().any(|alarm| alarm.code == Code::RELOAD_REFUSED)).await;

    configure(directory.path(), &["h2", "h3"], "");
    let report = running.handle.reload().await.unwrap().unwrap();
    assert_eq!((report.hosts_added, report.hosts_removed), (vec!["h3".to_owned()], vec!["h1".to_owned()]));
    seen(&running, |view| view.hosts.iter().any(|host| host.host.as_str() == "h3")).await;

    let events = running.handle.events(EventQuery::default()).await.unwrap();
    assert!(events.iter().any(|event| event.text.contains("refused")), "{events:#?}");
    end(running).await;
}

#[tokio::test]
async fn what_happened_is_remembered_and_two_controllers_never_share_a_memory() {
    let directory = tempfile::tempdir().unwrap();
    let config = configure(directory.path(), &["h1"], "");
    let first = begin(&config).await.unwrap();
    let refused = begin(&config).await.unwrap_err();
    assert!(refused.to_string().contains("in use by another controller"), "{refused}");
    let before = first.handle.now();
    end(first).await;

    let second = begin(&config).await.unwrap();
    assert!(second.handle.now() >= before);
    let events = second.handle.events(EventQuery::default()).await.unwrap();
    let texts: Vec<&str> = events.iter().map(|event| event.text.as_str()).collect();
    assert!(texts.first().is_some_and(|text| text.contains("first time")), "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("runs again")), "{texts:?}");
    end(second).await;
}

/// The scenario: the wall clock was an hour behind, and is set right while the controller is down.
#[tokio::test]
async fn a_clock_that_was_set_ahead_between_two_terms_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let config = configure(directory.path(), &["h1"], "");
    let clock_kept = || async {
        let store = mainstay_store::Store::open(&directory.path().join("mainstay.db")).await.unwrap();
        let body = store.body(mainstay_store::Kind::Process, "clock").await.unwrap();
        (store, body)
    };
    let running = begin(&config).await.unwrap();
    end(running).await;
    let (store, body) = clock_kept().await;
    let mut mark: serde_json::Value = serde_json::from_str(&body.expect("the first term kept its clock")).unwrap();
    mark["shown"] = (mark["shown"].as_u64().unwrap() - 3_600_000).into();
    let change = mainstay_store::Change {
        kind: mainstay_store::Kind::Process,
        key: "clock".to_owned(),
        body: Some(mark.to_string()),
    };
    store.commit(&mainstay_store::Batch { at_ms: 0, changes: vec![change], events: vec![] }).await.unwrap();
    store.close().await;

    let told = async || {
        let running = begin(&config).await.unwrap();
        let events = running.handle.events(EventQuery::default()).await.unwrap();
        end(running).await;
        // By an hour, more or less by what passes between two looks at a clock on a loaded machine.
        let about_an_hour = ["the clock was set ahead by 1h", "the clock was set ahead by 59m"];
        events.iter().filter(|event| about_an_hour.iter().any(|text| event.text.contains(text))).count()
    };
    assert_eq!(told().await, 1);
    assert_eq!(told().await, 1, "once");
}

/// The scenario: somebody found a stale-looking lock file, deleted it, and started a second controller.
#[tokio::test]
async fn of_two_controllers_without_a_lock_the_older_ends_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let told = directory.path().join("told");
    let program = format!("echo \"$MAINSTAY_ALARM_CODE $MAINSTAY_ALARM_TEXT\" >>{}", told.display());
    let alarms = format!("[alarms]\nnotify = [\"/bin/sh\", \"-c\", '{program}']\n");
    let config = configure(directory.path(), &["h1"], &alarms);
    let first = begin(&config).await.unwrap();
    std::fs::remove_file(directory.path().join("mainstay.db.lock")).unwrap();
    let second = begin(&config).await.unwrap();

    let handle = first.handle.clone();
    let deposed = timeout(SOON, first.stopped()).await.expect("it ends by itself").unwrap_err();
    assert!(deposed.to_string().contains("took over in term 2"), "{deposed}");
    assert_eq!(handle.view().await.unwrap_err(), mainstay_daemon::NoAnswer::Stopped);
    let told = std::fs::read_to_string(told).unwrap();
    assert!(told.contains("MS1004") && told.contains("another controller"), "people were told: {told}");

    let events = second.handle.events(EventQuery::default()).await.unwrap();
    let terms: Vec<&str> = events.iter().map(|event| &*event.text).filter(|text| text.contains("runs")).collect();
    assert_eq!(terms.len(), 2, "{events:#?}");
    assert!(second.handle.is_healthy());
    end(second).await;
}

#[tokio::test]
async fn a_configuration_that_is_wrong_is_told_line_by_line() {
    let directory = tempfile::tempdir().unwrap();
    let config = configure(directory.path(), &["h1"], "[limits]\nfencings = \"many\"\nstart_per_host = 1\n");
    let Err(StartError::Config(error)) = begin(&config).await else { panic!("it started") };
    let lines = error.lines();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines.iter().all(|line| line.contains("mainstay.toml:")), "{lines:#?}");
}

/// What a controller that does not start says: the file, what is wrong with it, and the way out. The file is left as it is.
#[tokio::test]
async fn a_memory_that_can_not_be_used_is_told_with_the_way_out() {
    let directory = tempfile::tempdir().unwrap();
    let config = configure(directory.path(), &["h1"], "");
    let database = directory.path().join("mainstay.db");
    end(begin(&config).await.unwrap()).await;
    let whole = std::fs::read(&database).unwrap();

    let mut damaged = whole.clone();
    damaged[4096..20_000].fill(0xa5);
    for bad in [damaged, whole[..whole.len() / 2].to_vec()] {
        std::fs::write(&database, &bad).unwrap();
        let error = begin(&config).await.unwrap_err().to_string();
        assert!(error.contains("mainstay.db is damaged") && error.contains("last backup"), "{error}");
        assert_eq!(std::fs::read(&database).unwrap(), bad, "nothing is made worse");
    }
    std::fs::write(&database, "a shopping list\n".repeat(300)).unwrap();
    let error = begin(&config).await.unwrap_err().to_string();
    assert!(error.contains("is not a database of Mainstay"), "{error}");

    std::fs::write(&database, &whole).unwrap();
    let running = begin(&config).await.unwrap();
    let events = running.handle.events(EventQuery::default()).await.unwrap();
    assert!(events.iter().any(|event| event.text.contains("first time")), "the backup remembers: {events:?}");
    end(running).await;
}

/// The scenario: somebody tidies up the state directory. What the controller would accept now, it would have forgotten tomorrow.
#[tokio::test]
async fn a_database_that_is_deleted_under_the_controller_ends_it() {
    let directory = tempfile::tempdir().unwrap();
    let told = directory.path().join("told");
    let program = format!("echo \"$MAINSTAY_ALARM_CODE $MAINSTAY_ALARM_TEXT\" >>{}", told.display());
    let alarms = format!("[alarms]\nnotify = [\"/bin/sh\", \"-c\", '{program}']\n");
    let config = configure(directory.path(), &["h1"], &alarms);
    let running = begin(&config).await.unwrap();
    std::fs::remove_file(directory.path().join("mainstay.db")).unwrap();
    let handle = running.handle.clone();
    let maintenance = mainstay_model::Command::Maintenance { host: "h1".into(), on: true };
    assert!(handle.command(maintenance).await.is_err(), "it accepts nothing");
    let ended = timeout(SOON, running.stopped()).await.expect("it ends by itself").unwrap_err();
    assert!(ended.is_gone() && ended.to_string().contains("was deleted under this controller"), "{ended}");
    let told = std::fs::read_to_string(told).unwrap();
    assert!(told.contains("MS1006"), "people were told: {told}");
    assert!(directory.path().join("mainstay.db.rescued-1").exists(), "what it had is kept");
    assert!(!directory.path().join("mainstay.db").exists(), "nothing is made in its place");
}

/// The scenario: a backup is put back. The controller says so at every start until every host has told what it runs.
#[tokio::test]
async fn a_backup_that_is_put_back_is_an_alarm_until_the_hosts_have_told() {
    let directory = tempfile::tempdir().unwrap();
    let config = configure(directory.path(), &["h1"], "[detection]\nhost_lost_after = \"3s\"\n");
    let (database, backup) = (directory.path().join("mainstay.db"), directory.path().join("backup"));
    end(begin(&config).await.unwrap()).await;
    std::fs::copy(&database, &backup).unwrap();
    end(begin(&config).await.unwrap()).await;
    std::fs::copy(&backup, &database).unwrap();

    end(begin(&config).await.unwrap()).await;
    let running = begin(&config).await.unwrap();
    let asks = |view: &ClusterView| view.alarms.iter().any(|alarm| alarm.code == Code::MEMORY_RESTORED);
    seen(&running, asks).await;
    let view = running.handle.view().await.unwrap();
    let alarm = view.alarms.iter().find(|alarm| alarm.code == Code::MEMORY_RESTORED).unwrap();
    assert!(alarm.text.contains("an older copy was put back") && alarm.text.contains("missing: h1"), "{}", alarm.text);
    let accept = mainstay_model::Command::AcceptMemory { start: false };
    let reply = running.handle.command(accept).await.unwrap();
    assert!(matches!(&reply, Reply::Refused { text } if text.contains("h1")), "{reply:?}");
    let confirmed = async {
        let off = || mainstay_model::Command::ConfirmOff { host: "h1".into() };
        while !matches!(running.handle.command(off()).await.unwrap(), Reply::Accepted { .. }) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(SOON, confirmed).await.expect("h1 is silent for long enough, and a person says that it is off");
    seen(&running, |view| !asks(view)).await;
    end(running).await;
}
