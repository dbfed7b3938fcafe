//! Names to addresses, for whoever reaches hosts. With a dead name server a lookup holds a thread for half a minute, and
//! whoever watches a host asks again every second: so one lookup a name is under way at a time, and all wait for that.

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{net::lookup_host, sync::watch};

/// `None` while it is under way.
type Answer = Option<Result<Vec<IpAddr>, Arc<io::Error>>>;

static UNDER_WAY: Mutex<BTreeMap<String, watch::Receiver<Answer>>> = Mutex::new(BTreeMap::new());

/// The addresses of a host; never none. Takes as long as the system's resolver does: the caller bounds it.
///
/// # Errors
/// If the name has no address, or no name server answers. It says nothing about the host.
pub async fn resolve(host: &str) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let mut answer = {
        let mut under_way = under_way();
        under_way.entry(host.to_owned()).or_insert_with(|| begin(host.to_owned())).clone()
    };
    let found = answer.wait_for(Option::is_some).await.map_or(None, |answer| answer.clone());
    match found {
        Some(Ok(addresses)) => Ok(addresses),
        Some(Err(error)) => Err(io::Error::new(error.kind(), error)),
        None => Err(io::Error::new(io::ErrorKind::Interrupted, format!("the lookup of {host} was given up"))),
    }
}

fn begin(host: String) -> watch::Receiver<Answer> {
    let (tell, answer) = watch::channel(None);
    tokio::spawn(async move {
        let entry = Entry(host);
        let found = lookup_host((entry.0.as_str(), 0)).await.map(|found| found.map(|socket| socket.ip()).collect());
        let found = found.and_then(|addresses: Vec<IpAddr>| match addresses.is_empty() {
            true => Err(io::Error::new(io::ErrorKind::NotFound, format!("{} has no address", entry.0))),
            false => Ok(addresses),
        });
        drop(entry);
        tell.send_replace(Some(found.map_err(Arc::new)));
    });
    answer
}

/// Takes the lookup off the list, however it ends.
struct Entry(String);

impl Drop for Entry {
    fn drop(&mut self) {
        under_way().remove(&self.0);
    }
}

fn under_way() -> MutexGuard<'static, BTreeMap<String, watch::Receiver<Answer>>> {
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_who_ask_for_one_name_wait_for_one_lookup() {
        let asked: Vec<_> = (0..50).map(|_| tokio::spawn(resolve("no-such-host.invalid"))).collect();
        for asked in asked {
            assert!(asked.await.unwrap().is_err());
        }
        assert!(resolve("localhost").await.unwrap().iter().any(IpAddr::is_loopback));
        assert_eq!(resolve("192.0.2.7").await.unwrap(), ["192.0.2.7".parse::<IpAddr>().unwrap()]);
        assert!(under_way().is_empty(), "nothing is left behind");
    }
}
