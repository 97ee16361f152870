//! The settings from which a snapshot is built. Field names are the TOML keys and the table columns.
//!
//! Plain values as an operator writes them; nothing is checked here but names and types. What they mean and
//! what is wrong with them is [`crate::snapshot`]'s business.

use serde::Deserialize;

use crate::amount::Amount;

/// Everything a shard is told.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Settings {
    /// `[gateway]` and `[smpp]`, as far as shards care.
    pub gateway: GatewaySettings,
    /// `[[customers]]`.
    pub customers: Vec<CustomerSettings>,
    /// `[[vendors]]`.
    pub vendors: Vec<VendorSettings>,
    /// `[[routing_rules]]`.
    pub routing_rules: Vec<RuleSettings>,
    /// `[[inbound_routes]]`.
    pub inbound_routes: Vec<InboundRouteSettings>,
}

/// `[gateway] accept`: when a submit_sm is answered ESME_ROK.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accept {
    /// When it is on stable storage.
    #[default]
    Journal,
    /// When the vendor has said so.
    Relay,
}

/// What holds for the whole gateway. The control crate fills it from `[gateway]`, `[smpp]` and `[statuses]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewaySettings {
    /// The short number derived from `node_id`, 0 to 255; part of every message id as a hint.
    pub node: u8,
    /// `[smpp] system_id`: how the gateway names itself in bind responses; at most 15 octets.
    pub system_id: String,
    /// `[smpp] bind_timeout_ms`: from accept to a finished bind.
    pub bind_timeout_ms: u64,
    /// `[smpp] enquire_link_ms`: a customer session that was silent that long is sent enquire_link; 0 is never.
    pub enquire_link_ms: u64,
    /// `[smpp] inactivity_timeout_ms`: a customer session from which nothing at all (answers to enquire_link
    /// included) came for that long is unbound and closed; 0 is never.
    pub inactivity_timeout_ms: u64,
    /// `[smpp] deliver_window`: unanswered deliver_sm per customer session.
    pub deliver_window: u32,
    /// `[gateway] relay_deadline_ms`: a submit is answered within that.
    pub relay_deadline_ms: u64,
    /// `[gateway] receipt_hold_ms`: a receipt waits that long for its customer's answer, then ESME_RX_T_APPN.
    pub receipt_hold_ms: u64,
    /// `[gateway] receipt_early_ms`: a receipt waits at most that long for the submit_sm_resp that names its message; less
    /// when every submit that was open when it came has been answered.
    pub receipt_early_ms: u64,
    /// `[gateway] receipts_awaited`: messages for which receipts are awaited, per shard; the oldest is forgotten
    /// beyond it.
    pub receipts_awaited: u32,
    /// `[gateway] validity_hours`: how long the journal keeps a message without a validity_period, and a receipt or MO for
    /// a customer that does not come.
    pub validity_hours: u32,
    /// `[gateway] messages_kept`: messages in the journal that have not reached their end, per shard; beyond it new ones are
    /// refused.
    pub messages_kept: u32,
    /// `[gateway] receipts_kept`: receipts and MO in the journal that their customers have not taken, per shard; beyond it
    /// vendors keep them.
    pub receipts_kept: u32,
    /// `[gateway] unknown_outcome_retries`: how often a kept message whose outcome is unknown is sent to the same vendor
    /// again before the next vendor gets it.
    pub unknown_outcome_retries: u32,
    /// `[gateway] late_answer_ms`: for so long after the response timer a vendor's late answer still settles its message; 0 is
    /// never.
    pub late_answer_ms: u64,
    /// `[gateway] retry_count`: tries at one vendor.
    pub retry_count: u32,
    /// `[gateway] retry_interval_ms`: from one try to the next.
    pub retry_interval_ms: u64,
    /// `[gateway] log_sample`: of so many messages that vendors answer one gets a line of the log, for each shard; 0 is
    /// none.
    pub log_sample: u32,
    /// `[statuses]`.
    pub statuses: StatusSettings,
    /// `[auth]`.
    pub auth: AuthSettings,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            node: 1,
            system_id: "smpp-gateway".into(),
            bind_timeout_ms: 10_000,
            enquire_link_ms: 30_000,
            inactivity_timeout_ms: 120_000,
            deliver_window: 100,
            relay_deadline_ms: 10_000,
            receipt_hold_ms: 5_000,
            receipt_early_ms: 5_000,
            receipts_awaited: 1 << 20,
            validity_hours: 48,
            messages_kept: 1 << 22,
            receipts_kept: 1 << 18,
            unknown_outcome_retries: 1,
            late_answer_ms: 3_600_000,
            retry_count: 3,
            retry_interval_ms: 500,
            log_sample: 0,
            statuses: StatusSettings::default(),
            auth: AuthSettings::default(),
        }
    }
}

