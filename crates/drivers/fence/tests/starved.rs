//! This process truly runs out of files: what could not be asked then says nothing of the device. The only test of its
//! program, since the limit is the whole process's.

use std::{fs::File, path::Path, time::Duration};

use mainstay_fence::{Agent, Device, DeviceResult, Done, Level, NotDone, Options, PowerState, fence_level};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[tokio::test]
async fn a_device_that_could_not_be_asked_for_want_of_files_has_not_failed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/agents/good");
    let directory = tempfile::tempdir().unwrap();
    let device = |name: &str, agent: Agent| Device {
        name: name.to_owned(),
        agent,
        options: Options::default().with("dir", directory.path().to_string_lossy()),
        plugs: [("h1".to_owned(), "p1".to_owned())].into(),
        timeout: Duration::from_secs(60),
        verify_within: Duration::from_secs(60),
        retries: 7,
        settle: Duration::ZERO,
        delay: Duration::ZERO,
    };
    let known = device("known", Agent::find(&path.to_string_lossy()).unwrap());
    // Its metadata are known before, those of the other are not.
    assert_eq!(known.status("h1").await.unwrap(), PowerState::On);
    let fresh = device("fresh", Agent::find(&path.to_string_lossy()).unwrap());

    let limit = getrlimit(Resource::Nofile);
    let mut taken = Vec::new();
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), ..limit }).unwrap();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    for device in [&known, &fresh] {
        let not_done = device.off("h1").await.unwrap_err();
        assert!(matches!(&not_done, NotDone::Unasked(_)) && not_done.is_shortage(), "{not_done:?}");
        assert!(device.status("h1").await.unwrap_err().is_shortage());
    }
    let report = fence_level(&Level(vec![known.clone(), fresh]), "h1").await;
    assert!(report.is_starved() && !report.is_fenced(), "{report}");
    assert!(report.devices.iter().all(|device| device.result == DeviceResult::Unasked), "{report}");
    assert!(report.to_string().contains("Too many open files"), "{report}");

    drop(taken);
    setrlimit(Resource::Nofile, limit).unwrap();
    assert!(matches!(known.off("h1").await.unwrap(), Done::Switched { despite: None }));
    let report = fence_level(&Level(vec![known]), "h1").await;
    assert!(report.is_fenced() && !report.is_starved(), "{report}");
}
