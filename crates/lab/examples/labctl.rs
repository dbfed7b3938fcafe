//! Try the lab by hand.
use mainstay_lab::*;
#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let a: Vec<&str> = args.iter().map(String::as_str).collect();
    match a[0] {
        "powerd" => power::serve(a[1].as_ref()).await,
        "up" => {
            let t = std::time::Instant::now();
            let me = std::env::current_exe().unwrap().display().to_string();
            let runner = PowerRunner::Process(vec![me, "powerd".into()]);
            let mut spec = LabSpec::new(a[1], a[2].parse().unwrap(), a[3].parse().unwrap());
            for (i, k) in a[4..].iter().enumerate() {
                match *k {
                    "agent" => spec.guests[i].agent = true,
                    "faulty" => spec.guests[i].disk = DiskKind::Faulty,
                    "small" => spec.guests[i].disk = DiskKind::Small,
                    _ => {}
                }
            }
            Lab::up(spec, runner, |s| println!("{:6} ms {s}", t.elapsed().as_millis())).await?;
            Ok(())
        }
        "down" => Lab::remove(a[1]).await,
        "list" => {
            println!("{:?}", Lab::list());
            Ok(())
        }
        _ => {
            let lab = Lab::attach(a[1])?;
            match a[0] {
                "status" => {
                    for h in lab.host_names() {
                        println!("{h} on={}", lab.is_on(&h)?);
                    }
                    for g in lab.guest_names() {
                        println!(
                            "{g} {:?} {:?} {:?}",
                            lab.where_runs(&g)?,
                            lab.qemu_started_at(&g)?,
                            lab.guest_probe(&g).await?
                        );
                    }
                }
                "virsh" => print!("{}", lab.virsh(a[2], &a[3..]).await?),
                "hx" => print!("{}", lab.run_in_host(a[2], &a[3..]).await?),
                "cut" => lab.power_cut(a[2]).await?,
                "on" => lab.power_on(a[2]).await?,
                "hang" => lab.guest_hang(a[2]).await?,
                "panic" => lab.guest_panic(a[2]).await?,
                "poweroff" => lab.guest_poweroff(a[2]).await?,
                "eio" => lab.guest_io_error(a[2]).await?,
                "uneio" => lab.guest_io_heal(a[2]).await?,
                "full" => lab.disk_full(a[2]).await?,
                "free" => lab.disk_free(a[2]).await?,
                "ping" => println!("{}", lab.guest_pings(a[2]).await?),
                "freeze" => lab.freeze(a[2]).await?,
                "thaw" => lab.thaw(a[2]).await?,
                "pcmk" => {
                    peer::pacemaker_up(
                        &lab,
                        peer::PacemakerSettings { token_ms: 3000, monitor_s: a[2].parse().unwrap() },
                    )
                    .await?
                }
                "pcmk-down" => peer::pacemaker_down(&lab).await?,
                "pcmk-wait" => peer::wait_online(&lab).await?,
                "kill" => println!("{}", lab.guest_kill(a[2]).await?),
                "measure" => {
                    let kill = a[2] == "kill";
                    let guest = a[3];
                    lab.wait_guest_answers(guest, std::time::Duration::from_secs(60)).await?;
                    let host = lab.where_runs(guest)?[0].clone();
                    let t = std::time::SystemTime::now();
                    if kill {
                        lab.guest_kill(guest).await?;
                    } else {
                        lab.power_cut(&host).await?;
                    }
                    loop {
                        if let Some(s) = lab.qemu_started_at(guest)?.and_then(|s| s.duration_since(t).ok()) {
                            println!("{host} -> {:?} in {s:?}", lab.where_runs(guest)?);
                            break;
                        }
                        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                    }
                    println!(
                        "{:?}",
                        lab.power_history()?
                            .into_iter()
                            .filter(|r| r.at > t)
                            .map(|r| (r.at.duration_since(t).unwrap(), r.action, r.host))
                            .collect::<Vec<_>>()
                    );
                }
                other => panic!("{other}?"),
            }
            Ok(())
        }
    }
}
