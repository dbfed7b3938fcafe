//! The service's own loop goes on whatever the pump and the disk do.

use super::*;
use std::{path::Path, process::Command as Process};
use tokio::time::timeout;

/// Far more than anything here takes, on a machine that has other things to do.
const SOON: Duration = Duration::from_secs(60);

/// A file system of two megabytes. Needs root, as all of Mainstay's tests do.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> SmallDisk {
        let disk = SmallDisk(tempfile::tempdir().expect("a temporary directory"));
        let mount = ["-t", "tmpfs", "-o", "size=2m", "mainstay-daemon-test"];
        let done = Process::new("mount").args(mount).arg(disk.0.path()).status().expect("mount runs");
        assert!(done.success(), "mount failed: run the tests as root");
        disk
    }

    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.path().join("ballast")).expect("it can be written to");
        while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Process::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn configuration(directory: &Path) -> PathBuf {
    let path = directory.join("mainstay.toml");
    let text = format!(
        "[controller]\nstate_directory = \"{0}\"\napi_socket = \"{0}/api.sock\"\n[site.lab]\nshared_storage = true\n\
         [site.lab.libvirt]\nuri = \"qemu+tcp://{{address}}:1/system\"\n[site.lab.host.h1]\naddress = \"127.0.0.1\"\n",
        directory.display()
    );
    std::fs::write(&path, text).expect("it can be written");
    path
}

/// The disk is full, the pump takes nothing in, and there is no room for facts: a reload waits. Whoever stops the controller
/// does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_that_waits_for_the_disk_holds_nothing_up() {
    let (disk, directory) = (SmallDisk::new(), tempfile::tempdir().expect("a temporary directory"));
    let config = configuration(directory.path());
    let options = Options { config, state_dir: Some(disk.0.path().to_owned()), die_at: None };
    let running = start_with_room(options, 1).await.expect("it starts");
    let handle = running.handle.clone();
    disk.fill();
    let mut reloads = Vec::new();
    while handle.health().storage_trouble.is_none() {
        let handle = handle.clone();
        reloads.push(tokio::spawn(async move { drop(handle.reload().await) }));
        sleep(Duration::from_millis(50)).await;
    }
    // The one fact that finds room, and then one reload that does not.
    for _ in 0..4 {
        let handle = handle.clone();
        reloads.push(tokio::spawn(async move { drop(handle.reload().await) }));
    }
    sleep(Duration::from_millis(200)).await;
    timeout(SOON, handle.shutdown()).await.expect("the request is taken");
    timeout(SOON, running.stopped()).await.expect("it stops").expect("and nobody took over");
    for reload in reloads {
        timeout(SOON, reload).await.expect("whoever waited is told").expect("no panic");
    }
}
