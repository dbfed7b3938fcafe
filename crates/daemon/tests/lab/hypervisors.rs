//! libvirtd is killed, hangs, and does not answer the first word; people and other tools do things behind our back. Each is
//! told clearly, nothing is fenced, and nothing is started that nobody wants.

use crate::support::{Controller, SOON, TestLab, alarm};
use mainstay_engine::view::ClusterView;
use mainstay_model::{Code, Command, PointState, RecoveryPoint};

/// So that alarms come within the test's patience; whatever appears is looked after.
const QUICK: &str = r#"
[detection]
management_fault_after = "2s"

[[vm]]
match = "*"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_hypervisor_and_other_peoples_doings_are_told_and_lose_nothing() {
    let lab = TestLab::up("badhv", |_| (), 2, 4).await;
    let controller = lab.controller(lab.configure(QUICK)).await;
    controller.wait_all_well().await;

    killed_while_its_guest_dies(&lab, &controller).await;
    let controller = hung_when_the_controller_starts(&lab, controller).await;
    a_domain_is_destroyed_and_undefined(&lab, &controller).await;
    snapshots_of_others(&lab, &controller).await;
    a_domain_is_renamed(&lab, &controller).await;
    a_domain_is_defined_on_two_hosts(&lab, &controller).await;
    a_snapshot_of_ours_is_missed(&lab, &controller).await;
    odd_names_are_names(&lab, &controller).await;

    assert_eq!(lab.fencings(), Vec::<String>::new(), "nothing of this calls for fencing");
    for guest in lab.guest_names() {
        assert!(lab.where_runs(&guest).unwrap().len() <= 1, "{guest} runs twice");
    }
    println!("{}", controller.story().await);
    controller.stop().await;
}

/// libvirtd is gone and comes back; a guest that died meanwhile is found, and started once.
async fn killed_while_its_guest_dies(lab: &TestLab, controller: &Controller) {
    lab.libvirtd_kill("h1").await.unwrap();
    let view = controller.wait_alarm(Code::MANAGEMENT_FAULT, "h1").await;
    let told = alarm(&view, Code::MANAGEMENT_FAULT, "h1").unwrap();
    assert!(told.text.contains("10.77.0.11:16509") && told.text.contains("Connection refused"), "{told:?}");
    assert!(told.advice.contains("libvirtd on h1"), "{told:?}");
    assert!(view.hosts.iter().any(|host| host.host.as_str() == "h1" && host.health == "unmanaged"), "{view:?}");
    let before = lab.wait_guest_answers("web-1", SOON).await.unwrap();
    let starts = lab.starts("web-1");
    lab.guest_kill("web-1").await.unwrap();
    lab.libvirtd_start("h1").await.unwrap();
    lab.wait_guest_rebooted("web-1", &before.boot_id, SOON).await.unwrap();
    controller.wait_all_well().await;
    controller.wait_no_alarm(Code::MANAGEMENT_FAULT, "h1").await;
    assert_eq!(lab.starts("web-1"), starts + 1, "{}", controller.story().await);
    assert_eq!(lab.where_runs("web-1").unwrap(), ["h1"], "its host is back: {}", controller.story().await);
}

/// libvirtd takes the connection and never answers the first call: the controller starts, and watches the other host.
async fn hung_when_the_controller_starts(lab: &TestLab, controller: Controller) -> Controller {
    let starts = lab.all_starts();
    controller.stop().await;
    lab.libvirtd_stop("h1").await.unwrap();
    let controller = lab.controller(lab.layout().dir.join("mainstay.toml")).await;
    let view = controller.wait_alarm(Code::MANAGEMENT_FAULT, "h1").await;
    let told = alarm(&view, Code::MANAGEMENT_FAULT, "h1").unwrap();
    assert!(told.text.contains("does libvirtd hang"), "{told:?}");
    controller.wait("h2 is watched", |view| view.hosts.iter().any(|host| host.health == "online")).await;
    lab.libvirtd_cont("h1").await.unwrap();
    controller.wait_all_well().await;
    controller.wait_no_alarm(Code::MANAGEMENT_FAULT, "h1").await;
    assert_eq!(lab.all_starts(), starts, "a restart and a hang start nobody: {}", controller.story().await);
    controller
}

