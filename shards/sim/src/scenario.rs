//! What a seed means: settings, peers with their habits, routes and faults. Drawn once; pure functions of the seed.

use std::net::Ipv4Addr;

use regex::bytes::Regex;
use smpp_shards::settings::{
    BindType, CustomerSettings, GatewaySettings, InboundRouteSettings, LongMessages, MessageIdFormat, ReceiptIdFrom,
    RequestReceipts, RuleSettings, Settings, VendorIdFormat, VendorSettings,
};

use crate::days::DaysPlan;
use crate::live::LivePlan;
use crate::model::rate_of;
use crate::network::Weather;
use crate::random::Stream;
use crate::vendor_habits::VendorHabits;

/// command_status with which model vendors refuse for now, beside the throttles.
pub(crate) const TEMPORARY: u32 = 0x0000_0400;
/// command_status with which model vendors refuse for good, beside ESME_RINVDSTADR.
pub(crate) const PERMANENT: u32 = 0x0000_0401;

/// Destinations begin with one of these; `999` and a vendor's number lead to that vendor alone.
pub(crate) const PREFIXES: [&str; 7] = ["44", "4479", "1", "1555", "49", "33", "88"];

/// A routing rule as the reference model reads it.
pub(crate) struct Rule {
    /// Only for that customer.
    pub customer: Option<usize>,
    dest: Option<Regex>,
    source: Option<Regex>,
    /// To which vendor.
    pub vendor: usize,
}

/// One model customer.
#[derive(Clone, Debug)]
pub(crate) struct CustomerPlan {
    /// Its system_id.
    pub system_id: String,
    /// Its password.
    pub password: String,
    /// How many sessions it likes to have.
    pub sessions: usize,
    /// Thousandths of its connections that misbehave in some way.
    pub mischief: u64,
    /// Whether it may bind from where its sessions are.
    pub address_allowed: bool,
}

/// How a run's journal is, and what happens to it.
#[derive(Clone, Debug)]
pub(crate) struct JournalPlan {
    /// Octets of one segment. Small ones, so that many begin and end in a run.
    pub segment_bytes: u64,
    /// Microseconds for which a small batch waits for more.
    pub commit_wait_us: u32,
    /// Microseconds that a write takes, at least and at most.
    pub write_us: (u64, u64),
    /// Writes, in a thousand, that fail.
    pub failures: u64,
    /// The disk is full from, for so long, in milliseconds.
    pub full: Vec<(u64, u64)>,
    /// New files, in a thousand, that are old ones written over.
    pub reuse: u64,
    /// When the process is killed, in milliseconds.
    pub crashes: Vec<u64>,
    /// Milliseconds until it is started again, at the most.
    pub down_ms: u64,
    /// After which crash a record is damaged, counted from 1; 0 is never.
    pub damage_after: u32,
}

/// In which mode the gateway of a run accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As the seed says.
    Drawn,
    /// `accept = "relay"`.
    Relay,
    /// `accept = "journal"`.
    Journal,
}

/// Everything that a seed decides beforehand.
pub(crate) struct Scenario {
    /// How many shards.
    pub shards: u16,
    /// The gateway's configuration.
    pub settings: Settings,
    /// The routing rules once more, for the reference model.
    pub rules: Vec<Rule>,
    /// By customer.
    pub customers: Vec<CustomerPlan>,
    /// By vendor.
    pub vendors: Vec<VendorHabits>,
    /// The network while faults last.
    pub weather: Weather,
    /// Milliseconds after which faults end.
    pub heal_ms: u64,
    /// Messages that all sessions may send together while faults last.
    pub messages_max: u64,
    /// Milliseconds between snapshots, which change nothing where the configuration does not; 0 is never.
    pub reload_ms: u64,
    /// Milliseconds that the control thread takes for a bind at the most.
    pub check_ms: u64,
    /// Octets of one receive at the most.
    pub receive_bytes: usize,
    /// Wake-ups, in a thousand, that are late.
    pub turn_pauses: u64,
    /// Submits, in a thousand, that carry tens of thousands of octets: rings and outputs fill.
    pub heavy: u64,
    /// The gateway stops while faults last, instead of after them.
    pub stops_early: bool,
    /// In journal mode.
    pub journal: Option<JournalPlan>,
    /// What passes by the day, in journal mode.
    pub days: DaysPlan,
    /// Where the configuration changes: the settings are the widest it ever is then.
    pub live: Option<LivePlan>,
}

