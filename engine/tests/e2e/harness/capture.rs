//! A proxy that writes what passes into a pcap file, as if it had been captured on the wire, for tshark to read.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Octets of TCP payload in one packet, as on an Ethernet.
const SEGMENT_BYTES: usize = 1448;

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const PUSH_ACK: u8 = 0x18;
const FIN_ACK: u8 = 0x11;

/// A recording proxy in front of one address.
#[derive(Debug)]
pub(crate) struct Capture {
    address: SocketAddr,
    packets: Packets,
}

type Packets = Arc<Mutex<Vec<(Duration, Vec<u8>)>>>;

impl Capture {
    /// Takes connections on a free port and passes each on to `target`.
    pub(crate) fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (address, packets) = (listener.local_addr().unwrap(), Packets::default());
        let recorded = packets.clone();
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(target) else { continue };
                relay(near, far, address.port(), &recorded);
            }
        });
        Self { address, packets }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Writes everything so far, in the order of its times.
    pub(crate) fn write(&self, path: &Path) {
        let mut file = Vec::new();
        // Magic, version 2.4, no zone, no accuracy, packets of any length, Ethernet.
        for word in [0xA1B2_C3D4_u32, 0x0004_0002, 0, 0, 0x0004_0000, 1] {
            file.extend(word.to_le_bytes());
        }
        for (time, packet) in self.packets.lock().unwrap().iter() {
            let length = packet.len() as u32;
            for word in [time.as_secs() as u32, time.subsec_micros(), length, length] {
                file.extend(word.to_le_bytes());
            }
            file.extend(packet);
        }
        std::fs::write(path, file).unwrap();
    }
}

/// One direction of a connection as it is recorded.
struct Direction {
    from: u16,
    to: u16,
    /// Octets sent so far, the SYN included; and what the other direction has sent.
    sent: u32,
    acknowledged: Arc<Mutex<[u32; 2]>>,
    side: usize,
    packets: Packets,
}

fn relay(near: TcpStream, far: TcpStream, port: u16, packets: &Packets) {
    let client = near.peer_addr().unwrap().port();
    let positions = Arc::new(Mutex::new([0, 0]));
    let direction = |from, to, side| Direction {
        from,
        to,
        sent: 0,
        acknowledged: positions.clone(),
        side,
        packets: packets.clone(),
    };
    let (mut out, mut back) = (direction(client, port, 0), direction(port, client, 1));
    out.record(SYN, &[]);
    back.record(SYN | ACK, &[]);
    let (near_copy, far_copy) = (near.try_clone().unwrap(), far.try_clone().unwrap());
    thread::spawn(move || out.pass_on(near, far));
    thread::spawn(move || back.pass_on(far_copy, near_copy));
}

impl Direction {
    fn pass_on(&mut self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            // Recorded before it is passed on, so that an answer never stands before its request.
            for segment in buffer[..count].chunks(SEGMENT_BYTES) {
                self.record(PUSH_ACK, segment);
            }
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        self.record(FIN_ACK, &[]);
        let _ = to.shutdown(Shutdown::Write);
    }

    fn record(&mut self, flags: u8, payload: &[u8]) {
        let mut packets = self.packets.lock().unwrap();
        let mut positions = self.acknowledged.lock().unwrap();
        let packet = packet(self.from, self.to, self.sent, positions[1 - self.side], flags, payload);
        self.sent += payload.len() as u32 + u32::from(flags & (SYN | 0x01) != 0);
        positions[self.side] = self.sent;
        packets.push((SystemTime::now().duration_since(UNIX_EPOCH).unwrap(), packet));
    }
}

/// Ethernet, IPv4 and TCP headers around a payload. Checksums are left zero, which nobody checks in a capture.
fn packet(from: u16, to: u16, sequence: u32, acknowledged: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 12];
    packet.extend([0x08, 0x00]);
    let length = (40 + payload.len()) as u16;
    packet.extend([0x45, 0]);
    packet.extend(length.to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, 6, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
    packet.extend(from.to_be_bytes());
    packet.extend(to.to_be_bytes());
    packet.extend(sequence.to_be_bytes());
    packet.extend(acknowledged.to_be_bytes());
    packet.extend([0x50, flags, 0xFF, 0xFF, 0, 0, 0, 0]);
    packet.extend(payload);
    packet
}