async fn a_domain_is_destroyed_and_undefined(lab: &TestLab, controller: &Controller) {
    let starts = lab.starts("web-2");
    lab.virsh("h1", &["destroy", "web-2"]).await.unwrap();
    lab.virsh("h1", &["undefine", "web-2", "--snapshots-metadata"]).await.unwrap();
    controller.wait_event("web-2: removed by a person").await;
    controller.settled().await;
    assert_eq!(lab.starts("web-2"), starts, "what a person removed stays removed: {}", controller.story().await);
    // It comes back elsewhere.
    lab.define_and_start("web-2", "h2").await.unwrap();
    controller
        .wait("it is watched where it is now", |view| {
            view.workloads.iter().any(|one| {
                one.workload.as_str() == "web-2"
                    && one.health == "running"
                    && one.host.as_ref().is_some_and(|host| host.as_str() == "h2")
            })
        })
        .await;
}

async fn a_domain_is_renamed(lab: &TestLab, controller: &Controller) {
    lab.virsh("h2", &["destroy", "db-2"]).await.unwrap();
    controller.wait_alarm(Code::STOPPED_BY_PERSON, "db-2").await;
    let starts = lab.starts("db-2");
    lab.virsh("h2", &["domrename", "db-2", "db-9"]).await.unwrap();
    lab.virsh("h2", &["start", "db-9"]).await.unwrap();
    controller
        .wait("the new name is watched", |view| {
            view.workloads.iter().any(|one| one.workload.as_str() == "db-9" && one.health == "running")
        })
        .await;
    controller.settled().await;
    assert_eq!(lab.starts("db-2"), starts, "the old name is not started: {}", controller.story().await);
    assert!(lab.virsh("h2", &["domstate", "db-9"]).await.unwrap().contains("running"));
    lab.virsh("h2", &["destroy", "db-9"]).await.unwrap();
    controller.wait_alarm(Code::STOPPED_BY_PERSON, "db-9").await;
}

/// First the same VM defined a second time, then another VM of the same name: neither is taken for the one that runs.
async fn a_domain_is_defined_on_two_hosts(lab: &TestLab, controller: &Controller) {
    let file = lab.layout().dir.join("second.xml");
    let xml = lab.guest_xml("web-1").unwrap();
    std::fs::write(&file, &xml).unwrap();
    lab.virsh("h2", &["define", file.to_str().unwrap()]).await.unwrap();
    controller.settled().await;
    assert_eq!(lab.where_runs("web-1").unwrap(), ["h1"]);
    lab.virsh("h2", &["undefine", "web-1"]).await.unwrap();

    let disk = lab.guest_disk("web-1").unwrap();
    let copy = disk.with_file_name("namesake.qcow2");
    std::fs::copy(lab.guest_disk("db-2").unwrap(), &copy).unwrap();
    let namesake = xml
        .replace("77000000-0000-4000-8000-000000000001", "77000000-0000-4000-8000-0000000000ff")
        .replace("52:54:00:77:00:01", "52:54:00:77:00:ff")
        .replace("labip=10.77.0.101", "labip=10.77.0.250")
        .replace(disk.to_str().unwrap(), copy.to_str().unwrap());
    std::fs::write(&file, namesake).unwrap();
    lab.virsh("h2", &["define", file.to_str().unwrap()]).await.unwrap();
    lab.virsh("h2", &["start", "web-1"]).await.unwrap();
    let view = controller.wait_alarm(Code::NAMESAKE, "web-1").await;
    assert!(alarm(&view, Code::RUNS_TWICE, "web-1").is_none(), "{view:?}");
    let ours = view.workloads.iter().find(|one| one.workload.as_str() == "web-1").unwrap();
    assert_eq!((ours.health.as_str(), ours.host.as_ref().unwrap().as_str()), ("running", "h1"));
    // The one is stopped by a person, the other dies: each by its own.
    lab.virsh("h2", &["destroy", "web-1"]).await.unwrap();
    controller.settled().await;
    let view = controller.handle().view().await.unwrap();
    assert!(alarm(&view, Code::STOPPED_BY_PERSON, "web-1").is_none(), "{}", controller.story().await);
    let before = lab.wait_guest_answers("web-1", SOON).await.unwrap();
    let starts = lab.starts("web-1");
    lab.guest_kill("web-1").await.unwrap();
    lab.wait_guest_rebooted("web-1", &before.boot_id, SOON).await.unwrap();
    assert_eq!(lab.starts("web-1"), starts + 1);
    lab.virsh("h2", &["undefine", "web-1"]).await.unwrap();
    controller.wait_no_alarm(Code::NAMESAKE, "web-1").await;
}