/// The address from which a session connects.
pub(crate) fn session_address(session: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, (session >> 8) as u8, session as u8)
}

impl Scenario {
    /// The scenario of that seed.
    pub(crate) fn new(seed: u64, mode: Mode) -> Self {
        let mut random = Stream::new(seed, "scenario");
        let shards = *random.pick(&[1, 1, 2, 2, 2, 3, 4]);
        let vendors: Vec<VendorHabits> = (0..random.range(1, 4)).map(|_| VendorHabits::draw(&mut random)).collect();
        let customers: Vec<CustomerPlan> =
            (0..random.range(1, 4)).map(|index| draw_customer(index as usize, &mut random)).collect();
        let mut settings = Settings { gateway: draw_gateway(&mut random), ..Settings::default() };
        settings.customers = customers.iter().map(|plan| customer_settings(plan, &mut random)).collect();
        settings.vendors =
            vendors.iter().enumerate().map(|(index, habits)| vendor_settings(index, habits, &mut random)).collect();
        settings.routing_rules = draw_rules(&settings, &mut random);
        for (index, customer) in settings.customers.iter().enumerate() {
            for number in 0..2 {
                settings.inbound_routes.push(InboundRouteSettings {
                    did: format!("{}770{index}{number}", if number == 0 { "" } else { "+" }),
                    smpp_system_id: customer.smpp_system_id.clone(),
                    ..InboundRouteSettings::default()
                });
            }
        }
        let rules = reference_rules(&settings);
        let mut scenario = Self {
            shards,
            rules,
            customers,
            vendors,
            weather: draw_weather(&mut random),
            heal_ms: random.range(4_000, 12_000),
            messages_max: random.range(100, 1_500),
            reload_ms: if random.chance(300) { random.range(500, 4_000) } else { 0 },
            check_ms: random.spread(1, 400),
            receive_bytes: *random.pick(&[512, 4_096, 16_384, 65_536]),
            turn_pauses: random.fault(300, 30),
            heavy: random.fault(150, 1_000),
            stops_early: random.chance(150),
            journal: None,
            days: DaysPlan::default(),
            live: None,
            settings,
        };
        // A stream of its own: what a seed means in relay mode does not depend on journals.
        let mut random = Stream::new(seed, "journal");
        let has_journal = random.chance(500);
        if mode == Mode::Journal || mode == Mode::Drawn && has_journal {
            scenario.journal = Some(draw_journal(scenario.heal_ms, &mut random));
            let gateway = &mut scenario.settings.gateway;
            gateway.receipts_kept =
                if random.chance(200) { random.spread(1, 50) as u32 } else { gateway.receipts_kept };
            gateway.unknown_outcome_retries = random.below(3) as u32;
            gateway.late_answer_ms = if random.chance(700) { gateway.late_answer_ms } else { random.below(1_000) };
        }
        // Likewise.
        if scenario.journal.is_some() {
            scenario.draw_ages(&mut Stream::new(seed, "ages"));
        }
        // The seeds that are named play in a mode that they ask for, and mean what they meant before there was a wait.
        if let (Some(journal), Mode::Drawn) = (&mut scenario.journal, mode) {
            journal.commit_wait_us = draw_commit_wait(&mut Stream::new(seed, "commit wait"));
        }
        // Likewise.
        let mut random = Stream::new(seed, "live");
        if random.chance(300) {
            let plan = LivePlan::draw(scenario.customers.len(), scenario.vendors.len(), &mut random);
            scenario.reload_ms = plan.every_ms;
            scenario.live = Some(plan);
        }
        scenario
    }

