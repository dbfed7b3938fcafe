//! What `mainstay ready` prints of real hosts: a lab's libvirtd, the real controller, the real command line.
#![allow(clippy::unwrap_used, reason = "a helper that fails ends the test")]

mod common;

use common::{Ran, mainstay};
use mainstay_lab::ScratchLab;
use std::{
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

/// Far longer than a look at two hosts takes, also on a machine that is overloaded many times.
const WITHIN: Duration = Duration::from_secs(200);

/// No machine has a bus of this number.
const CARD: &str = "<hostdev mode='subsystem' type='pci' managed='yes'><source>\
                    <address domain='0x0000' bus='0xfd' slot='0x00' function='0x1'/></source></hostdev>";

/// The scenario: a VM with a passed-through network card. Its user asks where it could start before its host is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vm_with_a_passed_through_device_is_shown_as_bound_to_its_host() {
    let lab = ScratchLab::up(ScratchLab::spec("printed", 2, 1), |step| println!("{step}")).await;
    let lab = lab.unwrap_or_else(|error| panic!("{error}"));
    let path = |name: &str| lab.layout().dir.join(name).display().to_string();
    fs::write(path("card.xml"), CARD).unwrap();
    lab.virsh("h1", &["attach-device", "web-1", &path("card.xml"), "--config"]).await.unwrap();
    fs::write(path("mainstay.toml"), format!("{}\n[[vm]]\nmatch = \"*\"\n", lab.mainstay_toml())).unwrap();
    let mut up = lab.controller_command(env!("CARGO_BIN_EXE_mainstay"));
    up.args(["up", "--config", &path("mainstay.toml")]).stderr(Stdio::null()).kill_on_drop(true);
    let mut controller = up.spawn().unwrap();
    let socket = lab.api_socket().display().to_string();
    let run = |words: &[&str]| mainstay(words, &[("MAINSTAY_SOCKET", &socket)]);
    let until = async |words: &[&str], wanted: &dyn Fn(&Ran) -> bool| {
        let began = Instant::now();
        loop {
            let ran = run(words);
            if wanted(&ran) {
                return ran;
            }
            assert!(began.elapsed() < WITHIN, "{words:?}: {ran:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };

    // Both hosts see the machine's devices, if it has any: then the other one is known to have no such card.
    let listed = lab.virsh("h2", &["nodedev-list"]).await.unwrap();
    let also = match listed.lines().any(|name| name.trim().starts_with("pci_")) {
        true => "device 0000:fd:00.1 is missing",
        false => "not known whether it has 0000:fd:00.1",
    };
    let row = |on: &str| format!("{on}  bound to h1 by its passthrough device 0000:fd:00.1, {also}");
    let ready = until(&["ready", "web-1"], &|ran| ran.stdout.contains(&row("h2    "))).await;
    assert!(ready.exit == 0 && ready.stdout.contains("  web-1  h1       no other host"), "{ready:?}");
    println!("$ mainstay ready web-1\n{}", ready.stdout);

    // Everything else that a user may ask says the same.
    let bound = "bound to h1 by its passthrough device 0000:fd:00.1";
    for (words, told) in [
        (&["alarm", "list"][..], format!("web-1 could start on no other host now: {bound}")),
        (&["explain", "web-1"], format!("h2: {bound}")),
        (&["vm", "show", "web-1"], format!("no other host: {bound}")),
        (&["what-if", "host-loss", "h1"], format!("h2: {bound}")),
    ] {
        let ran = until(words, &|ran| ran.stdout.contains(&told)).await;
        println!("$ mainstay {}\n{}", words.join(" "), ran.stdout);
    }
    controller.kill().await.unwrap();
}
