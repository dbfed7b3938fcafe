//! One connection to a simulated hypervisor: calls in, answers and events out, one after the other. Once the fence device has
//! switched the host off, nothing comes out any more, not even the connection's end.

use super::{answer, world::World};
use mainstay_libvirt::{
    frame::{self, Header, kind, status},
    procedures::Procedure,
    xdr::{Encode, XdrError},
};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::broadcast::error::RecvError,
};

/// `VIR_ERR_LEVEL`, and where it comes from: QEMU's driver.
const ERROR: i32 = 2;
const FROM_QEMU: i32 = 10;

/// Bytes that are a payload already.
pub struct Raw(pub Vec<u8>);

impl Encode for Raw {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), XdrError> {
        out.extend_from_slice(&self.0);
        Ok(())
    }
}

/// Serves a connection until it ends; however it ends, nobody is told.
pub async fn serve(mut stream: TcpStream, world: Arc<World>, host: usize) {
    let _ended = converse(&mut stream, &world, host).await;
    if !world.has_power(host) {
        // Who is off does not hang up.
        let _given_up = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    }
}

async fn converse(stream: &mut TcpStream, world: &World, host: usize) -> io::Result<()> {
    let lit = || if world.has_power(host) { Ok(()) } else { Err(io::Error::other("it is off")) };
    stream.set_nodelay(true)?;
    let mut events = world.hosts[host].events.subscribe();
    let mut subscribed = false;
    let mut buffer = Vec::new();
    loop {
        let mut done = 0;
        let mut answers = Vec::new();
        while let Some((header, payload, length)) = frame::first(&buffer[done..]).map_err(io::Error::other)? {
            let procedure = Procedure::from_number(header.program, header.procedure);
            subscribed |= procedure == Some(Procedure::ConnectDomainEventCallbackRegisterAny);
            if let Some(time) = procedure.and_then(takes) {
                tokio::time::sleep(time).await;
            }
            lit()?;
            answers.extend(reply(world, host, header, procedure, payload).map_err(io::Error::other)?);
            done += length;
        }
        buffer.drain(..done);
        if !answers.is_empty() {
            stream.write_all(&answers).await?;
        }
        tokio::select! {
            read = stream.read_buf(&mut buffer) => if read? == 0 { return Ok(()) },
            event = events.recv(), if subscribed => match event {
                Ok(event) => {
                    lit()?;
                    stream.write_all(&event).await?;
                }
                Err(RecvError::Lagged(_)) => return Err(io::Error::other("too slow for the events")),
                Err(RecvError::Closed) => return Ok(()),
            },
        }
    }
}

/// About what these take with QEMU; a memory snapshot stops the guest meanwhile.
fn takes(procedure: Procedure) -> Option<Duration> {
    match procedure {
        Procedure::DomainSnapshotCreateXml => Some(Duration::from_millis(250)),
        Procedure::DomainCreateWithFlags => Some(Duration::from_millis(300)),
        Procedure::DomainSnapshotDelete => Some(Duration::from_millis(60)),
        _ => None,
    }
}

fn reply(
    world: &World,
    host: usize,
    header: Header,
    procedure: Option<Procedure>,
    payload: &[u8],
) -> Result<Vec<u8>, XdrError> {
    if procedure == Some(Procedure::KeepalivePing) {
        let pong = Procedure::KeepalivePong;
        return Header::new(pong.program(), pong.number(), kind::MESSAGE, 0).frame(&());
    }
    let reply = Header { kind: kind::REPLY, ..header };
    match answer::to(world, host, procedure, payload)? {
        Ok(payload) => reply.frame(&Raw(payload)),
        Err((code, message)) => {
            let nothing: Option<String> = None;
            let error = (code.0, FROM_QEMU, Some(message), ERROR, &nothing, &nothing);
            Header { status: status::ERROR, ..reply }.frame(&error)
        }
    }
}