    /// What a few runs with a journal have beside the rest: ages, damage, and a small bound of what is kept.
    fn draw_ages(&mut self, random: &mut Stream) {
        let validity_ms = self.settings.gateway.validity_ms();
        if random.chance(100) {
            self.days.off_ms = validity_ms + random.spread(1, validity_ms);
            self.days.off_after = random.range(1, 3) as u32;
        }
        if random.chance(100) {
            self.days.held_ms = validity_ms + random.spread(60_000, validity_ms);
        }
        let damage_after = if random.chance(150) { random.range(1, 3) as u32 } else { 0 };
        if let Some(journal) = &mut self.journal {
            journal.damage_after = damage_after;
        }
        if random.chance(100) {
            self.settings.gateway.messages_kept = random.spread(1, 200) as u32;
        }
    }

    /// The vendors that may carry a message, as a set of bits. Addresses are compared without a leading plus.
    pub(crate) fn vendors_for(&self, customer: usize, source: &[u8], dest: &[u8]) -> u64 {
        let (source, dest) = (without_plus(source), without_plus(dest));
        let matches = |rule: &&Rule| {
            rule.customer.is_none_or(|only| only == customer)
                && rule.dest.as_ref().is_none_or(|pattern| pattern.is_match(dest))
                && rule.source.as_ref().is_none_or(|pattern| pattern.is_match(source))
        };
        self.rules.iter().filter(matches).fold(0, |set, rule| set | 1 << rule.vendor)
    }

    /// The customer to whom MO for that number go.
    pub(crate) fn inbound_customer(&self, did: &[u8]) -> Option<usize> {
        let did = without_plus(did);
        let route = self.settings.inbound_routes.iter().find(|route| without_plus(route.did.as_bytes()) == did)?;
        self.customers.iter().position(|plan| plan.system_id == route.smpp_system_id)
    }

    /// Whether that customer may use that source address.
    pub(crate) fn source_allowed(&self, customer: usize, source: &[u8]) -> bool {
        let source = without_plus(source);
        self.settings.customers[customer].allowed_source_addresses.iter().any(|pattern| {
            let pattern = without_plus(pattern.as_bytes());
            match pattern.strip_suffix(b"*") {
                Some(prefix) => source.starts_with(prefix),
                None => source == pattern,
            }
        })
    }
}

/// An address without its leading plus.
pub(crate) fn without_plus(address: &[u8]) -> &[u8] {
    address.strip_prefix(b"+").unwrap_or(address)
}

fn draw_gateway(random: &mut Stream) -> GatewaySettings {
    let enquire_link_ms = if random.chance(800) { random.range(500, 4_000) } else { 0 };
    GatewaySettings {
        node: random.below(256) as u8,
        bind_timeout_ms: random.range(800, 3_000),
        enquire_link_ms,
        inactivity_timeout_ms: if enquire_link_ms > 0 { enquire_link_ms * 3 } else { 0 },
        deliver_window: random.spread(1, 100) as u32,
        relay_deadline_ms: random.range(300, 4_000),
        receipt_hold_ms: random.range(100, 3_000),
        receipt_early_ms: random.range(100, 2_000),
        retry_count: random.range(1, 4) as u32,
        retry_interval_ms: random.range(20, 500),
        ..GatewaySettings::default()
    }
}

fn draw_customer(index: usize, random: &mut Stream) -> CustomerPlan {
    CustomerPlan {
        system_id: format!("customer{index}"),
        password: format!("pass{}", random.below(1000)),
        sessions: random.range(1, 4) as usize,
        mischief: if random.chance(700) { random.range(100, 900) } else { 0 },
        address_allowed: index == 0 || random.chance(900),
    }
}

fn customer_settings(plan: &CustomerPlan, random: &mut Stream) -> CustomerSettings {
    let allowed: Vec<String> = match random.below(3) {
        0 => vec!["*".into()],
        1 => vec!["+1000*".into(), "ACME".into()],
        _ => vec!["1000*".into(), "100".into(), "ACME".into()],
    };
    let limited = random.chance(400);
    CustomerSettings {
        smpp_system_id: plan.system_id.clone(),
        smpp_password: Some(plan.password.clone().into()),
        smpp_allowed_ips: match (plan.address_allowed, random.chance(500)) {
            (true, true) => vec!["10.0.0.0/8".into(), "192.0.2.1".into()],
            (true, false) => Vec::new(),
            (false, _) => vec!["192.0.2.0/24".into()],
        },
        smpp_max_binds: if random.chance(400) { random.range(1, 4) as u32 } else { 0 },
        smpp_throughput: if limited { random.spread(5, 400) as u32 } else { 0 },
        smpp_burst: if limited && random.chance(500) { random.spread(1, 100) as u32 } else { 0 },
        smpp_window: if random.chance(600) { random.spread(1, 100) as u32 } else { 0 },
        message_id_format: *random.pick(&[MessageIdFormat::Uuid, MessageIdFormat::Hex, MessageIdFormat::Decimal]),
        allowed_source_addresses: allowed,
        force_source_address: random.chance(150).then(|| "FORCED".into()),
        ..CustomerSettings::default()
    }
}

