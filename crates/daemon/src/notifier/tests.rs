//! Which alarms are told when, and a program that is really run.

use super::*;
use mainstay_model::{Acknowledged, HostId};
use std::{fs, path::Path};
use tempfile::TempDir;

const HOUR: Span = Span::hours(1);

fn alarm(host: &str, severity: Severity, raised_at: Time) -> Alarm {
    Alarm {
        code: Code::HOST_LOST,
        subject: Subject::Host(HostId::from(host)),
        severity,
        text: format!("{host} is lost: \"no channel\" hears it"),
        advice: String::new(),
        raised_at,
        acknowledged: None,
    }
}

fn told(look: &mut Look, now: Time, alarms: &[Alarm]) -> Vec<(State, String)> {
    look.again(now, alarms, HOUR).into_iter().map(|(state, alarm)| (state, alarm.subject.to_string())).collect()
}

#[test]
fn an_alarm_is_told_once_when_raised_when_worse_and_when_cleared() {
    let start = Time(1_000_000);
    let mut look = Look { at: start, standing: BTreeMap::new() };
    let before_the_start = alarm("h1", Severity::Yellow, start - Span::secs(1));
    let mut new = alarm("h2", Severity::Yellow, start + Span::secs(1));
    let mut now = start + Span::secs(2);
    let h2 = |state| [(state, "h2".to_owned())];
    assert_eq!(told(&mut look, now, &[before_the_start.clone(), new.clone()]), h2(State::Raised));
    assert_eq!(told(&mut look, now, &[before_the_start.clone(), new.clone()]), []);
    new.severity = Severity::Red;
    assert_eq!(told(&mut look, now, &[before_the_start.clone(), new.clone()]), h2(State::Raised));
    now = now + Span::secs(5);
    new.raised_at = now;
    assert_eq!(told(&mut look, now, &[before_the_start.clone(), new.clone()]), h2(State::Raised), "cleared meanwhile");
    assert_eq!(told(&mut look, now, &[before_the_start]), h2(State::Cleared));
    assert_eq!(told(&mut look, now, &[]), [(State::Cleared, "h1".to_owned())]);
}

#[test]
fn a_red_alarm_is_told_again_until_somebody_acknowledges_it() {
    let start = Time(1_000_000_000);
    let mut look = Look { at: start, standing: BTreeMap::new() };
    let raised = start - Span::minutes(50);
    let (mut red, yellow) = (alarm("h1", Severity::Red, raised), alarm("h2", Severity::Yellow, raised));
    let reminder = [(State::Reminder, "h1".to_owned())];
    assert_eq!(told(&mut look, start, &[red.clone(), yellow.clone()]), [], "the process before told it");
    assert_eq!(look.next_reminder(HOUR), Some(raised + HOUR));
    assert_eq!(told(&mut look, raised + HOUR, &[red.clone(), yellow.clone()]), reminder);
    assert_eq!(told(&mut look, raised + HOUR, &[red.clone(), yellow.clone()]), []);
    assert_eq!(told(&mut look, raised + HOUR.times(5), &[red.clone(), yellow.clone()]), reminder, "once, though late");
    assert_eq!((look.next_reminder(HOUR), look.next_reminder(Span::ZERO)), (Some(raised + HOUR.times(6)), None));
    red.acknowledged = Some(Acknowledged { at: start, by: "ada".to_owned() });
    assert_eq!(told(&mut look, raised + HOUR.times(9), &[red, yellow]), []);
    assert_eq!(look.next_reminder(HOUR), None);
}

/// Appends a line to `told` in the folder.
const WRITES: &str = r#"read -r json
case $json in *'"code":'*) ;; *) exit 1 ;; esac
echo "$MAINSTAY_ALARM_CODE $MAINSTAY_ALARM_SUBJECT $MAINSTAY_ALARM_SEVERITY $MAINSTAY_ALARM_STATE $MAINSTAY_ALARM_TEXT" >> told
"#;

fn program(folder: &TempDir, script: &str) -> Vec<String> {
    let script = format!("cd '{}' || exit 1\n{script}", folder.path().display());
    ["/bin/sh", "-c", &script].map(str::to_owned).to_vec()
}

