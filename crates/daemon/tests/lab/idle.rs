//! Guests that only idle: an image whose boot sector halts. No operating system is needed to see what becomes of a guest's
//! state.

use crate::support::{Controller, TestLab, until};
use mainstay_engine::view::ClusterView;
use mainstay_model::{Command, PointKind, PointState, RecoveryPoint, Reply};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// `sti; hlt; jmp`: it waits for ever.
pub const IDLE: &[u8] = &[0xfb, 0xf4, 0xeb, 0xfd];
/// Waits three seconds (BIOS call 15h, 86h), then sleeps by ACPI S3; asleep it would idle.
pub const ASLEEP: &[u8] = &[
    0xfb, 0xbe, 3, 0, 0xb9, 0x0f, 0, 0xba, 0x40, 0x42, 0xb4, 0x86, 0xcd, 0x15, 0x4e, 0x75, 0xf3, 0xba, 4, 6, 0xb8, 0,
    0x24, 0xef, 0xf4, 0xeb, 0xfd,
];
/// What a BIOS guest has.
pub const BIOS: &str = "<os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os>";
const BYTES: usize = 4 << 20;

/// The image of a disk, on shared storage.
pub fn image(lab: &TestLab, name: &str, format: &str) -> PathBuf {
    lab.layout().shared().join(format!("{name}.{format}"))
}

/// Makes an image with this boot sector.
pub async fn make_image(lab: &TestLab, name: &str, format: &str, code: &[u8]) {
    let (file, raw) = (image(lab, name, format), image(lab, name, "part"));
    let mut bytes = vec![0; BYTES];
    bytes[..code.len()].copy_from_slice(code);
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    std::fs::write(&raw, bytes).unwrap();
    let mut convert = tokio::process::Command::new("qemu-img");
    convert.args(["convert", "-q", "-O", format]).arg(&raw).arg(file);
    assert!(convert.status().await.unwrap().success());
    std::fs::remove_file(raw).unwrap();
}

/// A domain with one disk of its own and these other devices.
pub fn domain(lab: &TestLab, name: &str, os: &str, devices: &str) -> String {
    let (uuid, file) = (uuid(name), image(lab, name, "qcow2"));
    let own = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{}'/>\
         <target dev='vda' bus='virtio'/></disk>",
        file.display()
    );
    format!(
        "<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>32</memory><vcpu>1</vcpu>{os}\
         <features><acpi/></features><clock offset='utc'/><pm><suspend-to-mem enabled='yes'/></pm><devices>\
         <emulator>/usr/bin/qemu-system-x86_64</emulator>{own}{devices}\
         <controller type='usb' model='none'/><memballoon model='none'/></devices></domain>"
    )
}

/// A domain of `cases`, with its disks on shared storage: an input on which Mainstay failed once.
pub fn case(lab: &TestLab, name: &str, file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases").join(name).join(file);
    let xml = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    xml.replace("@SHARED@", lab.layout().shared().to_str().unwrap())
}

/// Its identity, told by its name.
pub fn uuid(name: &str) -> String {
    let number = name.bytes().fold(7_u64, |number, byte| (number * 31 + u64::from(byte)) % 1_000_000_000_000);
    format!("78000000-0000-4000-8000-{number:012}")
}

/// Defines it on a host and starts it there.
pub async fn define_and_start(lab: &TestLab, host: &str, name: &str, xml: &str) {
    define(lab, host, name, xml).await;
    lab.virsh(host, &["start", name]).await.unwrap();
}

/// Defines it on a host.
pub async fn define(lab: &TestLab, host: &str, name: &str, xml: &str) {
    let file = lab.layout().dir.join(format!("{name}.xml"));
    std::fs::write(&file, xml).unwrap();
    lab.virsh(host, &["define", file.to_str().unwrap()]).await.unwrap();
}

/// State and reason by a host's libvirt; empty if it does not know the domain, or does not answer.
pub async fn state(lab: &TestLab, host: &str, name: &str) -> String {
    lab.virsh(host, &["domstate", "--reason", name]).await.unwrap_or_default().trim().to_owned()
}

/// Its health as the controller sees it.
pub fn health<'a>(view: &'a ClusterView, name: &str) -> &'a str {
    view.workloads.iter().find(|one| one.workload.as_str() == name).map_or("not there", |one| one.health.as_str())
}