fn vendor_settings(index: usize, habits: &VendorHabits, random: &mut Stream) -> VendorSettings {
    VendorSettings {
        instance_name: format!("vendor{index}"),
        host: "vendor.invalid".into(),
        port: 2775,
        username: format!("gateway{index}"),
        password: "secret".into(),
        // Without optional parameters the ids of receipts can only stand in their texts.
        interface_version: match (habits.receipt_id_from, random.below(5)) {
            (ReceiptIdFrom::Text, 0) => 0x33,
            (_, 1) => 0x50,
            _ => 0x34,
        },
        bind_type: *random.pick(&[
            BindType::Transceiver,
            BindType::Transceiver,
            BindType::Transceiver,
            BindType::Transceiver,
            BindType::Transmitter,
            BindType::Receiver,
        ]),
        binds: random.spread(1, 4) as u32,
        window_size: random.spread(1, 100) as u32,
        throughput: if random.chance(400) { random.spread(20, 500) as u32 } else { 0 },
        burst: if random.chance(300) { random.spread(1, 50) as u32 } else { 0 },
        priority: random.below(3) as i32,
        is_primary: random.chance(300),
        response_timeout_ms: random.range(200, 3_000),
        enquire_link_ms: if random.chance(800) { random.range(300, 3_000) } else { 0 },
        bind_timeout_ms: random.range(300, 2_000),
        queue_messages: if random.chance(300) { random.spread(1, 50) } else { random.range(100, 2_000) } as u32,
        queue_bytes: if random.chance(200) { random.spread(500, 20_000) } else { 1_000_000 },
        queue_seconds: if random.chance(300) { random.range(1, 3) as u32 } else { 0 },
        request_receipts: *random.pick(&[RequestReceipts::AsAsked, RequestReceipts::AsAsked, RequestReceipts::Always]),
        message_id_format: habits.response_id,
        receipt_id_format: habits.receipt_id,
        receipt_id_from: habits.receipt_id_from,
        default_data_coding: random.chance(150).then_some(3),
        source_ton: random.chance(150).then_some(5),
        source_npi: random.chance(150).then_some(0),
        dest_ton: random.chance(150).then_some(1),
        dest_npi: random.chance(150).then_some(1),
        service_type: random.chance(150).then(|| "GW".into()),
        long_messages: if random.chance(600) {
            LongMessages::AsSent
        } else {
            *random.pick(&[LongMessages::Udh, LongMessages::Sar, LongMessages::MessagePayload])
        },
        temporary_statuses: vec![TEMPORARY],
        permanent_statuses: vec![PERMANENT],
        ..VendorSettings::default()
    }
}

fn draw_rules(settings: &Settings, random: &mut Stream) -> Vec<RuleSettings> {
    let vendors: Vec<String> = settings.vendors.iter().map(|vendor| vendor.instance_name.clone()).collect();
    let mut rules = Vec::new();
    for (index, vendor) in vendors.iter().enumerate() {
        let dest_pattern = Some(format!("^999{index}"));
        rules.push(RuleSettings { priority: 1, dest_pattern, vendor: vendor.clone(), ..RuleSettings::default() });
    }
    let patterns = ["^44", "^4479.*", "^1.*", r"^\+1555", "^1[25-9]", "^49", "^(33|34)", "^33.*$", "^491500000000$"];
    for _ in 0..random.range(4, 14) {
        let anybody = random.chance(750);
        let customer = (!anybody).then(|| random.pick(&settings.customers).smpp_system_id.clone());
        let anywhere = random.chance(60);
        rules.push(RuleSettings {
            priority: random.below(3) as i32 * 10,
            customer,
            dest_pattern: (!anywhere).then(|| (*random.pick(&patterns)).to_owned()),
            source_pattern: random.chance(150).then(|| "^1000".to_owned()),
            vendor: random.pick(&vendors).clone(),
            weight: random.range(1, 5) as u32,
            is_active: random.chance(930),
            rate_per_msg: None,
        });
    }
    for rule in &mut rules {
        rule.rate_per_msg = vendors.iter().position(|vendor| *vendor == rule.vendor).map(rate_of);
    }
    rules
}

