//! Sockets as the gateway wants them: listeners shared between shards, connections towards vendors.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

/// Connections that may wait to be accepted; the kernel cuts it to net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// A peer that is silent that long is asked whether it is there (SMPP's enquire_link asks first, as a rule).
const KEEPALIVE: Duration = Duration::from_secs(60);

/// How long the sockets of a process that was killed may stay.
const LEFTOVER_MAX: Duration = Duration::from_secs(3);

/// From one look at an address that is taken to the next.
const LOOK: Duration = Duration::from_millis(10);

/// A listening socket. Several may listen on one address, one for each shard; the kernel spreads connections.
/// What is set here holds for the connections accepted from it.
///
/// # Errors
/// When the address cannot be had.
pub fn listener(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_port(true)?;
    prepare(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Whether an address is free: sharing it with another program that shares as well would split the customers.
///
/// # Errors
/// Why it is not.
pub fn probe_listener(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    prepare(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(1)
}

/// [`probe_listener`] with patience: the kernel closes the sockets of a process that was killed a moment after it has gone,
/// for its ring held them too.
///
/// # Errors
/// Why it is not free in the end.
pub fn wait_until_free(address: SocketAddr) -> io::Result<()> {
    let until = Instant::now() + LEFTOVER_MAX;
    loop {
        match probe_listener(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < until => thread::sleep(LOOK),
            outcome => return outcome,
        }
    }
}

/// A socket to be connected to that address.
///
/// # Errors
/// When there is no descriptor to be had, or no such family of addresses.
pub fn outgoing(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    prepare(&socket)?;
    Ok(socket.into())
}

fn prepare(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))
}

/// What to do where an address cannot be listened on.
pub(crate) fn cure(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "stop the program that has it, or listen elsewhere",
        io::ErrorKind::PermissionDenied => "take a port above 1023, or grant CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "name an address of this machine, or 0.0.0.0",
        _ => "listen elsewhere",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_an_address_that_others_see_as_taken() {
        let first = listener(([127, 0, 0, 1], 0).into()).unwrap();
        let address = socket2::SockRef::from(&first).local_addr().unwrap().as_socket().unwrap();
        let second = listener(address).unwrap();
        assert_eq!(probe_listener(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop((first, second));
        probe_listener(address).unwrap();
    }

    #[test]
    fn an_address_that_is_given_up_soon_is_waited_for_and_another_one_is_not_had() {
        let held = listener(([127, 0, 0, 1], 0).into()).unwrap();
        let address = socket2::SockRef::from(&held).local_addr().unwrap().as_socket().unwrap();
        assert_eq!(wait_until_free(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let waiting = thread::spawn(move || wait_until_free(address));
        // Who does not wait has failed by then.
        thread::sleep(20 * LOOK);
        drop(held);
        waiting.join().unwrap().unwrap();
    }
}