/// A snapshot that somebody else takes is left alone, also while one of ours is being taken.
async fn snapshots_of_others(lab: &TestLab, controller: &Controller) {
    let starts = lab.starts("db-1");
    controller.accepted(Command::TakePoint { workload: "db-1".into(), name: Some("ours".into()) }).await;
    // At the same time: libvirt lists no snapshots while one is being taken.
    lab.virsh("h2", &["snapshot-create-as", "db-1", "meanwhile"]).await.unwrap();
    let good =
        |points: &[RecoveryPoint]| points.iter().any(|it| it.id.as_str() == "ours" && it.state == PointState::Good);
    controller.wait_points("db-1", "ours is taken", good).await;
    // A deletion gives no event. It is seen within a minute, or when something else happens there.
    lab.virsh("h2", &["snapshot-delete", "db-1", "ours"]).await.unwrap();
    lab.virsh("h2", &["snapshot-create-as", "db-1", "theirs"]).await.unwrap();
    assert_eq!(lab.starts("db-1"), starts, "the guest ran on: {}", controller.story().await);
}

async fn a_snapshot_of_ours_is_missed(lab: &TestLab, controller: &Controller) {
    lab.virsh("h2", &["snapshot-create-as", "db-1", "later"]).await.unwrap();
    let view = controller.wait_alarm(Code::POINT_LOST, "db-1").await;
    let told = alarm(&view, Code::POINT_LOST, "db-1").unwrap();
    assert!(told.text.contains("ours") && told.text.contains("somebody else"), "{told:?}");
    for theirs in ["meanwhile", "theirs", "later"] {
        assert!(lab.virsh("h2", &["snapshot-list", "--name", "db-1"]).await.unwrap().contains(theirs), "left alone");
        lab.virsh("h2", &["snapshot-delete", "db-1", theirs]).await.unwrap();
    }
}

/// Whatever libvirt permits as a name is a name: seen, explained, started again, told of. A newline it does not permit.
async fn odd_names_are_names(lab: &TestLab, controller: &Controller) {
    let long = "long-".repeat(30);
    let names = ["it's \"odd\" <&> $(id) `id`", "right\u{202e}to left", "c1\u{9b}31m", "tab\there", &long];
    let define = async |name: &str| {
        let escaped = name.replace('&', "&amp;").replace('<', "&lt;").replace('\t', "&#9;").replace('\n', "&#10;");
        let file = lab.layout().dir.join("odd.xml");
        let xml = format!(
            "<domain type='qemu'><name>{escaped}</name><memory unit='MiB'>16</memory>\
             <os><type arch='x86_64' machine='pc'>hvm</type></os>\
             <features><acpi/></features></domain>"
        );
        std::fs::write(&file, xml).unwrap();
        lab.virsh("h2", &["define", file.to_str().unwrap()]).await
    };
    assert!(define("two\nlines").await.is_err(), "libvirt takes no newline in a name");
    for name in names {
        define(name).await.unwrap_or_else(|error| panic!("{name:?}: {error}"));
    }
    let health = |view: &ClusterView, name: &str| {
        view.workloads.iter().find(|one| one.workload.as_str() == name).map(|one| one.health.clone())
    };
    controller.wait("all odd names are seen", |view| names.iter().all(|name| health(view, name).is_some())).await;
    let odd = names[0];
    controller.accepted(Command::StartWorkload { workload: odd.into(), host: None, leave_state: false }).await;
    let view = controller.wait("it runs", |view| health(view, odd).as_deref() == Some("running")).await;
    let one = view.workloads.iter().find(|one| one.workload.as_str() == odd).unwrap();
    let host = one.host.clone().unwrap();
    lab.virsh(host.as_str(), &["destroy", odd]).await.unwrap();
    let view = controller.wait_alarm(Code::STOPPED_BY_PERSON, odd).await;
    let told = alarm(&view, Code::STOPPED_BY_PERSON, odd).unwrap();
    assert!(told.text.starts_with(odd));
    assert!(told.advice.contains(r#"mainstay vm start 'it'\''s "odd" <&> $(id) `id`';"#), "one word: {}", told.advice);
    assert!(controller.handle().explain(odd).await.unwrap().is_some_and(|text| text.contains(odd)));
    for name in names {
        lab.virsh("h2", &["undefine", name]).await.unwrap();
    }
    if host.as_str() != "h2" {
        lab.virsh(host.as_str(), &["undefine", odd]).await.unwrap();
    }
    controller.wait("all are forgotten", |view| names.iter().all(|name| health(view, name).is_none())).await;
}
