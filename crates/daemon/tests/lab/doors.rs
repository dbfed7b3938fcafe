//! The way to a host is barred on our side: its name does not resolve, the address, password or certificate is wrong. Each is
//! told in words of its own, costs no host its power, and comes right by itself, or by a reload, once it is mended.

use crate::support::{Controller, TestLab, alarm};
use mainstay_model::Code;
use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

/// Hosts with a door each: h1 by certificate, h2 by password. Both are pinged at an address where nobody answers, so that
/// nothing but the hypervisor tells whether they live: whoever takes a barred door for silence would fence them.
fn configuration(lab: &TestLab, pki: &Path, port: u16) -> String {
    let text = lab.mainstay_toml();
    let (head, _) = text.split_once("[site.lab.libvirt]").unwrap();
    let (_, fence) = text.split_once("[fence.power]").unwrap();
    let (fence, _) = fence.split_once("[site.lab.host.h1]").unwrap();
    let password = lab.layout().dir.join("password").display().to_string();
    let socket = lab.libvirt_socket("h2").unwrap().display().to_string();
    format!(
        "{head}[site.lab.libvirt]\nusername = \"ada\"\npassword_file = \"{password}\"\n[fence.power]{fence}\n\
         [site.lab.host.h1]\naddress = \"h1.lab\"\nfence = \"power\"\nuri = \"qemu+tls://h1.lab:{port}/system?pkipath={pki}\"\n\
         [site.lab.host.h2]\naddress = \"240.0.0.1\"\nfence = \"power\"\nuri = \"qemu+unix:///system?socket={socket}\"\n\
         [detection]\nmanagement_fault_after = \"1s\"\n",
        pki = pki.display()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_barred_way_to_a_host_is_told_in_words_of_its_own_and_never_fences() {
    let lab = TestLab::up("doors", |_| (), 2, 0).await;
    let pki = lab.certificates("h1").await.unwrap();
    lab.serve_tls("h1", &pki, "none").await.unwrap();
    lab.sasl("h2", "scram-sha-256", "ada", "right").await.unwrap();
    lab.libvirtd_with("h2", &[("auth_unix_rw", "\"sasl\"")]).await.unwrap();
    let (names, servers, password) =
        (lab.layout().dir.join("names"), lab.layout().dir.join("servers"), lab.layout().dir.join("password"));
    fs::write(&names, "10.77.0.11 h1.lab\n").unwrap();
    // A name server that never answers.
    fs::write(&servers, "nameserver 10.77.0.250\n").unwrap();
    fs::write(&password, "right\n").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let config = lab.layout().dir.join("mainstay.toml");
    fs::write(&config, configuration(&lab, &pki, 16514)).unwrap();
    let controller =
        lab.controller_with(config.clone(), &[(&names, "/etc/hosts"), (&servers, "/etc/resolv.conf")]).await;
    online(&controller).await;

    println!("the name does not resolve");
    fs::write(&names, "").unwrap();
    barred(&lab, &controller, "h1", "h1.lab does not resolve").await;
    fs::write(&names, "10.77.0.11 h1.lab\n").unwrap();
    online(&controller).await;

    println!("the certificate has expired");
    fs::rename(pki.join("clientcert.pem"), pki.join("kept.pem")).unwrap();
    fs::copy(pki.join("expiredcert.pem"), pki.join("clientcert.pem")).unwrap();
    barred(&lab, &controller, "h1", "is it in date").await;
    fs::rename(pki.join("kept.pem"), pki.join("clientcert.pem")).unwrap();
    online(&controller).await;

    println!("the server's certificate is of a CA that is not ours");
    fs::rename(pki.join("cacert.pem"), pki.join("kept.pem")).unwrap();
    fs::copy(pki.join("strangercert.pem"), pki.join("cacert.pem")).unwrap();
    // libvirtd reads the same file at its start, so this time only the connection is cut.
    lab.libvirtd_kill("h1").await.unwrap();
    fs::rename(pki.join("cacert.pem"), pki.join("strange.pem")).unwrap();
    fs::copy(pki.join("kept.pem"), pki.join("cacert.pem")).unwrap();
    lab.libvirtd_start("h1").await.unwrap();
    fs::rename(pki.join("strange.pem"), pki.join("cacert.pem")).unwrap();
    barred_already(&controller, "h1", "TLS handshake failed").await;
    fs::rename(pki.join("kept.pem"), pki.join("cacert.pem")).unwrap();
    online(&controller).await;

    println!("the password is wrong");
    fs::write(&password, "guess\n").unwrap();
    let told = barred(&lab, &controller, "h2", "SCRAM-SHA-256").await;
    assert!(!told.contains("guess") && !told.contains("right"), "{told}");
    fs::write(&password, "right\n").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    online(&controller).await;

    println!("its file is gone");
    fs::remove_file(&password).unwrap();
    barred(&lab, &controller, "h2", "password can't be read").await;
    fs::write(&password, "right\n").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    online(&controller).await;

    println!("the port is wrong, until the next reload");
    fs::write(&config, configuration(&lab, &pki, 1)).unwrap();
    controller.handle().reload().await.unwrap().unwrap();
    barred_already(&controller, "h1", "h1.lab:1: TCP connection failed").await;
    fs::write(&config, configuration(&lab, &pki, 16514)).unwrap();
    controller.handle().reload().await.unwrap().unwrap();
    online(&controller).await;

    assert_eq!(lab.fencings(), Vec::<String>::new(), "{}", controller.story().await);
    println!("{}", controller.story().await);
    controller.stop().await;
}

/// All hosts are in service, and nothing is complained of.
async fn online(controller: &Controller) {
    let well = |view: &mainstay_engine::view::ClusterView| {
        view.alarms.is_empty() && view.hosts.iter().all(|host| host.health == "online")
    };
    controller.wait("all hosts are online", well).await;
}

/// The host's connections end, so that the way has to be taken anew. Returns what is told.
async fn barred(lab: &TestLab, controller: &Controller, host: &str, words: &str) -> String {
    lab.libvirtd_kill(host).await.unwrap();
    lab.libvirtd_start(host).await.unwrap();
    barred_already(controller, host, words).await
}

async fn barred_already(controller: &Controller, host: &str, words: &str) -> String {
    let is_told = |view: &mainstay_engine::view::ClusterView| {
        alarm(view, Code::MANAGEMENT_FAULT, host).is_some_and(|alarm| alarm.text.contains(words))
    };
    let view = controller.wait(words, is_told).await;
    // Longer than it would take until a silent host is fenced.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let now = controller.handle().view().await.unwrap();
    let health = now.hosts.iter().find(|one| one.host.as_str() == host).map(|one| one.health.clone());
    assert_eq!(health.as_deref(), Some("unmanaged"), "{}", controller.story().await);
    alarm(&view, Code::MANAGEMENT_FAULT, host).unwrap().text.clone()
}
