//! A pcap file of PDUs: little-endian, nanoseconds, each PDU in IP and TCP headers as if it had been captured on the wire.
//!
//! The addresses and ports are the connection's; everything else of the headers is made up so that a reader puts the stream
//! together: sequence numbers that go on in each direction, lengths, checksums. TCP's handshake is not there, for a trace
//! begins in the middle.
//!
//! Lives on the control thread.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use smpp_shards::trace::Direction;

/// Octets of the file's header.
pub(super) const FILE_HEADER_BYTES: usize = 24;

/// Octets of TCP payload in one packet at the most: a PDU has one of its own, a longer one several.
const SEGMENT_BYTES: usize = 65_000;

/// Octets of the record's header in front of each packet.
const RECORD_BYTES: usize = 16;

const TCP_BYTES: usize = 20;
const IPV4_BYTES: usize = 20;
const IPV6_BYTES: usize = 40;

/// Nanoseconds.
const MAGIC: u32 = 0xA1B2_3C4D;

/// Packets begin with their IP header, of either version.
const LINKTYPE_RAW: u32 = 101;

/// Longer than any packet.
const SNAPLEN: u32 = 262_144;

const TCP: u8 = 6;
const HOPS: u8 = 64;
const PUSH_ACK: u8 = 0x18;

/// The file, as it grows.
pub(super) struct Pcap {
    file: Vec<u8>,
    peer: SocketAddr,
    local: SocketAddr,
    /// By direction: the sequence number of the next octet.
    sequences: [u32; 2],
    identification: u16,
}

impl Pcap {
    /// Of a connection of which nothing has been seen.
    pub(super) fn new(peer: SocketAddr, local: SocketAddr) -> Self {
        let mut file = Vec::with_capacity(FILE_HEADER_BYTES);
        // Version 2.4, times in UTC.
        for word in [MAGIC, 0x0004_0002, 0, 0, SNAPLEN, LINKTYPE_RAW] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        Self { file, peer, local, sequences: [1; 2], identification: 0 }
    }

    /// The file so far.
    pub(super) fn octets(&self) -> &[u8] {
        &self.file
    }

    /// Nothing more comes: gives the memory back that it does not need.
    pub(super) fn finish(&mut self) {
        self.file.shrink_to_fit();
    }

    /// By how many octets a PDU of that length makes the file larger.
    pub(super) fn growth(&self, pdu_bytes: usize) -> usize {
        let ip = if self.peer.is_ipv4() && self.local.is_ipv4() { IPV4_BYTES } else { IPV6_BYTES };
        pdu_bytes + pdu_bytes.div_ceil(SEGMENT_BYTES) * (RECORD_BYTES + ip + TCP_BYTES)
    }

    /// Adds a PDU. `skipped` octets that were left out before it leave a gap in the sequence numbers, which a reader shows.
    pub(super) fn add(&mut self, direction: Direction, at_unix_nanos: u64, skipped: u32, pdu: &[u8]) {
        let way = direction as usize;
        self.sequences[way] = self.sequences[way].wrapping_add(skipped);
        for segment in pdu.chunks(SEGMENT_BYTES) {
            self.add_segment(direction, at_unix_nanos, segment);
            self.sequences[way] = self.sequences[way].wrapping_add(segment.len() as u32);
        }
    }

    fn add_segment(&mut self, direction: Direction, at_unix_nanos: u64, segment: &[u8]) {
        let way = direction as usize;
        let (from, to) = match direction {
            Direction::Received => (self.peer, self.local),
            Direction::Sent => (self.local, self.peer),
        };
        self.identification = self.identification.wrapping_add(1);
        let tcp_bytes = TCP_BYTES + segment.len();
        let (ip, mut checksum) = match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => ipv4(from, to, self.identification, tcp_bytes),
            (from, to) => ipv6(in_ipv6(from), in_ipv6(to), tcp_bytes),
        };
        let mut tcp = [0; TCP_BYTES];
        tcp[0..2].copy_from_slice(&from.port().to_be_bytes());
        tcp[2..4].copy_from_slice(&to.port().to_be_bytes());
        tcp[4..8].copy_from_slice(&self.sequences[way].to_be_bytes());
        tcp[8..12].copy_from_slice(&self.sequences[1 - way].to_be_bytes());
        // The header's length in words of four, flags, window.
        tcp[12..16].copy_from_slice(&[(TCP_BYTES as u8 / 4) << 4, PUSH_ACK, 0xFF, 0xFF]);
        checksum.add(&tcp);
        checksum.add(segment);
        tcp[16..18].copy_from_slice(&checksum.finish());
        let packet_bytes = (ip.len() + tcp_bytes) as u32;
        let (seconds, nanos) = (at_unix_nanos / 1_000_000_000, at_unix_nanos % 1_000_000_000);
        for word in [seconds as u32, nanos as u32, packet_bytes, packet_bytes] {
            self.file.extend_from_slice(&word.to_le_bytes());
        }
        for part in [&ip[..], &tcp, segment] {
            self.file.extend_from_slice(part);
        }
    }
}

