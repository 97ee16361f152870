//! The network half over loopback, against plain blocking sockets of the standard library.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn net() -> (Net, Arc<Doorbell>) {
    let bell = Arc::new(Doorbell::new().unwrap());
    (Net::new(bell.clone()).unwrap(), bell)
}

fn listener() -> (OwnedFd, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener.into(), address)
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

/// Takes completions until `done` says so of one.
fn until(net: &mut Net, mut done: impl FnMut(&mut Net, Completion) -> bool) {
    let start = Instant::now();
    loop {
        while let Some(completion) = net.next() {
            if done(net, completion) {
                return;
            }
        }
        assert!(start.elapsed() < PATIENCE, "nothing came");
        net.enter(Wait::AtMost(Duration::from_millis(100))).unwrap();
    }
}

fn echo(net: &mut Net, slot: Slot, chunk: Chunk, waiting: &mut Vec<Vec<u8>>) {
    if waiting.len() <= slot.index() {
        waiting.resize_with(slot.index() + 1, Vec::new);
    }
    waiting[slot.index()].extend_from_slice(net.bytes(&chunk));
    net.give_back(chunk);
    flush(net, slot, waiting);
}

fn flush(net: &mut Net, slot: Slot, waiting: &mut [Vec<u8>]) {
    if let Some(buffer) = net.send_buffer(slot) {
        std::mem::swap(buffer, &mut waiting[slot.index()]);
        net.send(slot);
    }
}

/// Echoes on every connection until the doorbell rings.
fn echo_until_bell(net: &mut Net) {
    let mut waiting = Vec::new();
    until(net, |net, completion| {
        match completion {
            Completion::Accepted(_, socket) => {
                let slot = net.insert(socket);
                net.read(slot, Reading::Stream);
            }
            Completion::Received(slot, chunk) => echo(net, slot, chunk, &mut waiting),
            Completion::Sent(slot, _) => flush(net, slot, &mut waiting),
            Completion::EndOfStream(slot) => {
                if net.wind_down(slot) {
                    net.close(slot);
                }
            }
            Completion::Idle(slot) => net.close(slot),
            Completion::Bell => return true,
            other => panic!("{other:?}"),
        }
        false
    });
}

fn send_and_compare(mut stream: TcpStream, octets: usize, seed: u8) {
    let data: Vec<u8> = (0..octets).map(|index| (index as u8).wrapping_mul(31).wrapping_add(seed)).collect();
    let mut writer = stream.try_clone().unwrap();
    let copy = data.clone();
    let thread = std::thread::spawn(move || writer.write_all(&copy).unwrap());
    let mut back = vec![0; octets];
    stream.read_exact(&mut back).unwrap();
    thread.join().unwrap();
    assert!(back == data);
}