impl GatewaySettings {
    /// `validity_hours` in milliseconds.
    pub const fn validity_ms(&self) -> u64 {
        self.validity_hours as u64 * 3_600_000
    }
}

/// `[statuses]`: the command_status of each refusal (the table of spec.md). Numbers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatusSettings {
    /// The sender is not the customer's. Default ESME_RINVSRCADR 0x0A.
    pub source_not_allowed: u32,
    /// No route for the destination. Default ESME_RINVDSTADR 0x0B.
    pub no_route: u32,
    /// The customer's rate or window. Default ESME_RTHROTTLED 0x58.
    pub throttled: u32,
    /// Vendor queues full, no vendor up and no room. Default ESME_RMSGQFUL 0x14.
    pub queue_full: u32,
    /// Draining or configuration lost. Default ESME_RSYSERR 0x08.
    pub unavailable: u32,
    /// Relay: the vendor did not answer in time or its link broke. Default ESME_RUNKNOWNERR 0xFF.
    pub unknown_outcome: u32,
    /// Validity in the past. Default ESME_RINVEXPIRY 0x62.
    pub expired: u32,
    /// Schedules that are not served, or in the past. Default ESME_RINVSCHED 0x61.
    pub schedule: u32,
}

impl Default for StatusSettings {
    fn default() -> Self {
        Self {
            source_not_allowed: 0x0A,
            no_route: 0x0B,
            throttled: 0x58,
            queue_full: 0x14,
            unavailable: 0x08,
            unknown_outcome: 0xFF,
            expired: 0x62,
            schedule: 0x61,
        }
    }
}

/// `[auth]`: what becomes of addresses whose binds keep failing. The control thread's business, no shard's.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthSettings {
    /// Failed binds in a row from one address that are refused at once. Default 2.
    pub failures_undelayed: u32,
    /// By so many milliseconds the next refusal is held back; each one after it twice as long. 0 is never. Default 250.
    pub failure_delay_ms: u64,
    /// No refusal is held back longer; at most 4,000. Default 2,000.
    pub failure_delay_max_ms: u64,
    /// An address from which no bind failed for so many seconds counts as new; 1 to 86,400. Default 600.
    pub failure_forget_seconds: u32,
}

impl Default for AuthSettings {
    fn default() -> Self {
        Self { failures_undelayed: 2, failure_delay_ms: 250, failure_delay_max_ms: 2_000, failure_forget_seconds: 600 }
    }
}

/// A password in plain text. It reads like any string, and is never printed.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl From<&str> for Password {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl core::ops::Deref for Password {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl core::fmt::Debug for Password {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Password(..)")
    }
}

/// The form of the message ids that a customer sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageIdFormat {
    /// 36 characters.
    #[default]
    Uuid,
    /// 16 hexadecimal digits.
    Hex,
    /// At most 19 decimal digits.
    Decimal,
}

/// One of `[[customers]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CustomerSettings {
    /// The account that metrics and records name; the system_id where it is left out.
    pub account_id: Option<String>,
    /// Who binds; 1 to 15 octets, unique.
    pub smpp_system_id: String,
    /// bcrypt hash. One of this and `smpp_password`.
    pub smpp_password_hash: Option<String>,
    /// Plain text, for laptops.
    pub smpp_password: Option<Password>,
    /// Addresses and networks (`10.0.0.0/8`) that may bind; empty is any.
    pub smpp_allowed_ips: Vec<String>,
    /// SHA-256 fingerprints of TLS client certificates, 64 hexadecimal digits, colons between them or not.
    pub tls_client_certificate_sha256: Vec<String>,
    /// Domain names for which a TLS client certificate may be made out. Where this or the list before it is not empty, a bind
    /// must come over TLS with a certificate that is in one of the two.
    pub tls_client_certificate_names: Vec<String>,
    /// Binds at one time; 0 is no limit.
    pub smpp_max_binds: u32,
    /// Messages a second over all binds; 0 is no limit.
    pub smpp_throughput: u32,
    /// Messages that may come at once; 0 is one second's worth.
    pub smpp_burst: u32,
    /// Unanswered submits per bind; 0 is the gateway's own bound.
    pub smpp_window: u32,
    /// How message ids look.
    pub message_id_format: MessageIdFormat,
    /// Exact, prefix with a final `*`, or `*` alone for any; empty allows none.
    pub allowed_source_addresses: Vec<String>,
    /// Replaces the source address of every message.
    pub force_source_address: Option<String>,
    /// Whether it may bind.
    pub active: bool,
}

