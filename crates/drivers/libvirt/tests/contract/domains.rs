//! A domain's whole life through this client.

use std::time::{Duration, Instant};

use mainstay_libvirt::{
    Connection, ErrorCode, EventKind, Lifecycle, Options,
    definition::Definition,
    domain::{
        agent::AddressSource,
        inventory::{ListFlags, XmlFlags},
        power::{DefineFlags, DestroyFlags, ShutdownFlags, StartFlags, UndefineFlags},
        state::{DomainState, Off, Paused, Running},
        statistics::StatsGroups,
    },
    lifecycle::{Resumed, Shutdown, Started, Stopped, Suspended},
    xml::escaped,
};

use crate::fixture::{BOOT, InNetwork, LIMIT, TestLab, domain, turn, until};

#[tokio::test]
async fn a_life_from_definition_to_undefinition() {
    let lab = TestLab::up(1, 1).await;
    let connection = lab.open("h1").await;
    let mut events = connection.subscribe(&EventKind::ALL, LIMIT).await.unwrap();
    let web = domain(&connection, "web-1").await;

    let seen = connection.inventory(LIMIT).await.unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].domain, web);
    assert_eq!(seen[0].state, Some(DomainState::Running(Running::Booted)));
    assert!(seen[0].persistent && !seen[0].autostart);
    connection.set_autostart(&web, true, LIMIT).await.unwrap();
    assert!(connection.inventory(LIMIT).await.unwrap()[0].autostart);

    connection.suspend(&web, LIMIT).await.unwrap();
    turn(&mut events, "web-1", Lifecycle::Suspended(Suspended::Paused)).await;
    assert_eq!(connection.domain_state(&web, LIMIT).await.unwrap(), DomainState::Paused(Paused::User));
    connection.resume(&web, LIMIT).await.unwrap();
    turn(&mut events, "web-1", Lifecycle::Resumed(Resumed::Unpaused)).await;
    connection.reset(&web, LIMIT).await.unwrap();

    // Starting what runs is refused by name, not taken for success.
    let twice = connection.start(&web, StartFlags::NONE, LIMIT).await.unwrap_err();
    assert!(twice.is(ErrorCode::OPERATION_INVALID), "{twice}");

    connection.destroy(&web, DestroyFlags::NONE, LIMIT).await.unwrap();
    turn(&mut events, "web-1", Lifecycle::Stopped(Stopped::Destroyed)).await;
    assert_eq!(connection.domain_state(&web, LIMIT).await.unwrap(), DomainState::Off(Off::Destroyed));
    let xml = connection.domain_xml(&web, XmlFlags::INACTIVE | XmlFlags::SECURE, LIMIT).await.unwrap();
    connection.undefine(&web, UndefineFlags::LEAVE_DATA, LIMIT).await.unwrap();
    assert_eq!(connection.find_domain("web-1", LIMIT).await.unwrap(), None);
    assert_eq!(connection.find_domain_by_uuid(web.uuid, LIMIT).await.unwrap(), None);

    let defined = connection.define(&xml, DefineFlags::VALIDATE, LIMIT).await.unwrap();
    assert_eq!(defined.uuid, web.uuid);
    let started = connection.start(&defined, StartFlags::PAUSED, LIMIT).await.unwrap();
    assert!(started.is_active());
    turn(&mut events, "web-1", Lifecycle::Started(Started::Booted)).await;
    assert_eq!(connection.list_domains(ListFlags::ACTIVE, LIMIT).await.unwrap(), std::slice::from_ref(&started));
    connection.resume(&started, LIMIT).await.unwrap();
}