async fn file(path: &Path, holds: &str) -> String {
    let found = async {
        loop {
            let text = fs::read_to_string(path).unwrap_or_default();
            if text.contains(holds) {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let limit = tokio::time::timeout(Duration::from_secs(300), found);
    limit.await.unwrap_or_else(|_| panic!("no {holds:?} in {:?}", fs::read_to_string(path)))
}

#[tokio::test]
async fn a_program_that_hangs_is_killed_with_all_it_started_and_the_next_runs() {
    let folder = TempDir::new().unwrap();
    let notice = |host, script| {
        let config = NotifyConfig {
            program: program(&folder, script),
            from: Severity::Red,
            remind_every: HOUR,
            timeout: Span::secs(2),
        };
        Notice { config, state: State::Raised, alarm: alarm(host, Severity::Red, Time(1)) }
    };
    let hung = notice("h1", "sleep 60 & echo $! > pid; wait");
    let error = hung.run(Duration::ZERO).await.unwrap_err();
    assert_eq!(error, "/bin/sh did not end within 2s and was killed");
    let child = fs::read_to_string(folder.path().join("pid")).unwrap();
    let lives = || fs::read_to_string(format!("/proc/{}/stat", child.trim())).is_ok_and(|stat| !stat.contains(") Z "));
    let gone = async {
        while lives() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(300), gone).await.expect("what it started is killed as well");

    let failed = notice("h1", "echo 'no mail today' >&2; exit 75").run(Duration::ZERO).await.unwrap_err();
    assert_eq!(failed, "/bin/sh: exit status: 75: no mail today");

    let (queue, notices) = mpsc::channel(2);
    queue.try_send(hung).map_err(drop).unwrap();
    queue.try_send(notice("h2", WRITES)).map_err(drop).unwrap();
    drop(queue);
    tell(notices).await;
    let told = fs::read_to_string(folder.path().join("told")).unwrap();
    assert_eq!(told, "MS1101 h2 red raised h2 is lost: \"no channel\" hears it\n");
}

/// Want of files is a time in which people must hear of alarms.
#[tokio::test]
async fn an_alarm_that_cannot_be_told_for_want_of_files_is_told_later() {
    let folder = TempDir::new().unwrap();
    let config = NotifyConfig {
        program: program(&folder, WRITES),
        from: Severity::Red,
        remind_every: HOUR,
        timeout: Span::minutes(5),
    };
    let notice = Notice { config, state: State::Raised, alarm: alarm("h1", Severity::Red, Time(1)) };
    let test = "notifier::tests::an_alarm_that_cannot_be_told_for_want_of_files_is_told_later";
    if let Some(told) = shortage::tests::starved(test, notice.run(Duration::from_secs(300))).await {
        told.unwrap();
        assert!(fs::read_to_string(folder.path().join("told")).unwrap().starts_with("MS1101 h1 red"));
    }
}

#[tokio::test]
async fn a_controller_tells_what_stands_when_a_program_is_named_and_what_a_reload_clears() {
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("mainstay.toml");
    let notify = program(&folder, WRITES);
    let write = |notify: &[String], mute: &str| {
        let notify = serde_json::to_string(notify).unwrap();
        let text = format!(
            "[site.a]\nlibvirt.uri = 'qemu+unix:///system?socket={folder}/nobody'\nhost.h1 = {{ address = '' }}\n\
             [controller]\nstate_directory = '{folder}'\n\
             [alarms]\nnotify = {notify}\nnotify_from = 'yellow'\nmute = [{mute}]\n",
            folder = folder.path().display()
        );
        fs::write(&config, text).unwrap();
    };
    write(&[], "");
    let running = crate::start(crate::Options { config: config.clone(), ..Default::default() }).await.unwrap();
    while running.handle.view().await.unwrap().alarms.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    write(&notify, "");
    running.handle.reload().await.unwrap().unwrap();
    let path = folder.path().join("told");
    file(&path, "MS1102 h1 yellow raised ").await;
    write(&notify, "'MS1102'");
    running.handle.reload().await.unwrap().unwrap();
    file(&path, "MS1102 h1 yellow cleared ").await;
    write(&notify, "'MS0000'");
    running.handle.reload().await.unwrap().unwrap_err();
    let told = file(&path, "MS1401 cluster yellow raised a changed configuration was refused").await;
    assert!(told.contains("mainstay.toml:9:9: `alarms.mute` is \"MS0000\""), "{told}");
    running.handle.shutdown().await;
    running.stopped().await.unwrap();
}