fn reference_rules(settings: &Settings) -> Vec<Rule> {
    // Addresses have lost their plus when rules are compared, so patterns may ask for none.
    let pattern = |text: &Option<String>| {
        text.as_ref().map(|text| Regex::new(&text.replace(r"^\+", "^")).expect("the scenario writes valid patterns"))
    };
    let active = settings.routing_rules.iter().filter(|rule| rule.is_active);
    active
        .map(|rule| Rule {
            customer: rule.customer.as_ref().map(|name| {
                let position = settings.customers.iter().position(|customer| customer.smpp_system_id == *name);
                position.expect("the scenario names its own customers")
            }),
            dest: pattern(&rule.dest_pattern),
            source: pattern(&rule.source_pattern),
            vendor: settings
                .vendors
                .iter()
                .position(|vendor| vendor.instance_name == rule.vendor)
                .expect("the scenario names its own vendors"),
        })
        .collect()
}

fn draw_journal(heal_ms: u64, random: &mut Stream) -> JournalPlan {
    let fastest = random.spread(20, 20_000);
    let mut crashes: Vec<u64> = Vec::new();
    if random.chance(800) {
        crashes.extend((0..random.range(1, 4)).map(|_| random.below(heal_ms)));
    }
    // Some come while the process is still recovering from the one before.
    if let (Some(first), true) = (crashes.first(), random.chance(500)) {
        crashes.push(first + random.spread(1, 1_000));
    }
    let mut full = Vec::new();
    if random.chance(250) {
        full.extend((0..random.range(1, 2)).map(|_| (random.below(heal_ms), random.spread(10, 3_000))));
    }
    JournalPlan {
        segment_bytes: *random.pick(&[64 << 10, 256 << 10, 1 << 20, 8 << 20]),
        write_us: (fastest, fastest + random.spread(1, 50_000)),
        failures: random.fault(300, 200),
        full,
        commit_wait_us: 0,
        reuse: if random.chance(500) { 700 } else { 0 },
        crashes,
        down_ms: random.spread(1, 2_000),
        damage_after: 0,
    }
}

fn draw_commit_wait(random: &mut Stream) -> u32 {
    if random.chance(500) { random.spread(50, 10_000) as u32 } else { 0 }
}

fn draw_weather(random: &mut Stream) -> Weather {
    Weather {
        latency_us: random.spread(5, 20_000),
        jitter_us: random.spread(1, 20_000),
        splits: random.fault(600, 900),
        dribbles: random.fault(300, 300),
        stalls: random.fault(400, 100),
        stall_ms: random.spread(10, 3_000),
        resets: random.fault(400, 5_000),
        kernel_bytes: random.spread(512, 65_536),
    }
}

/// The network once faults are over.
pub(crate) fn fair_weather() -> Weather {
    Weather { latency_us: 200, jitter_us: 100, kernel_bytes: 65_536, ..Weather::default() }
}

/// The three ways in which receipts may carry ids, with the two forms of numbers.
pub(crate) fn draw_id_forms(random: &mut Stream) -> (VendorIdFormat, VendorIdFormat, ReceiptIdFrom) {
    let (response, receipt) = *random.pick(&[
        (VendorIdFormat::Text, VendorIdFormat::Text),
        (VendorIdFormat::Hex, VendorIdFormat::Hex),
        (VendorIdFormat::Hex, VendorIdFormat::Decimal),
        (VendorIdFormat::Decimal, VendorIdFormat::Hex),
        (VendorIdFormat::Decimal, VendorIdFormat::Decimal),
    ]);
    (response, receipt, *random.pick(&[ReceiptIdFrom::Both, ReceiptIdFrom::Text, ReceiptIdFrom::Tlv]))
}
