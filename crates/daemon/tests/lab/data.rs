//! State that lies on one host only, or that no snapshot may touch: it is carried, or binds its guest, or is left alone, and
//! nothing of it is deleted. Real firmware, TPM emulators and saved memory.

use crate::{
    idle::{
        self, ASLEEP, BIOS, IDLE, case, define_and_start, good_point, refused, start, state, stop, wait_health,
        wait_runs,
    },
    support::{TestLab, alarm},
};
use mainstay_model::{Code, Command};
use std::path::PathBuf;

const NO_POINTS: &str = "[[vm]]\nmatch = \"*\"\n";
/// Of the guest of `cases/vtpm-state-deleted`.
const TPM_UUID: &str = "78000000-0000-4000-8000-000000000002";

fn protected(kind: &str) -> String {
    format!("{NO_POINTS}[[protection]]\nmatch = \"*\"\nevery = \"1m\"\nkind = \"{kind}\"\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vtpm_state_deleted() {
    let lab = TestLab::up("vtpm", |_| (), 3, 0).await;
    let folder = |host: &str| lab.host_file(host, format!("var/lib/libvirt/swtpm/{TPM_UUID}/tpm2"));
    idle::make_image(&lab, "tpm-1", "qcow2", IDLE).await;
    define_and_start(&lab, "h1", "tpm-1", &case(&lab, "vtpm-state-deleted", "domain.xml")).await;
    // libvirt deletes the folder with the state, and makes another one with a new state.
    std::fs::write(folder("h1").join("mark"), "").unwrap();
    let kept = || folder("h1").join("tpm2-00.permall").exists() && folder("h1").join("mark").exists();
    assert!(kept());
    let controller = lab.controller(lab.configure(NO_POINTS)).await;
    wait_runs(&controller, "tpm-1", "h1").await;

    // Stopped, it goes back to where its TPM is, and nowhere else.
    stop(&controller, "tpm-1").await;
    let why = refused(&controller, start("tpm-1", Some("h2"), false)).await;
    assert!(why.contains("the state of its TPM is on h1 only") && why.contains("--leave-state"), "{why}");
    controller.accepted(start("tpm-1", None, false)).await;
    wait_runs(&controller, "tpm-1", "h1").await;
    let why = refused(&controller, idle::shift("tpm-1", "h2", true)).await;
    assert!(why.contains("moves along only live"), "{why}");
    assert!(kept() && !folder("h2").exists() && !folder("h3").exists());

    // Its host dies: an alarm calls a person, and it waits for that host.
    lab.power_cut("h1").await.unwrap();
    let view = controller.wait_alarm(Code::NO_HOST_FITS, "tpm-1").await;
    println!("{:?}", alarm(&view, Code::NO_HOST_FITS, "tpm-1"));
    wait_runs(&controller, "tpm-1", "h1").await;
    assert!(kept() && !folder("h2").exists() && !folder("h3").exists(), "{}", controller.story().await);

    // A person says that it may be left behind: then it stays where it is, also when the definition there goes.
    stop(&controller, "tpm-1").await;
    controller.accepted(start("tpm-1", Some("h2"), true)).await;
    wait_runs(&controller, "tpm-1", "h2").await;
    controller.wait_event("starts on h2 without the state of its TPM, which is on h1 only").await;
    let gone = async || !lab.virsh("h1", &["list", "--all", "--name"]).await.unwrap().contains("tpm-1");
    idle::until_true("the leftover definition on h1 goes", gone).await;
    assert!(kept(), "{}", controller.story().await);

    // Live, it takes its TPM along.
    controller.accepted(idle::shift("tpm-1", "h3", false)).await;
    wait_runs(&controller, "tpm-1", "h3").await;
    assert!(folder("h3").join("tpm2-00.permall").exists());
    assert!(kept(), "{}", controller.story().await);
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn managed_save_deleted() {
    let lab = TestLab::up("saved", |_| (), 2, 0).await;
    let saved = case(&lab, "managed-save-deleted", "domain.xml");
    for (name, xml) in [("save-1", saved), ("fill-1", idle::domain(&lab, "fill-1", BIOS, ""))] {
        idle::make_image(&lab, name, "qcow2", IDLE).await;
        define_and_start(&lab, "h1", name, &xml).await;
    }
    let image = lab.host_file("h1", "var/lib/libvirt/qemu/save/save-1.save");
    let controller = lab.controller(lab.configure(&protected("disk"))).await;
    wait_runs(&controller, "save-1", "h1").await;
    good_point(&controller, "save-1", |_| true).await;
    let save = async || {
        lab.virsh("h1", &["managedsave", "save-1"]).await.unwrap();
        wait_health(&controller, "save-1", "stopped").await;
        assert!(image.exists());
    };

    // h2 has more room; what is saved on h1 wakes up on h1.
    save().await;
    controller.accepted(start("save-1", None, false)).await;
    wait_runs(&controller, "save-1", "h1").await;
    assert_eq!(state(&lab, "h1", "save-1").await, "running (restored)", "{}", controller.story().await);

    // With that host in maintenance it waits for it, rather than boot afresh.
    save().await;
    controller.accepted(Command::Maintenance { host: "h1".into(), on: true }).await;
    let why = refused(&controller, start("save-1", Some("h2"), false)).await;
    assert!(why.contains("its saved memory is on h1 only"), "{why}");
    controller.accepted(start("save-1", None, false)).await;
    controller.wait_alarm(Code::NO_HOST_FITS, "save-1").await;
    assert!(image.exists() && !state(&lab, "h2", "save-1").await.contains("running"));

    // A person says that it may be left behind: the image stays, and is never woken over the newer disk.
    controller.accepted(start("save-1", Some("h2"), true)).await;
    wait_runs(&controller, "save-1", "h2").await;
    assert_eq!(state(&lab, "h2", "save-1").await, "running (booted)");
    controller.settled().await;
    assert!(image.exists(), "{}", controller.story().await);
    controller.accepted(Command::Maintenance { host: "h1".into(), on: false }).await;
    stop(&controller, "save-1").await;
    controller.accepted(start("save-1", Some("h1"), false)).await;
    wait_runs(&controller, "save-1", "h1").await;
    assert_eq!(state(&lab, "h1", "save-1").await, "running (booted)", "{}", controller.story().await);
    controller.stop().await;
}

/// The image survives a move back to its host; also a start after a crash must not wake it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn saved_memory_is_never_woken_over_a_newer_disk() {
    let lab = TestLab::up("stale", |_| (), 2, 0).await;
    idle::make_image(&lab, "save-1", "qcow2", IDLE).await;
    define_and_start(&lab, "h1", "save-1", &idle::domain(&lab, "save-1", BIOS, "")).await;
    let image = lab.host_file("h1", "var/lib/libvirt/qemu/save/save-1.save");
    let controller = lab.controller(lab.configure(NO_POINTS)).await;
    wait_runs(&controller, "save-1", "h1").await;
    lab.virsh("h1", &["managedsave", "save-1"]).await.unwrap();
    wait_health(&controller, "save-1", "stopped").await;
    controller.accepted(start("save-1", Some("h2"), true)).await;
    wait_runs(&controller, "save-1", "h2").await;
    controller.accepted(idle::shift("save-1", "h1", false)).await;
    wait_runs(&controller, "save-1", "h1").await;
    assert!(image.exists(), "it lived through the migration");
    let pid = lab.run_in_host("h1", &["pgrep", "-f", "guest=save-1"]).await.unwrap();
    lab.run_in_host("h1", &["kill", "-9", pid.trim()]).await.unwrap();
    controller.wait_event("start save-1 on h1: done").await;
    wait_runs(&controller, "save-1", "h1").await;
    assert_eq!(state(&lab, "h1", "save-1").await, "running (booted)", "{}", controller.story().await);
    controller.stop().await;
}

/// What is saved goes on from its memory; its disk alone is half of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saved_guest_is_neither_reverted_nor_snapshot() {
    let lab = TestLab::up("savedrev", |_| (), 2, 0).await;
    idle::make_image(&lab, "save-1", "qcow2", IDLE).await;
    define_and_start(&lab, "h1", "save-1", &idle::domain(&lab, "save-1", BIOS, "")).await;
    let image = lab.host_file("h1", "var/lib/libvirt/qemu/save/save-1.save");
    let controller = lab.controller(lab.configure(&protected("disk"))).await;
    wait_runs(&controller, "save-1", "h1").await;
    let point = good_point(&controller, "save-1", |_| true).await;
    lab.virsh("h1", &["managedsave", "save-1"]).await.unwrap();
    wait_health(&controller, "save-1", "stopped").await;
    let before = lab.virsh("h1", &["dumpxml", "save-1"]).await.unwrap();
    let told = idle::revert(&controller, "save-1", point.id.as_str()).await;
    assert!(told.contains("its memory is saved") && told.contains("managedsave-remove"), "{told}");
    controller.settled().await;
    assert!(image.exists() && lab.virsh("h1", &["dumpxml", "save-1"]).await.unwrap() == before);
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uefi_no_points() {
    let lab = TestLab::up("uefi", |_| (), 2, 0).await;
    idle::make_image(&lab, "uefi-1", "qcow2", IDLE).await;
    define_and_start(&lab, "h1", "uefi-1", &case(&lab, "uefi-no-points", "domain.xml")).await;
    let variables = |host: &str| -> PathBuf { lab.host_file(host, "var/lib/libvirt/qemu/nvram/uefi-1_VARS.fd") };
    let controller = lab.controller(lab.configure(&protected("auto"))).await;
    wait_runs(&controller, "uefi-1", "h1").await;
    let point = good_point(&controller, "uefi-1", idle::is_of_disks).await;
    let view = controller.handle().view().await.unwrap();
    assert!(alarm(&view, Code::POINT_FAILED, "uefi-1").is_none(), "{}", controller.story().await);
    // What the guest keeps in its firmware stays as it is.
    let mut bytes = std::fs::read(variables("h1")).unwrap();
    let told = idle::revert(&controller, "uefi-1", point.id.as_str()).await;
    assert!(told.ends_with(": done"), "{told}");
    wait_runs(&controller, "uefi-1", "h1").await;

    // Started elsewhere it begins without them, says so, and leaves them where they are.
    stop(&controller, "uefi-1").await;
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(variables("h1"), &bytes).unwrap();
    controller.accepted(start("uefi-1", Some("h2"), false)).await;
    wait_runs(&controller, "uefi-1", "h2").await;
    controller.wait_event("starts on h2 without its UEFI variables, which are on h1 only").await;
    let gone = async || !lab.virsh("h1", &["list", "--all", "--name"]).await.unwrap().contains("uefi-1");
    idle::until_true("the leftover definition on h1 goes", gone).await;
    assert_eq!(std::fs::read(variables("h1")).unwrap(), bytes);
    assert!(variables("h2").exists());
    controller.stop().await;

    // Where they may not be left behind, they bind it.
    let bound = NO_POINTS.to_owned() + "leave_behind = []\n";
    let controller = lab.controller(lab.configure(&bound)).await;
    wait_runs(&controller, "uefi-1", "h2").await;
    stop(&controller, "uefi-1").await;
    let why = refused(&controller, start("uefi-1", Some("h1"), false)).await;
    assert!(why.contains("its UEFI variables are on h2 only"), "{why}");
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disk_excluded_from_snapshots() {
    let lab = TestLab::up("excluded", |_| (), 2, 0).await;
    for name in ["excl-1", "scratch-1", "clu-1"] {
        idle::make_image(&lab, name, "qcow2", IDLE).await;
    }
    idle::make_image(&lab, "cluster", "raw", IDLE).await;
    let of_case = |file| case(&lab, "disk-excluded-from-snapshots", file);
    define_and_start(&lab, "h1", "excl-1", &of_case("domain.xml")).await;
    define_and_start(&lab, "h1", "clu-1", &of_case("shareable.xml")).await;
    for kind in ["disk", "auto"] {
        let controller = lab.controller(lab.configure(&protected(kind))).await;
        for (name, other) in [("excl-1", "scratch-1.qcow2"), ("clu-1", "cluster.raw")] {
            wait_runs(&controller, name, "h1").await;
            let point = idle::take(&controller, name, &format!("p-{kind}")).await;
            assert!(idle::is_of_disks(&point), "{point:?}");
            let told = idle::revert(&controller, name, point.id.as_str()).await;
            assert!(told.ends_with(": done"), "{told}");
            let disks = lab.virsh("h1", &["domblklist", name]).await.unwrap();
            assert!(disks.contains(&format!("/{other}")), "{disks}");
            assert!(disks.contains(&format!("{name}-vda-")), "its own disk stands on the point: {disks}");
        }
        controller.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asleep_guest() {
    let lab = TestLab::up("asleep", |_| (), 2, 0).await;
    idle::make_image(&lab, "asleep-1", "qcow2", ASLEEP).await;
    define_and_start(&lab, "h1", "asleep-1", &case(&lab, "asleep-guest", "domain.xml")).await;
    let controller = lab.controller(lab.configure(NO_POINTS)).await;
    let view = controller.wait_alarm(Code::ASLEEP, "asleep-1").await;
    let told = alarm(&view, Code::ASLEEP, "asleep-1").unwrap();
    assert!(told.advice.contains("mainstay vm start asleep-1"), "{told:?}");
    let explained = controller.handle().explain("asleep-1").await.unwrap().unwrap();
    assert!(explained.contains("went to sleep") && !explained.contains("paused it"), "{explained}");
    assert!(state(&lab, "h1", "asleep-1").await.starts_with("pmsuspended"));
    let since = controller.handle().now();
    controller.accepted(start("asleep-1", None, false)).await;
    let woken = idle::outcome(&controller, since, "resume asleep-1").await;
    assert!(woken.ends_with(": done"), "{woken}");
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkpoints_not_carried() {
    let lab = TestLab::up("carried", |_| (), 3, 0).await;
    idle::make_image(&lab, "chk-1", "qcow2", IDLE).await;
    define_and_start(&lab, "h1", "chk-1", &case(&lab, "checkpoints-not-carried", "domain.xml")).await;
    lab.virsh("h1", &["checkpoint-create-as", "chk-1", "full-1"]).await.unwrap();
    lab.virsh("h1", &["checkpoint-create-as", "chk-1", "incr-2"]).await.unwrap();
    let controller = lab.controller(lab.configure(NO_POINTS)).await;
    wait_runs(&controller, "chk-1", "h1").await;
    let listed = async |host: &str| {
        let names = lab.virsh(host, &["checkpoint-list", "--name", "--topological", "chk-1"]).await.unwrap_or_default();
        names.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let carried = async |host: &str, how: &str| {
        wait_runs(&controller, "chk-1", host).await;
        idle::until_true(how, async || listed(host).await == ["full-1", "incr-2"]).await;
        // The bitmaps are there and sound: the next incremental backup is one.
        let backup = lab.layout().dir.join("backup.xml");
        std::fs::write(&backup, "<domainbackup mode='pull'><incremental>full-1</incremental><server transport='unix' socket='/run/chk.sock'/><disks><disk name='vda' backup='yes' type='file'><scratch file='/run/chk.scratch'/></disk></disks></domainbackup>").unwrap();
        let begun = lab.virsh(host, &["backup-begin", "chk-1", backup.to_str().unwrap()]).await;
        lab.virsh(host, &["domjobabort", "chk-1"]).await.ok();
        begun.map_err(|error| error.to_string())
    };
    carried("h1", "they are there").await.unwrap();
    controller.accepted(idle::shift("chk-1", "h2", false)).await;
    carried("h2", "live, they move along").await.unwrap();
    stop(&controller, "chk-1").await;
    controller.accepted(start("chk-1", Some("h3"), false)).await;
    carried("h3", "cold, they move along").await.unwrap();
    lab.power_cut("h3").await.unwrap();
    let moved = |view: &_| idle::health(view, "chk-1") == "running" && idle::host(view, "chk-1") != Some("h3");
    let view = controller.wait("it runs elsewhere", moved).await;
    let host = idle::host(&view, "chk-1").unwrap().to_owned();
    // QEMU died with its bitmaps in memory: what is on record is not sound, and the backup program has to see that.
    let after = carried(&host, "after a failure, they are on record").await;
    println!("after the failure: {after:?}");
    assert!(after.is_err(), "a broken bitmap passes for a sound one");
    controller.stop().await;
}