/// The host that the controller says it is on.
pub fn host<'a>(view: &'a ClusterView, name: &str) -> Option<&'a str> {
    let one = view.workloads.iter().find(|one| one.workload.as_str() == name)?;
    one.host.as_ref().map(|host| host.as_str())
}

/// Waits until it is seen in this health.
pub async fn wait_health(controller: &Controller, name: &str, wanted: &str) {
    controller.wait(&format!("{name} is {wanted}"), |view| health(view, name) == wanted).await;
}

/// Waits until it is seen running on this host.
pub async fn wait_runs(controller: &Controller, name: &str, on: &str) {
    let runs = |view: &ClusterView| health(view, name) == "running" && host(view, name) == Some(on);
    controller.wait(&format!("{name} runs on {on}"), runs).await;
}

/// The reason why a command is refused.
pub async fn refused(controller: &Controller, command: Command) -> String {
    let look = async || match controller.handle().command(command.clone()).await.unwrap() {
        Reply::Refused { text } if text.contains("try again") => Err(text),
        Reply::Refused { text } => Ok(text),
        other => panic!("{command:?}: expected to be refused, but: {other:?}"),
    };
    until(controller.handle(), crate::support::SOON, &format!("{command:?} is refused"), look).await
}

/// Stops it by force, and waits until it is seen off.
pub async fn stop(controller: &Controller, name: &str) {
    let how = mainstay_model::StopHow::Force;
    controller.accepted(Command::StopWorkload { workload: name.into(), how, within: None }).await;
    wait_health(controller, name, "stopped").await;
}

pub fn start(name: &str, on: Option<&str>, leave_state: bool) -> Command {
    Command::StartWorkload { workload: name.into(), host: on.map(Into::into), leave_state }
}

pub fn shift(name: &str, to: &str, cold: bool) -> Command {
    Command::MoveWorkload { workload: name.into(), to: Some(to.into()), cold }
}

/// Takes a point and waits until it is good.
pub async fn take(controller: &Controller, name: &str, point: &str) -> RecoveryPoint {
    controller.accepted(Command::TakePoint { workload: name.into(), name: Some(point.into()) }).await;
    good_point(controller, name, |it| it.id.as_str() == point).await
}

/// The first point of this VM that is good and as wanted.
pub async fn good_point(controller: &Controller, name: &str, wanted: impl Fn(&RecoveryPoint) -> bool) -> RecoveryPoint {
    let look = async || {
        let points = controller.handle().points(&name.into()).await.unwrap();
        let found = points.iter().find(|point| point.state == PointState::Good && wanted(point)).cloned();
        if let Some(found) = found { Ok(found) } else { Err(controller.story().await) }
    };
    until(controller.handle(), crate::support::SOON, &format!("a good point of {name}"), look).await
}

/// Brings it back to a point, and waits for the order's end: its words.
pub async fn revert(controller: &Controller, name: &str, point: &str) -> String {
    let since = controller.handle().now();
    controller.accepted(Command::Revert { workload: name.into(), point: Some(point.into()) }).await;
    outcome(controller, since, &format!("revert {name} on ")).await
}

/// The words of the outcome of an order that begins so.
pub async fn outcome(controller: &Controller, since: mainstay_model::Time, order: &str) -> String {
    let look = async || {
        let query = mainstay_daemon::EventQuery { since: Some(since), limit: 1000, ..Default::default() };
        let events = controller.handle().events(query).await.unwrap();
        let ended = |event: &&mainstay_model::Event| {
            event.kind == mainstay_model::EventKind::Outcome && event.text.starts_with(order)
        };
        let found = events.iter().find(ended).map(|event| event.text.clone());
        if let Some(found) = found { Ok(found) } else { Err(controller.story().await) }
    };
    until(controller.handle(), crate::support::SOON, order, look).await
}

/// Which kind of point it is.
pub fn is_of_disks(point: &RecoveryPoint) -> bool {
    point.kind == PointKind::Disk
}

/// For what libvirt does behind the controller's back, which makes no news.
pub async fn until_true(what: &str, look: impl AsyncFn() -> bool) {
    let begun = std::time::Instant::now();
    while !look().await {
        assert!(begun.elapsed() < crate::support::SOON, "{what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
