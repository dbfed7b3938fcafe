//! A server on libvirt's port that speaks no libvirt, or speaks it badly: the controller says what is wrong, tries again at its
//! own pace, and takes no more memory for it.

use crate::support::until;
use mainstay_daemon::{Options, Running, start};
use mainstay_model::Code;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

const SOON: Duration = Duration::from_secs(300);
/// Ways to misbehave, with the words in which each is told.
const WAYS: [(&str, &str); 7] = [
    ("hangs up", "libvirtd closed it"),
    ("sends garbage", "libvirtd sent nonsense"),
    ("announces a message of 2 GiB", "libvirtd sent nonsense"),
    ("sends half a message", "does libvirtd hang?"),
    ("drips a byte at a time", "does libvirtd hang?"),
    ("answers other calls than ours", "does libvirtd hang?"),
    ("floods with messages of 16 MiB", "does libvirtd hang?"),
];

async fn serve(mut stream: TcpStream, way: usize) -> std::io::Result<()> {
    let mut call = [0; 28];
    stream.read_exact(&mut call).await?;
    match way {
        0 => {}
        1 => stream.write_all(&[0xff; 4096]).await?,
        2 => stream.write_all(&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]).await?,
        3 => {
            stream.write_all(&[0, 0, 1, 0, 0x20, 0]).await?;
            stream.read_u8().await?;
        }
        4 => loop {
            // Its length is that of a message of 64 KiB.
            for byte in [0, 1, 0, 0] {
                stream.write_all(&[byte]).await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        },
        5 => loop {
            // The reply to a call with another serial.
            let mut reply = call;
            (reply[15], reply[23]) = (1, call[23].wrapping_add(1));
            stream.write_all(&reply).await?;
            tokio::time::sleep(Duration::from_millis(1)).await;
        },
        _ => {
            let mut message = vec![0; 16 << 20];
            message[..4].copy_from_slice(&(16_u32 << 20).to_be_bytes());
            loop {
                stream.write_all(&message).await?;
            }
        }
    }
    Ok(())
}

fn resident_mib() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4 / 1024
}

async fn told(running: &Running, words: &str) -> String {
    let look = async || {
        let view = running.handle.view().await.unwrap();
        let alarm = view.alarms.iter().find(|alarm| alarm.code == Code::MANAGEMENT_FAULT);
        match alarm {
            Some(alarm) if alarm.text.contains(words) => Ok(alarm.text.clone()),
            other => Err(format!("{other:?}")),
        }
    };
    until(&running.handle, SOON, words, look).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_speaks_badly_is_told_of_and_costs_neither_memory_nor_rest() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (way, connections) = (Arc::new(AtomicU8::new(0)), watch::Sender::new(0_usize));
    let (chosen, count) = (Arc::clone(&way), connections.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.send_modify(|count| *count += 1);
            // That the other side leaves is what it should do.
            tokio::spawn(serve(stream, usize::from(chosen.load(Ordering::SeqCst))));
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("mainstay.toml");
    let text = format!(
        "[controller]\nstate_directory = \"{0}\"\napi_socket = \"{0}/api.sock\"\n[detection]\nmanagement_fault_after = \"1s\"\n\
         [site.lab]\nshared_storage = true\n[site.lab.libvirt]\nuri = \"qemu+tcp://{{address}}:{port}/system\"\nconnect_timeout = \"1s\"\n\
         [site.lab.host.h1]\naddress = \"127.0.0.1\"\n",
        directory.path().display()
    );
    std::fs::write(&config, text).unwrap();
    let running = start(Options { config, ..Options::default() }).await.unwrap();

    for (number, (name, words)) in WAYS.iter().enumerate() {
        way.store(u8::try_from(number).unwrap(), Ordering::SeqCst);
        // What was told of the way before may be the same words: when it comes for the second time, it knows the first.
        let first = *connections.borrow();
        timeout(SOON, connections.subscribe().wait_for(|count| *count >= first + 2)).await.expect(name).unwrap();
        let (began, before, memory) = (Instant::now(), *connections.borrow(), resident_mib());
        let text = told(&running, words).await;
        assert!(text.contains(&format!("127.0.0.1:{port}")), "{name}: {text}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (tried, took) = (*connections.borrow() - before, began.elapsed());
        let grown = resident_mib().saturating_sub(memory);
        println!("{name}: {text}\n  {tried} connections in {took:?}, {grown} MiB more");
        assert!(tried <= 2 + 2 * usize::try_from(took.as_secs()).unwrap(), "{name}: {tried} connections in {took:?}");
        assert!(grown < 150, "{name}: {grown} MiB more");
    }
    running.handle.shutdown().await;
    timeout(SOON, running.stopped()).await.expect("it stops in time").expect("it led till the end");
}