impl Default for CustomerSettings {
    fn default() -> Self {
        Self {
            account_id: None,
            smpp_system_id: String::new(),
            smpp_password_hash: None,
            smpp_password: None,
            smpp_allowed_ips: Vec::new(),
            tls_client_certificate_sha256: Vec::new(),
            tls_client_certificate_names: Vec::new(),
            smpp_max_binds: 0,
            smpp_throughput: 0,
            smpp_burst: 0,
            smpp_window: 0,
            message_id_format: MessageIdFormat::Uuid,
            allowed_source_addresses: Vec::new(),
            force_source_address: None,
            active: true,
        }
    }
}

/// What a bind to a vendor is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BindType {
    /// Submits and receipts over one bind.
    #[default]
    Transceiver,
    /// Submits only.
    Transmitter,
    /// Receipts and MO only.
    Receiver,
}

/// When receipts are asked of a vendor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestReceipts {
    /// When the customer asked.
    #[default]
    AsAsked,
    /// For every message.
    Always,
}

/// The form in which a vendor writes a message id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VendorIdFormat {
    /// As it stands; letter case and leading zeros do not count.
    #[default]
    Text,
    /// A hexadecimal number.
    Hex,
    /// A decimal number.
    Decimal,
}

/// Where a vendor's receipts carry the message id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptIdFrom {
    /// receipted_message_id where it is there, else the text.
    #[default]
    Both,
    /// The text alone.
    Text,
    /// The receipted_message_id TLV alone.
    Tlv,
}

/// How concatenated messages go to a vendor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LongMessages {
    /// As the customer sent them.
    #[default]
    AsSent,
    /// A user data header in front of the text. What stands in message_payload is cut into as many short messages as it needs.
    Udh,
    /// The sar_* TLVs; message_payload as with `Udh`.
    Sar,
    /// message_payload instead of short_message.
    MessagePayload,
}

/// One of `[[vendors]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VendorSettings {
    /// The row's id, where the source has one: what the platform calls this vendor. No key of a file, and never what a place,
    /// a record or a rule is found by: those go by the name.
    #[serde(skip)]
    pub id: Option<String>,
    /// Unique name; what routing rules call it.
    pub instance_name: String,
    /// For people.
    pub display_name: Option<String>,
    /// Name or address.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
    /// system_id for the bind; at most 15 octets.
    pub username: String,
    /// At most 64 octets (the specification's limit is 8).
    pub password: Password,
    /// At most 12 octets.
    pub system_type: String,
    /// 0x33, 0x34 (default) or 0x50.
    pub interface_version: u8,
    /// What the binds are for.
    pub bind_type: BindType,
    /// How many at one time, 1 to 64.
    pub binds: u32,
    /// TLS towards the vendor.
    pub use_tls: bool,
    /// Whether the vendor's certificate is checked.
    pub tls_verify: bool,
    /// PEM file of the authority that signed it; the system's where it is left out.
    pub tls_ca: Option<String>,
    /// Unanswered submits per bind, 1 to 65536.
    pub window_size: u32,
    /// Messages a second over all binds; 0 is no limit.
    pub throughput: u32,
    /// Messages that may go at once; 0 is one second's worth.
    pub burst: u32,
    /// Lower is tried first among vendors that rules rank alike.
    pub priority: i32,
    /// Tried before those that are not, among vendors that rules rank alike.
    pub is_primary: bool,
    /// Whether it is used at all.
    pub is_active: bool,
    /// From the submit to the vendor's answer; then the outcome is unknown.
    pub response_timeout_ms: u64,
    /// A link that was silent that long is sent enquire_link; 0 is never.
    pub enquire_link_ms: u64,
    /// From the TCP connection's start to the bind's answer.
    pub bind_timeout_ms: u64,
    /// Messages that may wait for this vendor.
    pub queue_messages: u32,
    /// Octets that may wait for this vendor.
    pub queue_bytes: u64,
    /// Seconds that a message may wait for this vendor; 0 leaves it to the message's own deadline.
    pub queue_seconds: u32,
    /// When receipts are asked.
    pub request_receipts: RequestReceipts,
    /// Message ids in submit_sm_resp.
    pub message_id_format: VendorIdFormat,
    /// Message ids in receipts.
    pub receipt_id_format: VendorIdFormat,
    /// Where receipts carry the message id.
    pub receipt_id_from: ReceiptIdFrom,
    /// Replaces data_coding 0.
    pub default_data_coding: Option<u8>,
    /// Replaces source_addr_ton.
    pub source_ton: Option<u8>,
    /// Replaces source_addr_npi.
    pub source_npi: Option<u8>,
    /// Replaces dest_addr_ton.
    pub dest_ton: Option<u8>,
    /// Replaces dest_addr_npi.
    pub dest_npi: Option<u8>,
    /// Replaces service_type; at most 5 octets.
    pub service_type: Option<String>,
    /// The form of concatenated messages.
    pub long_messages: LongMessages,
    /// command_status values that count as refused for now, besides the built-in ones.
    pub temporary_statuses: Vec<u32>,
    /// command_status values that count as refused for good, whatever the built-in table says.
    pub permanent_statuses: Vec<u32>,
}

