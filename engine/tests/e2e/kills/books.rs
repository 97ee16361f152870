//! A customer and a vendor that keep books of what was acknowledged and what came, bind again whenever they are cut off, and
//! at the end are held against each other.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use smpp_pdu::message::resp_message_id;
use smpp_pdu::receipt::Receipt;
use smpp_pdu::{
    Address, CommandId, CommandStatus, Deframed, Header, MessageState, ShortMessage, Tlvs, deframe, encode,
};

use crate::harness::message::{deliver_sm, message, submit_sm};
use crate::harness::setup::PASSWORD;
use crate::harness::{Gateway, ask_until, esme};

/// Unanswered submits of one customer's session.
const WINDOW: usize = 50;

/// Sessions of the customer.
const SESSIONS: usize = 4;

/// For how long a session that was refused with ESME_RSYSERR submits nothing.
const PAUSE: Duration = Duration::from_millis(20);

/// Milliseconds after which a customer and a vendor cut a connection, at the least and at the most.
const CUSTOMER_CUT_MS: (u64, u64) = (100, 2_000);
const VENDOR_CUT_MS: (u64, u64) = (100, 1_500);

/// How long the gateway may take to bring everything to its end after the last start.
const SETTLE: Duration = Duration::from_secs(60);

/// A tag of a vendor's own, which the gateway passes on as it is.
const PADDING_TAG: u16 = 0x1400;

/// Both sides of a gateway under fire.
pub(super) struct Sides {
    pub(super) books: Arc<Books>,
    pub(super) vendor: Vendor,
    customers: Vec<JoinHandle<()>>,
}

impl Sides {
    /// The vendor; the customer comes with [`Sides::load`], each of whose messages has so many octets in a TLV. With
    /// `is_cut`, connections are reset at random moments all the while.
    pub(super) fn new(is_cut: bool, padding: usize) -> Self {
        let scissors = Arc::new(Scissors { is_out: AtomicBool::new(is_cut), ..Scissors::default() });
        let vendor = Vendor::start(&scissors);
        let padding = match padding as u16 {
            0 => Vec::new(),
            length => [&PADDING_TAG.to_be_bytes()[..], &length.to_be_bytes(), &vec![b'x'; padding]].concat(),
        };
        let books = Arc::new(Books { scissors, padding, ..Books::default() });
        Self { books, vendor, customers: Vec::new() }
    }

    /// The customer's sessions begin.
    pub(super) fn load(&mut self, address: SocketAddr) {
        self.customers = (0..SESSIONS).map(|_| self.books.session(address)).collect();
    }

    /// No new messages and no more cuts: everything to its end, and the gateway's. How many messages were acknowledged, and
    /// how many of all came to the vendor more than once.
    pub(super) fn settle(self, gateway: Gateway) -> (usize, usize) {
        let Self { books, vendor, customers } = self;
        let is_cut = books.scissors.is_out.swap(false, Ordering::AcqRel);
        books.is_over.store(true, Ordering::Release);
        books.settle(&vendor);
        books.is_ended.store(true, Ordering::Release);
        customers.into_iter().for_each(|customer| customer.join().unwrap());
        gateway.end_well();
        let cuts = books.scissors.cuts.load(Ordering::Relaxed);
        assert_eq!(cuts > 0, is_cut, "{cuts} connections were cut");
        println!("{cuts} connections cut");
        (books.acknowledged(), vendor.doubled())
    }
}

pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Cuts connections at random moments. What has come and was not read makes it a reset.
#[derive(Default)]
struct Scissors {
    is_out: AtomicBool,
    random: Mutex<Random>,
    cuts: AtomicU64,
}

impl Default for Random {
    fn default() -> Self {
        Self(0x5851_F42D_4C95_7F2D)
    }
}

impl Scissors {
    /// When a connection that begins now is cut.
    fn moment(&self, (least, most): (u64, u64)) -> Instant {
        Instant::now() + Duration::from_millis(least + self.random.lock().unwrap().below(most - least))
    }

