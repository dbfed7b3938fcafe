//! The same with the real thing: Debian's package `fence-agents`, which `script/bootstrap` installs. Absent, it fails: what is
//! not tried does not count as working.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use mainstay_fence::{Agent, Device, Level, Options, PowerState, Problem, ValueType, fence_level};

fn installed(name: &str) -> Agent {
    Agent::find(name).unwrap_or_else(|error| panic!("{error}; run script/bootstrap"))
}

fn dummy(state: &Path) -> Device {
    Device {
        name: "dummy".to_owned(),
        agent: installed("fence_dummy"),
        options: [("type", "file"), ("status_file", &state.to_string_lossy())].into_iter().collect(),
        plugs: BTreeMap::new(),
        timeout: Duration::from_secs(20),
        verify_within: Duration::from_secs(5),
        retries: 0,
        settle: Duration::ZERO,
        delay: Duration::ZERO,
    }
}

#[tokio::test]
async fn fence_dummy_is_switched() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    fs::write(&state, "on").unwrap();
    let device = dummy(&state);
    assert_eq!(device.check().await.unwrap(), []);
    assert_eq!(device.status("h1").await.unwrap(), PowerState::On);
    let report = fence_level(&Level(vec![device.clone()]), "h1").await;
    assert!(report.is_fenced(), "{report:?}");
    assert_eq!(fs::read_to_string(&state).unwrap(), "off");
    device.on("h1").await.unwrap();
    assert_eq!(fs::read_to_string(&state).unwrap(), "on");
}

#[tokio::test]
async fn fence_dummy_that_fails_fences_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut device = dummy(&dir.path().join("state"));
    device.options.set("type", "fail");
    device.options.set("plug", "1");
    device.options.set("power_timeout", "1");
    let report = fence_level(&Level(vec![device]), "h1").await;
    assert!(!report.is_fenced(), "{report:?}");
}

/// Case 25: a fence device that is killed before it acts.
#[tokio::test]
async fn fence_delay_beyond_timeout() {
    let mut device = Device { agent: installed("fence_ipmilan"), ..dummy(Path::new("/nowhere")) };
    let options = [("ip", "10.0.9.11"), ("username", "mainstay"), ("password", "x"), ("lanplus", "1")];
    for (name, value) in [("delay", "30"), ("power_wait", "45")] {
        device.options = options.into_iter().chain([(name, value)]).collect();
        let problems = device.check().await.unwrap();
        let [Problem::TooSlow { name: found, timeout: 20, .. }] = &problems[..] else { panic!("{problems:?}") };
        assert_eq!(found, name);
        device.timeout = Duration::from_secs(60);
        assert_eq!(device.check().await.unwrap(), [], "there is time enough");
        device.timeout = Duration::from_secs(20);
    }
}

#[tokio::test]
async fn fence_virsh_describes_itself() {
    let agent = installed("fence_virsh");
    let metadata = agent.metadata().await.unwrap();
    assert_eq!(metadata.name, "fence_virsh");
    assert_eq!(metadata.parameters["ipport"].value, ValueType::Integer);
    assert_eq!(metadata.parameters["ipport"].default.as_deref(), Some("22"));
    assert_eq!(metadata.plug_parameter(), Some("plug"));
    let mut options =
        Options::default().with("ip", "h1").with("username", "root").with("login_timout", "5").with("ssh", "1");
    options.set("password_file", "/etc/mainstay/virsh");
    let problems = agent.check(&options, Duration::from_secs(20)).await.unwrap();
    let expected = [
        Problem::Unknown { name: "login_timout".to_owned(), nearest: Some("login_timeout".to_owned()) },
        Problem::Missing { name: "plug".to_owned() },
    ];
    assert_eq!(problems, expected);
}

#[tokio::test]
async fn every_installed_agent_describes_itself() {
    let mut described = 0;
    for entry in fs::read_dir("/usr/sbin").unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        // fence_ack_manual asks a person at a terminal; it is no agent. `mainstay host confirm-off` is our way.
        if !name.starts_with("fence_") || name == "fence_ack_manual" {
            continue;
        }
        let agent = installed(&name);
        let metadata = agent
            .metadata()
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}: {:?}", std::error::Error::source(&error)));
        assert!(!metadata.parameters.is_empty(), "{name} takes no options");
        described += 1;
    }
    assert!(described >= 50, "only {described} agents in /usr/sbin: install fence-agents (script/bootstrap)");
}