#[tokio::test]
async fn a_shutdown_from_inside_is_told_from_one_by_force() {
    let lab = TestLab::up(1, 1).await;
    let connection = lab.open("h1").await;
    let mut events = connection.subscribe(&[EventKind::Lifecycle], LIMIT).await.unwrap();
    lab.guest_poweroff("web-1").await.unwrap();
    turn(&mut events, "web-1", Lifecycle::Shutdown(Shutdown::Guest)).await;
    turn(&mut events, "web-1", Lifecycle::Stopped(Stopped::Shutdown)).await;

    let web = connection.start(&domain(&connection, "web-1").await, StartFlags::NONE, LIMIT).await.unwrap();
    // The agent's answer shows that the guest is up and listens to its power button.
    until("agent", async || connection.agent_ping(&web, Duration::from_secs(1)).await.ok()).await;
    connection.shut_down(&web, ShutdownFlags::POWER_BUTTON, LIMIT).await.unwrap();
    turn(&mut events, "web-1", Lifecycle::Stopped(Stopped::Shutdown)).await;
}

#[tokio::test]
async fn statistics_agent_and_console() {
    let lab = TestLab::up(1, 1).await;
    let connection = lab.open("h1").await;
    let web = domain(&connection, "web-1").await;

    let stats = connection.statistics(StatsGroups::ALL, LIMIT).await.unwrap();
    let [stats] = stats.as_slice() else { panic!("{stats:?}") };
    assert_eq!(stats.state, Some(DomainState::Running(Running::Booted)));
    assert!(stats.cpu_time_ns > Some(0) && stats.vcpus == Some(1), "{stats:?}");
    assert_eq!(stats.balloon_maximum_kib, Some(96 * 1024));
    assert_eq!(stats.disks[0].target, "vda");
    assert!(stats.disks[0].read_bytes > Some(0) && stats.nics[0].received_bytes.is_some(), "{stats:?}");
    // The guest counts on its disk: writes go on.
    until("more writes", async || {
        let later = connection.statistics(StatsGroups::BLOCK, LIMIT).await.unwrap();
        (later[0].disks[0].write_requests > stats.disks[0].write_requests).then_some(())
    })
    .await;

    until("agent", async || connection.agent_ping(&web, Duration::from_secs(1)).await.ok()).await;
    assert_eq!(connection.freeze(&web, LIMIT).await.unwrap(), 1);
    assert_eq!(connection.thaw(&web, LIMIT).await.unwrap(), 1);
    let info = connection.guest_info(&web, LIMIT).await.unwrap();
    assert_eq!(info.hostname.as_deref(), Some("web-1"));
    assert!(info.kernel.is_some(), "{info:?}");
    let interfaces = connection.addresses(&web, AddressSource::Agent, LIMIT).await.unwrap();
    let address = lab.guest_address("web-1").unwrap().to_string();
    assert!(interfaces.iter().any(|card| card.addresses.contains(&(address.clone(), 24))), "{interfaces:?}");

    // The lab's guests have no screen; this one gets one.
    connection.destroy(&web, DestroyFlags::NONE, LIMIT).await.unwrap();
    let refused = connection.screenshot(&web, LIMIT).await.unwrap_err();
    assert!(refused.is(ErrorCode::OPERATION_INVALID), "{refused}");
    let xml = lab.guest_xml("web-1").unwrap().replace("<panic ", "<video><model type='vga'/></video><panic ");
    let web = connection.define(&xml, DefineFlags::NONE, LIMIT).await.unwrap();
    let web = connection.start(&web, StartFlags::NONE, LIMIT).await.unwrap();
    let shot = connection.screenshot(&web, LIMIT).await.unwrap();
    let magic: &[u8] = if shot.mime == "image/png" { b"\x89PNG" } else { b"P6" };
    assert!(shot.bytes.starts_with(magic) && shot.bytes.len() > 500, "{} {}", shot.mime, shot.bytes.len());
    // The stream has left nothing behind.
    connection.screenshot(&web, LIMIT).await.unwrap();
    assert_eq!(connection.unanswered(), 0);
}