/// The header, and the checksum that TCP's goes on from.
fn ipv4(from: Ipv4Addr, to: Ipv4Addr, identification: u16, tcp_bytes: usize) -> (Vec<u8>, Checksum) {
    let mut header = vec![0x45, 0];
    header.extend_from_slice(&((IPV4_BYTES + tcp_bytes) as u16).to_be_bytes());
    header.extend_from_slice(&identification.to_be_bytes());
    // Not to be fragmented, hops to live, no checksum yet.
    header.extend_from_slice(&[0x40, 0, HOPS, TCP, 0, 0]);
    header.extend_from_slice(&from.octets());
    header.extend_from_slice(&to.octets());
    let mut own = Checksum::default();
    own.add(&header);
    header[10..12].copy_from_slice(&own.finish());
    let mut of_tcp = Checksum::default();
    of_tcp.add(&header[12..]);
    of_tcp.add(&[0, TCP]);
    of_tcp.add(&(tcp_bytes as u16).to_be_bytes());
    (header, of_tcp)
}

/// Likewise.
fn ipv6(from: Ipv6Addr, to: Ipv6Addr, tcp_bytes: usize) -> (Vec<u8>, Checksum) {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend_from_slice(&(tcp_bytes as u16).to_be_bytes());
    header.extend_from_slice(&[TCP, HOPS]);
    header.extend_from_slice(&from.octets());
    header.extend_from_slice(&to.octets());
    let mut of_tcp = Checksum::default();
    of_tcp.add(&header[8..]);
    of_tcp.add(&(tcp_bytes as u32).to_be_bytes());
    of_tcp.add(&[0, TCP]);
    (header, of_tcp)
}

/// One version goes for both ends.
fn in_ipv6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// The Internet's checksum (RFC 1071).
#[derive(Default)]
struct Checksum(u64);