#[test]
fn many_connections_are_echoed_to_the_octet() {
    let (mut net, bell) = net();
    let (socket, address) = listener();
    net.listen(socket);
    bell.going_to_sleep();
    let clients = std::thread::spawn(move || {
        let threads: Vec<_> = (0..64)
            .map(|seed| {
                let stream = TcpStream::connect(address).unwrap();
                std::thread::spawn(move || send_and_compare(stream, 100_000, seed))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        bell.ring();
    });
    echo_until_bell(&mut net);
    clients.join().unwrap();
}

#[test]
fn more_octets_than_the_sockets_hold_go_out_in_parts() {
    let (mut net, _bell) = net();
    let (near, mut far) = pair();
    let slot = net.insert(near.into());
    let octets = 16 * 1024 * 1024;
    let data: Vec<u8> = (0..octets).map(|index: usize| (index / 7) as u8).collect();
    net.send_buffer(slot).unwrap().extend_from_slice(&data);
    net.send(slot);
    net.enter(Wait::No).unwrap();
    assert!(net.send_buffer(slot).is_none());
    let reader = std::thread::spawn(move || {
        let mut back = vec![0; octets];
        far.read_exact(&mut back).unwrap();
        back
    });
    let (mut sent, mut parts) = (0, 0);
    until(&mut net, |net, completion| {
        let Completion::Sent(_, count) = completion else { panic!("{completion:?}") };
        sent += count;
        parts += 1;
        net.can_send(slot)
    });
    assert_eq!(sent, octets);
    assert!(parts > 1);
    assert!(reader.join().unwrap() == data);
}

#[test]
fn one_receive_is_one_receive() {
    let (mut net, bell) = net();
    let (near, mut far) = pair();
    let slot = net.insert(near.into());
    net.read(slot, Reading::Once);
    far.write_all(b"first").unwrap();
    until(&mut net, |net, completion| {
        let Completion::Received(_, chunk) = completion else { panic!("{completion:?}") };
        assert_eq!(net.bytes(&chunk), b"first");
        net.give_back(chunk);
        true
    });
    far.write_all(b"second").unwrap();
    bell.going_to_sleep();
    bell.ring();
    until(&mut net, |_, completion| {
        assert!(matches!(completion, Completion::Bell), "{completion:?}");
        true
    });
    net.read(slot, Reading::Once);
    until(&mut net, |net, completion| {
        let Completion::Received(_, chunk) = completion else { panic!("{completion:?}") };
        assert_eq!(net.bytes(&chunk), b"second");
        net.give_back(chunk);
        true
    });
}

#[test]
fn reading_stops_and_goes_on_without_losing_an_octet() {
    let (mut net, _bell) = net();
    let (near, mut far) = pair();
    let slot = net.insert(near.into());
    net.read(slot, Reading::Stream);
    let octets = 4_000_000;
    let writer = std::thread::spawn(move || {
        let data: Vec<u8> = (0..octets).map(|index: usize| (index / 3) as u8).collect();
        far.write_all(&data).unwrap();
        far
    });
    let mut back = Vec::new();
    until(&mut net, |net, completion| {
        let Completion::Received(_, chunk) = completion else { panic!("{completion:?}") };
        back.extend_from_slice(net.bytes(&chunk));
        net.give_back(chunk);
        match back.len() % 3 {
            0 => net.read(slot, Reading::Stopped),
            1 => net.read(slot, Reading::Once),
            _ => {}
        }
        net.read(slot, Reading::Stream);
        back.len() == octets
    });
    assert!(back.iter().enumerate().all(|(index, octet)| *octet == (index / 3) as u8));
    drop(writer.join().unwrap());
    until(&mut net, |_, completion| matches!(completion, Completion::EndOfStream(_)));
}

#[test]
fn running_out_of_buffers_costs_no_octet() {
    let (mut net, _bell) = net();
    let mut far_ends = Vec::new();
    for _ in 0..700 {
        let (near, far) = pair();
        let slot = net.insert(near.into());
        net.read(slot, Reading::Stream);
        far_ends.push(far);
    }
    net.enter(Wait::No).unwrap();
    for (index, far) in far_ends.iter_mut().enumerate() {
        far.write_all(&vec![index as u8; 20_000]).unwrap();
    }
    let mut counts = vec![0; far_ends.len()];
    let mut done = 0;
    until(&mut net, |net, completion| {
        let Completion::Received(slot, chunk) = completion else { panic!("{completion:?}") };
        assert!(net.bytes(&chunk).iter().all(|octet| *octet == slot.0 as u8));
        counts[slot.index()] += chunk.len();
        done += usize::from(counts[slot.index()] == 20_000);
        net.give_back(chunk);
        done == counts.len()
    });
}

#[test]
fn a_slot_is_used_again_after_everything_on_it_has_completed() {
    let (mut net, _bell) = net();
    for round in 0..200u32 {
        let (near, mut far) = pair();
        let slot = net.insert(near.into());
        assert_eq!(slot, Slot(0));
        net.read(slot, Reading::Stream);
        net.enter(Wait::No).unwrap();
        far.write_all(&round.to_le_bytes()).unwrap();
        let mut back = Vec::new();
        until(&mut net, |net, completion| {
            let Completion::Received(at, chunk) = completion else { panic!("{completion:?}") };
            assert_eq!(at, slot);
            back.extend_from_slice(net.bytes(&chunk));
            net.give_back(chunk);
            back.len() == 4
        });
        assert_eq!(back, round.to_le_bytes());
        far.write_all(b"too late").unwrap();
        if !net.wind_down(slot) {
            until(&mut net, |net, completion| match completion {
                Completion::Idle(_) => true,
                Completion::Received(_, chunk) => {
                    net.give_back(chunk);
                    false
                }
                other => panic!("{other:?}"),
            });
        }
        net.close(slot);
        assert!(net.is_empty());
    }
}

#[test]
fn what_was_not_sent_comes_out_of_a_slot_that_winds_down() {
    let (mut net, _bell) = net();
    let (near, mut far) = pair();
    let slot = net.insert(near.into());
    let octets = 16 * 1024 * 1024;
    net.send_buffer(slot).unwrap().extend((0..octets).map(|index: usize| (index / 5) as u8));
    net.send(slot);
    net.enter(Wait::No).unwrap();
    assert!(!net.wind_down(slot));
    until(&mut net, |_, completion| matches!(completion, Completion::Idle(_)));
    let detached = net.remove(slot);
    assert!(!detached.unsent.is_empty());
    drop(detached.socket);
    let mut arrived = Vec::new();
    far.read_to_end(&mut arrived).unwrap();
    assert_eq!(arrived.len() + detached.unsent.len(), octets);
    arrived.extend_from_slice(&detached.unsent);
    assert!(arrived.iter().enumerate().all(|(index, octet)| *octet == (index / 5) as u8));
}

#[test]
fn connecting_succeeds_fails_and_is_given_up() {
    let (mut net, _bell) = net();
    let (socket, address) = listener();
    net.listen(socket);
    let stream = || OwnedFd::from(socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap());
    let slot = net.insert(stream());
    net.connect(slot, address.into());
    let (mut accepted, mut connected) = (None, false);
    until(&mut net, |_, completion| {
        match completion {
            Completion::Accepted(0, socket) => accepted = Some(socket),
            Completion::Connected(at, Ok(())) if at == slot => connected = true,
            other => panic!("{other:?}"),
        }
        accepted.is_some() && connected
    });
    let (gone, refused) = listener();
    drop(gone);
    let other = net.insert(stream());
    net.connect(other, refused.into());
    until(&mut net, |_, completion| {
        let Completion::Connected(at, Err(error)) = completion else { panic!("{completion:?}") };
        assert_eq!((at, error.kind()), (other, std::io::ErrorKind::ConnectionRefused));
        true
    });
    assert!(net.wind_down(other));
    net.close(other);
}

#[test]
fn a_reset_is_told_by_receive_and_send() {
    let (mut net, _bell) = net();
    let (near, far) = pair();
    let slot = net.insert(near.into());
    net.read(slot, Reading::Stream);
    net.enter(Wait::No).unwrap();
    socket2::SockRef::from(&far).set_linger(Some(Duration::ZERO)).unwrap();
    drop(far);
    until(&mut net, |_, completion| {
        let Completion::ReceiveFailed(_, error) = completion else { panic!("{completion:?}") };
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        true
    });
    net.send_buffer(slot).unwrap().extend_from_slice(b"nobody hears");
    net.send(slot);
    until(&mut net, |_, completion| matches!(completion, Completion::SendFailed(_, _)));
    assert!(net.can_send(slot));
}

#[test]
fn the_doorbell_is_heard_by_a_shard_that_sleeps_and_silent_for_one_that_does_not() {
    let (mut net, bell) = net();
    bell.ring();
    net.enter(Wait::AtMost(Duration::from_millis(1))).unwrap();
    assert!(net.next().is_none());
    for _ in 0..1000 {
        let ringing = bell.clone();
        bell.going_to_sleep();
        let thread = std::thread::spawn(move || ringing.ring());
        until(&mut net, |_, completion| matches!(completion, Completion::Bell));
        bell.awake();
        thread.join().unwrap();
    }
}

#[test]
fn closed_listeners_refuse_connections() {
    let (mut net, _bell) = net();
    let (socket, address) = listener();
    net.listen(socket);
    net.enter(Wait::No).unwrap();
    net.close_listeners();
    net.enter(Wait::No).unwrap();
    assert!(TcpStream::connect(address).is_err());
}