    fn cut(&self, moment: Instant) -> io::Result<()> {
        if Instant::now() < moment || !self.is_out.load(Ordering::Acquire) {
            return Ok(());
        }
        self.cuts.fetch_add(1, Ordering::Relaxed);
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

/// What the customer knows.
#[derive(Default)]
pub(super) struct Books {
    texts: AtomicU64,
    /// TLVs of each message.
    padding: Vec<u8>,
    /// Our id and the text of each message that was answered ESME_ROK.
    acknowledged: Mutex<HashMap<String, String>>,
    /// The ids for which a receipt came.
    receipts: Mutex<HashSet<String>>,
    /// Those that were acknowledged and still await theirs; locked after `receipts`.
    awaited: Mutex<HashSet<String>>,
    /// With so many of these there are no new messages for now, but where it is 0.
    awaited_max: AtomicUsize,
    /// Those of them that say that the message failed: a submit that was cut off twice is sent no third time.
    failed: Mutex<HashSet<String>>,
    /// How many messages were refused with ESME_RSYSERR.
    refused: AtomicU64,
    scissors: Arc<Scissors>,
    /// No new messages.
    is_over: AtomicBool,
    /// The sessions end.
    is_ended: AtomicBool,
}

impl Books {
    /// How many messages were acknowledged.
    pub(super) fn acknowledged(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Lets no more than so many messages await their receipts, about; 0 lets any number.
    pub(super) fn bound_awaited(&self, most: usize) {
        self.awaited_max.store(most, Ordering::Release);
    }

    fn is_submitting(&self) -> bool {
        let most = self.awaited_max.load(Ordering::Acquire);
        !self.is_over.load(Ordering::Acquire) && (most == 0 || self.awaited.lock().unwrap().len() < most)
    }

    /// Waits until so many more are acknowledged.
    pub(super) fn wait_for_acknowledged(&self, more: usize) {
        let wanted = self.acknowledged() + more;
        ask_until("new messages accepted", || (self.acknowledged() >= wanted).then_some(()));
    }

    /// Waits until so many more are refused with ESME_RSYSERR.
    pub(super) fn wait_for_refused(&self, more: u64) {
        let refused = || self.refused.load(Ordering::Relaxed);
        let wanted = refused() + more;
        ask_until("new messages refused", || (refused() >= wanted).then_some(()));
    }

    /// A session that binds again whenever it is cut off.
    fn session(self: &Arc<Self>, address: SocketAddr) -> JoinHandle<()> {
        let books = self.clone();
        thread::spawn(move || {
            while !books.is_ended.load(Ordering::Acquire) {
                if books.serve(address).is_err() {
                    thread::sleep(Duration::from_millis(20));
                }
            }
        })
    }

    fn serve(&self, address: SocketAddr) -> io::Result<()> {
        let mut link = Link::new(TcpStream::connect(address)?)?;
        link.write(&esme::bind_pdu(CommandId::BIND_TRANSCEIVER, 1, "acme", PASSWORD, 0x34))?;
        let mut open: HashMap<u32, String> = HashMap::new();
        let mut sequence = 1;
        let mut is_bound = false;
        let moment = self.scissors.moment(CUSTOMER_CUT_MS);
        let mut paused_until = Instant::now();
        while !self.is_ended.load(Ordering::Acquire) {
            let is_submitting = is_bound && paused_until <= Instant::now() && self.is_submitting();
            while is_submitting && open.len() < WINDOW {
                sequence += 1;
                let text = format!("message {}", self.texts.fetch_add(1, Ordering::Relaxed));
                let tlvs = Tlvs::new(&self.padding);
                let one = ShortMessage { registered_delivery: 1, tlvs, ..message(text.as_bytes()) };
                link.queue(&submit_sm(sequence, &one));
                open.insert(sequence, text);
            }
            link.flush()?;
            self.scissors.cut(moment)?;
            for (header, pdu) in link.read()? {
                match header.command_id {
                    CommandId::BIND_TRANSCEIVER_RESP if header.command_status.is_ok() => is_bound = true,
                    CommandId::BIND_TRANSCEIVER_RESP => return Err(io::ErrorKind::ConnectionRefused.into()),
                    CommandId::SUBMIT_SM_RESP => {
                        let text = open.remove(&header.sequence_number).unwrap();
                        if header.command_status.is_ok() {
                            let id = String::from_utf8(resp_message_id(&pdu).to_vec()).unwrap();
                            let receipts = self.receipts.lock().unwrap();
                            if !receipts.contains(&id) {
                                self.awaited.lock().unwrap().insert(id.clone());
                            }
                            drop(receipts);
                            self.acknowledged.lock().unwrap().insert(id, text);
                        } else if header.command_status == CommandStatus::ESME_RSYSERR {
                            self.refused.fetch_add(1, Ordering::Relaxed);
                            paused_until = Instant::now() + PAUSE;
                        }
                    }
                    CommandId::DELIVER_SM => {
                        let delivered = ShortMessage::decode(&pdu).unwrap();
                        let receipt = Receipt::parse(delivered.text());
                        let id = String::from_utf8(receipt.id.unwrap().to_vec()).unwrap();
                        if receipt.state() != Some(MessageState::Delivered) {
                            self.failed.lock().unwrap().insert(id.clone());
                        }
                        let mut receipts = self.receipts.lock().unwrap();
                        self.awaited.lock().unwrap().remove(&id);
                        receipts.insert(id);
                        link.answer(header);
                    }
                    _ if !header.command_id.is_response() => link.answer(header),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Waits until the vendor has every acknowledged message that the customer was not told has failed, and the customer a
    /// receipt for each.
    fn settle(&self, vendor: &Vendor) {
        let until = Instant::now() + SETTLE;
        loop {
            let acknowledged = self.acknowledged.lock().unwrap().clone();
            let lost: Vec<_> = {
                let seen = vendor.shared.seen.lock().unwrap();
                let failed = self.failed.lock().unwrap();
                assert!(failed.len() * 2 < acknowledged.len(), "{} failed", failed.len());
                let is_lost = |(id, text): &(&String, &String)| !seen.contains_key(*text) && !failed.contains(*id);
                acknowledged.iter().filter(is_lost).map(|(_, text)| text.clone()).collect()
            };
            let silent: Vec<_> = {
                let receipts = self.receipts.lock().unwrap();
                acknowledged.keys().filter(|id| !receipts.contains(*id)).cloned().collect()
            };
            if lost.is_empty() && silent.is_empty() {
                return;
            }
            assert!(
                Instant::now() < until,
                "of {} acknowledged messages {} never came to the vendor, such as {:?}, and {} have no receipt, such as {:?}",
                acknowledged.len(),
                lost.len(),
                lost.first(),
                silent.len(),
                silent.first()
            );
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// A vendor that notes every message, and repeats each receipt until it is acknowledged.
pub(super) struct Vendor {
    pub(super) address: SocketAddr,
    shared: Arc<VendorBooks>,
}

#[derive(Default)]
struct VendorBooks {
    /// How often each text came.
    seen: Mutex<HashMap<String, u32>>,
    /// Ids whose receipts are to be sent.
    receipts: Mutex<VecDeque<String>>,
    /// None is sent for now.
    is_holding: AtomicBool,
    ids: AtomicU64,
    scissors: Arc<Scissors>,
}

impl Vendor {
    fn start(scissors: &Arc<Scissors>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(VendorBooks { scissors: scissors.clone(), ..VendorBooks::default() });
        let books = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let books = books.clone();
                thread::spawn(move || {
                    // It ends when the gateway is killed, or with a cut.
                    let _ = books.serve(stream);
                });
            }
        });
        Self { address, shared }
    }

    /// Keeps all receipts to itself, or no more.
    pub(super) fn hold_receipts(&self, is_holding: bool) {
        self.shared.is_holding.store(is_holding, Ordering::Release);
    }

    fn doubled(&self) -> usize {
        self.shared.seen.lock().unwrap().values().filter(|count| **count > 1).count()
    }
}

impl VendorBooks {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut link = Link::new(stream)?;
        let mut unacknowledged: HashMap<u32, String> = HashMap::new();
        let result = self.serve_bound(&mut link, &mut unacknowledged);
        // What was not acknowledged is sent again to whoever binds next.
        self.receipts.lock().unwrap().extend(unacknowledged.into_values());
        result
    }

    fn serve_bound(&self, link: &mut Link, unacknowledged: &mut HashMap<u32, String>) -> io::Result<()> {
        let mut sequence = 0;
        let mut is_bound = false;
        let moment = self.scissors.moment(VENDOR_CUT_MS);
        loop {
            while is_bound && unacknowledged.len() < WINDOW && !self.is_holding.load(Ordering::Acquire) {
                let Some(id) = self.receipts.lock().unwrap().pop_front() else { break };
                sequence += 1;
                link.queue(&receipt(sequence, &id));
                unacknowledged.insert(sequence, id);
            }
            link.flush()?;
            for (header, pdu) in link.read()? {
                match header.command_id {
                    CommandId::SUBMIT_SM => {
                        let text = ShortMessage::decode(&pdu).unwrap().text().to_vec();
                        *self.seen.lock().unwrap().entry(String::from_utf8(text).unwrap()).or_default() += 1;
                        let id = format!("{:08x}", self.ids.fetch_add(1, Ordering::Relaxed));
                        let mut answer = Vec::new();
                        encode::submit_sm_resp(&mut answer, header.sequence_number, id.as_bytes());
                        link.queue(&answer);
                        self.receipts.lock().unwrap().push_back(id);
                    }
                    CommandId::DELIVER_SM_RESP => {
                        let id = unacknowledged.remove(&header.sequence_number).unwrap();
                        if !header.command_status.is_ok() {
                            self.receipts.lock().unwrap().push_back(id);
                        }
                    }
                    command if command.is_bind() => {
                        let mut answer = Vec::new();
                        let sequence = header.sequence_number;
                        encode::bind_resp(&mut answer, command.response(), sequence, b"smsc", Some(0x34));
                        link.queue(&answer);
                        is_bound = true;
                    }
                    command if !command.is_response() => link.answer(header),
                    _ => {}
                }
            }
            // With the answers to what it has just read: it has those messages, and the gateway cannot know.
            self.scissors.cut(moment)?;
        }
    }
}

fn receipt(sequence: u32, id: &str) -> Vec<u8> {
    let text = format!(
        "id:{id} sub:001 dlvrd:001 submit date:2311142213 done date:2311142214 stat:DELIVRD err:000 text:message"
    );
    let source = Address { ton: 1, npi: 1, addr: b"15551234567" };
    deliver_sm(sequence, &ShortMessage { esm_class: 0x04, source, ..message(text.as_bytes()) })
}

/// A connection that is read and written by one thread and never waits long.
struct Link {
    stream: TcpStream,
    unread: Vec<u8>,
    unwritten: Vec<u8>,
}

impl Link {
    fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(Duration::from_millis(5)))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: Vec::new(), unwritten: Vec::new() })
    }

    fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.queue(octets);
        self.flush()
    }

    fn queue(&mut self, octets: &[u8]) {
        self.unwritten.extend_from_slice(octets);
    }

    /// Answers a request with nothing but ESME_ROK.
    fn answer(&mut self, header: Header) {
        let mut out = Vec::new();
        match header.command_id {
            CommandId::DELIVER_SM => encode::deliver_sm_resp(&mut out, CommandStatus::ESME_ROK, header.sequence_number),
            command => {
                encode::header_only(&mut out, command.response(), CommandStatus::ESME_ROK, header.sequence_number);
            }
        }
        self.queue(&out);
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.unwritten)?;
        self.unwritten.clear();
        Ok(())
    }

    /// The PDUs that have come; none after a while without any.
    fn read(&mut self) -> io::Result<Vec<(Header, Vec<u8>)>> {
        let mut chunk = [0; 65_536];
        match self.stream.read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.unread.extend_from_slice(&chunk[..count]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
        let mut pdus = Vec::new();
        let mut used = 0;
        while let Deframed::Pdu { header, pdu } = deframe(&self.unread[used..], 1 << 20) {
            used += pdu.len();
            pdus.push((header, pdu.to_vec()));
        }
        self.unread.drain(..used);
        Ok(pdus)
    }
}