#[tokio::test]
async fn the_host_and_odd_names() {
    let lab = TestLab::up(1, 0).await;
    let connection = lab.open("h1").await;
    assert_eq!(connection.hostname(LIMIT).await.unwrap(), "h1");
    assert!(connection.libvirt_version(LIMIT).await.unwrap().0 >= 9_000_000);
    assert!(connection.hypervisor_version(LIMIT).await.unwrap().0 >= 7_000_000);
    let node = connection.node_info(LIMIT).await.unwrap();
    assert!(node.model == "x86_64" && node.cpus >= 1 && node.memory_kib > 100_000, "{node:?}");
    assert!(connection.free_memory_bytes(LIMIT).await.unwrap() / 1024 <= node.memory_kib);
    let counted = connection.uptime(node.cpus, LIMIT).await.unwrap().expect("QEMU's hosts tell").as_secs_f64();
    let said = std::fs::read_to_string("/proc/uptime").unwrap();
    let true_uptime: f64 = said.split_whitespace().next().unwrap().parse().unwrap();
    assert!((counted - true_uptime).abs() < 10.0 + true_uptime / 20.0, "{counted} s counted, {true_uptime} s true");
    assert!(connection.capabilities(LIMIT).await.unwrap().contains("<domain type='qemu'"));

    for name in ["a'b\"c&d<e>", "\u{202e}evil\u{202c}", "naïve–名前", "tab\tbed"] {
        let xml = format!(
            "<domain type='qemu'><name>{}</name><memory>1024</memory><os><type>hvm</type></os></domain>",
            escaped(name)
        );
        let made = connection.define(&xml, DefineFlags::NONE, LIMIT).await.unwrap();
        assert_eq!(made.name, name);
        assert_eq!(connection.find_domain(name, LIMIT).await.unwrap().as_ref(), Some(&made));
        let xml = connection.domain_xml(&made, XmlFlags::NONE, LIMIT).await.unwrap();
        assert_eq!(Definition::parse(&xml).unwrap().name, name);
        connection.undefine(&made, UndefineFlags::LEAVE_DATA, LIMIT).await.unwrap();
    }
}

/// Not an assertion of speed (machines differ) but the numbers that docs/libvirt-driver.md quotes.
#[tokio::test]
async fn measured() {
    let lab = TestLab::up(1, 1).await;
    let median = |mut times: Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let (mut opens, mut lists, mut inventories, mut stats, mut pings, mut events_after) =
        (vec![], vec![], vec![], vec![], vec![], vec![]);
    for _ in 0..20 {
        let began = Instant::now();
        let connection = lab.open("h1").await;
        opens.push(began.elapsed());
        let began = Instant::now();
        connection.list_domains(ListFlags::NONE, LIMIT).await.unwrap();
        lists.push(began.elapsed());
        let began = Instant::now();
        connection.inventory(LIMIT).await.unwrap();
        inventories.push(began.elapsed());
        let began = Instant::now();
        connection.statistics(StatsGroups::ALL, LIMIT).await.unwrap();
        stats.push(began.elapsed());
        pings.push(connection.ping(LIMIT).await.unwrap());
    }
    let connection = lab.open("h1").await;
    let mut events = connection.subscribe(&[EventKind::Lifecycle], LIMIT).await.unwrap();
    for _ in 0..5 {
        let began = Instant::now();
        lab.guest_kill("web-1").await.unwrap();
        turn(&mut events, "web-1", Lifecycle::Stopped(Stopped::Failed)).await;
        events_after.push(began.elapsed());
        let web = domain(&connection, "web-1").await;
        connection.start(&web, StartFlags::NONE, BOOT).await.unwrap();
    }
    let host = lab.libvirt_uri("h1").unwrap().parse().unwrap();
    let _network = InNetwork::of(&lab);
    let connection = Connection::open(&host, &Options::default()).await.unwrap();
    let began = Instant::now();
    lab.power_cut("h1").await.unwrap();
    connection.closed().await;
    println!("power cut to closed by TCP, keepalive 1 s x 3: {:?}", began.elapsed());
    println!(
        "medians: open {:?}, list {:?}, inventory {:?}, statistics {:?}, ping {:?}, kill -9 to event {:?}",
        median(opens),
        median(lists),
        median(inventories),
        median(stats),
        median(pings),
        median(events_after)
    );
}
