//! Names to addresses, off the shards: the system's resolver blocks.
//!
//! Two threads of its own take the requests of all shards; the answers come back as mail. Must never be called so
//! that a shard waits.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use crossbeam_channel::{Receiver, Sender, bounded};
use smpp_shards::{LinkId, ShardId};

use crate::mail::{Mail, Post, Resolved};

/// Look-ups that may wait. Beyond it a link's connecting fails at the step `name`, and is tried again later.
const WAITING_MAX: usize = 1024;

/// Look-ups at one time, so that one dead name server does not stop every vendor.
const THREADS: usize = 2;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;

/// A name to look up.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) shard: ShardId,
    pub(crate) link: LinkId,
    pub(crate) ticket: u32,
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// The shards' end.
#[derive(Clone, Debug)]
pub(crate) struct Resolver {
    requests: Sender<Request>,
}

impl Resolver {
    /// Starts the threads. They end when the last clone of the resolver is gone.
    pub(crate) fn start(post: &Post) -> io::Result<Self> {
        let (requests, waiting) = bounded(WAITING_MAX);
        for _ in 0..THREADS {
            let (waiting, post) = (waiting.clone(), post.clone());
            std::thread::Builder::new().name("resolver".into()).spawn(move || work(&waiting, &post))?;
        }
        Ok(Self { requests })
    }

    /// Asks; tells whether there was room.
    pub(crate) fn ask(&self, request: Request) -> bool {
        self.requests.try_send(request).is_ok()
    }
}

/// Looks one name up, waiting for it.
///
/// # Errors
/// Why there is no address, in words.
pub(crate) fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let addresses = (host, port).to_socket_addrs().map_err(|error| format!("{host}: {error}"))?;
    let addresses: Vec<SocketAddr> = addresses.take(ADDRESSES_MAX).collect();
    if addresses.is_empty() { Err(format!("{host}: the name has no address")) } else { Ok(addresses) }
}

fn work(waiting: &Receiver<Request>, post: &Post) {
    for request in waiting {
        let result = look_up(&request.host, request.port);
        post.send(request.shard, Mail::Resolved(Resolved { link: request.link, ticket: request.ticket, result }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Doorbell;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn a_name_is_answered_by_mail_to_the_asking_shard() {
        let bells: Arc<[Arc<Doorbell>]> = (0..2).map(|_| Arc::new(Doorbell::new().unwrap())).collect();
        let (post, boxes) = Post::new(bells);
        let resolver = Resolver::start(&post).unwrap();
        let request = Request { shard: ShardId(1), link: LinkId(3), ticket: 9, host: "localhost".into(), port: 2775 };
        assert!(resolver.ask(request));
        let Mail::Resolved(resolved) = boxes[1].recv_timeout(Duration::from_secs(20)).unwrap() else { panic!() };
        assert_eq!((resolved.link, resolved.ticket), (LinkId(3), 9));
        let addresses = resolved.result.unwrap();
        assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 2775));
    }

    #[test]
    fn a_name_that_cannot_be_is_an_error_that_names_it() {
        let error = look_up("no such name", 1).unwrap_err();
        assert!(error.starts_with("no such name: "), "{error}");
    }
}