impl Default for VendorSettings {
    fn default() -> Self {
        Self {
            id: None,
            instance_name: String::new(),
            display_name: None,
            host: String::new(),
            port: 0,
            username: String::new(),
            password: Password::default(),
            system_type: String::new(),
            interface_version: 0x34,
            bind_type: BindType::Transceiver,
            binds: 1,
            use_tls: false,
            tls_verify: true,
            tls_ca: None,
            window_size: 100,
            throughput: 0,
            burst: 0,
            priority: 100,
            is_primary: false,
            is_active: true,
            response_timeout_ms: 10_000,
            enquire_link_ms: 30_000,
            bind_timeout_ms: 10_000,
            queue_messages: 100_000,
            queue_bytes: 64 * 1024 * 1024,
            queue_seconds: 0,
            request_receipts: RequestReceipts::AsAsked,
            message_id_format: VendorIdFormat::Text,
            receipt_id_format: VendorIdFormat::Text,
            receipt_id_from: ReceiptIdFrom::Both,
            default_data_coding: None,
            source_ton: None,
            source_npi: None,
            dest_ton: None,
            dest_npi: None,
            service_type: None,
            long_messages: LongMessages::AsSent,
            temporary_statuses: Vec::new(),
            permanent_statuses: Vec::new(),
        }
    }
}

impl VendorSettings {
    /// What metrics, log and control port call it: the row's id, or instance_name where there is none.
    pub fn vendor_id(&self) -> &str {
        self.id.as_deref().unwrap_or(&self.instance_name)
    }
}

/// One of `[[routing_rules]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleSettings {
    /// Lower is tried first.
    pub priority: i32,
    /// A customer's smpp_system_id; left out: all customers.
    pub customer: Option<String>,
    /// Regular expression over the destination address; left out: any.
    pub dest_pattern: Option<String>,
    /// Regular expression over the source address; left out: any.
    pub source_pattern: Option<String>,
    /// A vendor's instance_name.
    pub vendor: String,
    /// Share among rules of one priority, 1 and up.
    pub weight: u32,
    /// What each short message costs that goes this way; left out: nothing.
    pub rate_per_msg: Option<Amount>,
    /// Whether it counts.
    pub is_active: bool,
}

impl Default for RuleSettings {
    fn default() -> Self {
        Self {
            priority: 100,
            customer: None,
            dest_pattern: None,
            source_pattern: None,
            vendor: String::new(),
            weight: 1,
            rate_per_msg: None,
            is_active: true,
        }
    }
}

/// How MO reach a customer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryMethod {
    /// deliver_sm to a receiver-capable bind.
    #[default]
    Smpp,
}

/// One of `[[inbound_routes]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InboundRouteSettings {
    /// The number to which MO come, as vendors write it; a leading `+` does not count.
    pub did: String,
    /// How they go on.
    pub delivery_method: DeliveryMethod,
    /// The customer to whom.
    pub smpp_system_id: String,
    /// Whether it counts.
    pub active: bool,
}

impl Default for InboundRouteSettings {
    fn default() -> Self {
        Self { did: String::new(), delivery_method: DeliveryMethod::Smpp, smpp_system_id: String::new(), active: true }
    }
}
