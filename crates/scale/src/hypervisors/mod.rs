//! Simulated hypervisors that speak libvirt's protocol: one server, one address per host, so that a real controller drives
//! them with its real driver.
//!
//! ```text
//!   0.0.0.0:16509 ──accept──▶ the address called is the host ──▶ connection ──calls──▶ world ──events──▶ all its connections
//! ```
//! They answer what the controller asks; anything else is refused as unsupported. Orders take about as long as real ones.

mod answer;
mod connection;
mod definition;
mod ready;
mod world;

pub use world::World;

use std::{io, net::IpAddr, sync::Arc};
use tokio::net::TcpListener;

/// libvirt's port.
const PORT: u16 = 16_509;

/// Hosts are spread over so many racks, each a network of its own that can be cut off by one rule.
pub const RACKS: usize = 10;

/// A host's address: `10.88.RACK.PLACE`. There is room for 2,500.
pub fn address(host: usize) -> String {
    format!("10.88.{}.{}", host % RACKS, host / RACKS + 1)
}

/// The host at an address.
fn host_at(address: IpAddr) -> Option<usize> {
    let IpAddr::V4(address) = address else { return None };
    let [_, _, rack, place] = address.octets();
    usize::from(place).checked_sub(1).map(|place| place * RACKS + usize::from(rack))
}

/// Serves all hosts, for ever.
pub async fn serve(world: Arc<World>) -> io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let Some(host) = host_at(stream.local_addr()?.ip()).filter(|host| *host < world.size.hosts) else { continue };
        tokio::spawn(connection::serve(stream, Arc::clone(&world), host));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_has_an_address_of_its_own() {
        for host in 0..2_500 {
            assert_eq!(host_at(address(host).parse().unwrap()), Some(host));
        }
    }
}