impl Checksum {
    /// Only what comes last may have an odd length.
    fn add(&mut self, octets: &[u8]) {
        let word = |pair: &[u8]| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0));
        self.0 += octets.chunks(2).map(word).sum::<u64>();
    }

    fn finish(self) -> [u8; 2] {
        let mut sum = self.0;
        while sum > 0xFFFF {
            sum = (sum >> 16) + (sum & 0xFFFF);
        }
        (!(sum as u16)).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: u64 = 1_700_000_000_123_456_789;

    fn pcap(peer: &str, local: &str) -> Pcap {
        Pcap::new(peer.parse().unwrap(), local.parse().unwrap())
    }

    /// The records of a file: seconds, nanoseconds, packet.
    fn records(pcap: &Pcap) -> Vec<(u32, u32, Vec<u8>)> {
        let (mut rest, mut records) = (&pcap.octets()[FILE_HEADER_BYTES..], Vec::new());
        while !rest.is_empty() {
            let word = |at: usize| u32::from_le_bytes(*rest[at..].first_chunk().unwrap());
            let (length, whole) = (word(8) as usize, word(12) as usize);
            assert_eq!(length, whole);
            records.push((word(0), word(4), rest[16..16 + length].to_vec()));
            rest = &rest[16 + length..];
        }
        records
    }

    fn number(octets: &[u8]) -> usize {
        octets.iter().fold(0, |number, octet| number << 8 | usize::from(*octet))
    }

    /// Over a whole header, its checksum included, it is zero.
    fn is_right(parts: &[&[u8]]) -> bool {
        let mut checksum = Checksum::default();
        parts.iter().for_each(|part| checksum.add(part));
        checksum.finish() == [0, 0]
    }

    #[test]
    fn the_checksum_is_that_of_rfc_1071() {
        let mut checksum = Checksum::default();
        checksum.add(&[0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7]);
        assert_eq!(checksum.finish(), (!0xDDF2_u16).to_be_bytes());
        let mut odd = Checksum::default();
        odd.add(&[0x12, 0x34, 0x56]);
        assert_eq!(odd.finish(), (!(0x1234_u16 + 0x5600)).to_be_bytes());
    }

    #[test]
    fn a_file_begins_with_the_header_of_nanoseconds_and_raw_ip() {
        let pcap = pcap("192.0.2.1:40000", "198.51.100.2:2775");
        let header = pcap.octets();
        assert_eq!(header.len(), FILE_HEADER_BYTES);
        assert_eq!(header[..8], [0x4D, 0x3C, 0xB2, 0xA1, 2, 0, 4, 0]);
        assert_eq!(header[20..], [101, 0, 0, 0]);
    }

    #[test]
    fn over_ipv4_lengths_addresses_sequence_numbers_and_checksums_are_right() {
        let mut pcap = pcap("192.0.2.1:40000", "198.51.100.2:2775");
        let growth = pcap.growth(5) + pcap.growth(4) + pcap.growth(3);
        pcap.add(Direction::Received, AT, 0, b"odd..");
        pcap.add(Direction::Sent, AT + 1_000, 0, b"even");
        pcap.add(Direction::Received, AT + 2_000_000_000, 100, b"gap");
        assert_eq!(pcap.octets().len(), FILE_HEADER_BYTES + growth);
        let records = records(&pcap);
        let times: Vec<_> = records.iter().map(|(seconds, nanos, _)| (*seconds, *nanos)).collect();
        assert_eq!(times, [(1_700_000_000, 123_456_789), (1_700_000_000, 123_457_789), (1_700_000_002, 123_456_789)]);
        let expected: [(_, &[u8], _, _); 3] = [
            (true, b"odd..", 1, 1),
            (false, b"even", 1, 6),
            // Where 100 octets were left out, and everything that was sent is acknowledged.
            (true, b"gap", 106, 5),
        ];
        for ((_, _, packet), (is_received, pdu, sequence, acknowledged)) in records.iter().zip(expected) {
            let (ip, tcp) = packet.split_at(20);
            assert_eq!((ip[0], ip[9], number(&ip[2..4])), (0x45, TCP, packet.len()));
            let ends = [(&[192, 0, 2, 1], 40_000), (&[198, 51, 100, 2], 2_775)];
            let (from, to) = if is_received { (ends[0], ends[1]) } else { (ends[1], ends[0]) };
            assert_eq!((&ip[12..16], &ip[16..]), (&from.0[..], &to.0[..]));
            assert_eq!((number(&tcp[..2]), number(&tcp[2..4])), (from.1, to.1));
            assert_eq!((number(&tcp[4..8]), number(&tcp[8..12])), (sequence, acknowledged));
            assert_eq!((tcp[12] >> 4, tcp[13], &tcp[20..]), (5, PUSH_ACK, pdu));
            assert!(is_right(&[ip]));
            assert!(is_right(&[&ip[12..], &[0, TCP], &(tcp.len() as u16).to_be_bytes(), tcp]));
        }
    }

    #[test]
    fn over_ipv6_the_headers_are_those_of_ipv6_and_one_end_in_ipv4_is_mapped() {
        for (peer, mapped) in [("[2001:db8::1]:40000", "2001:db8::1"), ("192.0.2.1:40000", "::ffff:192.0.2.1")] {
            let mut pcap = pcap(peer, "[2001:db8::2]:2775");
            let growth = pcap.growth(5);
            pcap.add(Direction::Received, AT, 0, b"hello");
            assert_eq!(pcap.octets().len(), FILE_HEADER_BYTES + growth, "{peer}");
            let (_, _, packet) = records(&pcap).remove(0);
            let (ip, tcp) = packet.split_at(40);
            assert_eq!((ip[0], number(&ip[4..6]), ip[6]), (0x60, tcp.len(), TCP));
            assert_eq!(ip[8..24], mapped.parse::<Ipv6Addr>().unwrap().octets());
            assert_eq!(ip[24..], "2001:db8::2".parse::<Ipv6Addr>().unwrap().octets());
            assert!(is_right(&[&ip[8..], &(tcp.len() as u32).to_be_bytes(), &[0, TCP], tcp]));
        }
    }

    #[test]
    fn a_pdu_longer_than_a_segment_goes_in_several_that_follow_one_another() {
        for (peer, local, ip) in
            [("192.0.2.1:1", "192.0.2.2:2", IPV4_BYTES), ("[2001:db8::1]:1", "[2001:db8::2]:2", IPV6_BYTES)]
        {
            let mut pcap = pcap(peer, local);
            let pdu: Vec<u8> = (0..70_000_u32).map(|index| index as u8).collect();
            let growth = pcap.growth(pdu.len());
            pcap.add(Direction::Sent, AT, 0, &pdu);
            pcap.add(Direction::Received, AT, 0, b"answer");
            let records = records(&pcap);
            assert_eq!(records.len(), 3);
            assert_eq!(pcap.octets().len(), FILE_HEADER_BYTES + growth + pcap.growth(6));
            let tcp: Vec<&[u8]> = records.iter().map(|(_, _, packet)| &packet[ip..]).collect();
            assert_eq!((number(&tcp[0][4..8]), number(&tcp[1][4..8])), (1, 65_001));
            assert_eq!([&tcp[0][TCP_BYTES..], &tcp[1][TCP_BYTES..]].concat(), pdu);
            assert_eq!(number(&tcp[2][8..12]), 70_001, "all of it is acknowledged");
        }
    }

    #[test]
    fn sequence_numbers_wrap() {
        let mut pcap = pcap("192.0.2.1:1", "192.0.2.2:2");
        pcap.add(Direction::Sent, AT, u32::MAX - 2, b"four");
        pcap.add(Direction::Sent, AT, 0, b"next");
        let records = records(&pcap);
        let sequence = |index: usize| number(&records[index].2[24..28]);
        assert_eq!((sequence(0), sequence(1)), (u32::MAX as usize - 1, 2));
    }
}
