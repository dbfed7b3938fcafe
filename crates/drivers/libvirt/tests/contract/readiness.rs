//! What a real libvirtd says about whether its host could start a domain.

use std::process::Command;

use mainstay_libvirt::{
    domain::inventory::XmlFlags,
    ready::{Facilities, FileAnswer, Machine, Requirements},
};

use mainstay_model::ObstacleKind;

use crate::fixture::{LIMIT, TestLab, domain};

#[tokio::test]
async fn a_host_says_what_it_lacks_for_a_domain() {
    let lab = TestLab::up(1, 1).await;
    let connection = lab.open("h1").await;
    let web = domain(&connection, "web-1").await;
    let xml = connection.domain_xml(&web, XmlFlags::INACTIVE | XmlFlags::SECURE, LIMIT).await.unwrap();
    let needs = Requirements::parse(&xml).unwrap();

    // It runs here, so nothing is missing.
    assert!(needs.files.len() >= 2, "disk and kernel: {needs:?}");
    for file in &needs.files {
        assert_eq!(connection.file_answer(&file.path, LIMIT).await.unwrap(), FileAnswer::There, "{file:?}");
    }
    assert_eq!(connection.lacks_machine(&needs.machine, LIMIT).await.unwrap(), None);
    let facilities = Facilities::read(&connection, &[2048].into(), LIMIT).await.unwrap();
    assert_eq!(facilities.lacks(&needs), []);

    // Each thing that is missing is named.
    let disk = needs.files.iter().find(|file| file.path.ends_with(".qcow2")).unwrap().path.clone();
    let folder = disk.rsplit_once('/').unwrap().0;
    let gone = format!("{folder}/gone.qcow2");
    assert_eq!(connection.file_answer(&gone, LIMIT).await.unwrap(), FileAnswer::Lacks(gone.clone()));
    let nowhere = "/nowhere/at/all.iso".to_owned();
    assert_eq!(connection.file_answer(&nowhere, LIMIT).await.unwrap(), FileAnswer::Lacks(nowhere));
    let overlay = format!("{folder}/overlay.qcow2");
    let mut make = Command::new("qemu-img");
    make.args(["create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b"]).arg(&gone).arg(&overlay).arg("1M");
    assert!(make.status().unwrap().success());
    assert_eq!(connection.file_answer(&overlay, LIMIT).await.unwrap(), FileAnswer::Lacks(gone));

    let machine = Machine { machine: Some("pc-q35-99.9".to_owned()), ..needs.machine.clone() };
    let missing = connection.lacks_machine(&machine, LIMIT).await.unwrap().unwrap();
    assert!(missing.kind == ObstacleKind::Machine && missing.what.contains("pc-q35-99.9"), "{missing:?}");
    let unknown = "<cpu mode='custom' match='exact'><model fallback='forbid'>Opteron_G9000</model></cpu>";
    let missing = connection.lacks_cpu(&needs.machine, unknown, LIMIT).await.unwrap().unwrap();
    assert_eq!(missing.kind, ObstacleKind::Cpu, "{missing:?}");
    let known = "<cpu mode='custom' match='exact'><model fallback='forbid'>qemu64</model></cpu>";
    assert_eq!(connection.lacks_cpu(&needs.machine, known, LIMIT).await.unwrap(), None);

    let elsewhere =
        xml.replace("</devices>", "<interface type='network'><source network='front'/></interface></devices>");
    let elsewhere =
        elsewhere.replace("<os>", "<memoryBacking><hugepages><page size='2048'/></hugepages></memoryBacking><os>");
    let lacks = facilities.lacks(&Requirements::parse(&elsewhere).unwrap());
    let kinds: Vec<ObstacleKind> = lacks.iter().map(|missing| missing.kind).collect();
    assert!(kinds.contains(&ObstacleKind::Network) && kinds.contains(&ObstacleKind::HugePages), "{lacks:?}");
}
