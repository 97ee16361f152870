//! From a table's row to a setting: a column is the setting of the same name, and what is wrong with a row is said of
//! that row alone.
//!
//! Used on the control thread. Must never put a password or hash into a reason.

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use serde_json::Value;
use smpp_shards::Settings;
use smpp_shards::settings::{CustomerSettings, GatewaySettings, InboundRouteSettings, RuleSettings, VendorSettings};

use super::tables::{Row, Tables};
use crate::config::{bcrypt_fault, explain, field_names};
use crate::live::{Loaded, RowFault};
use crate::secrets::{KeyRing, is_encrypted};

/// smpp_max_binds where a row has none, or 0.
const MAX_BINDS_DEFAULT: u32 = 2;

/// smpp_throughput where a row has none, or 0.
const THROUGHPUT_DEFAULT: u32 = 100;

/// Which rows of the table of vendors are vendors: for a statement that calls it `vendor`, what [`is_smpp_vendor`] is for a
/// row. A view of somebody's own may lack the column.
pub(super) const IS_SMPP_VENDOR: &str = "lower(coalesce(to_jsonb(vendor) ->> 'provider_type', 'smpp')) = 'smpp'";

/// Columns whose values must never be shown.
const SECRETS: [&str; 2] = ["password", "smpp_password_hash"];

/// Columns with one of a few words, in which the case of letters does not count.
const WORDS: [&str; 8] = [
    "bind_type",
    "request_receipts",
    "message_id_format",
    "receipt_id_format",
    "receipt_id_from",
    "long_messages",
    "delivery_method",
    "auth_type",
];

/// What the tables say.
pub(super) struct Reading {
    /// For the reloader.
    pub(super) loaded: Loaded,
    /// Vendors whose password stands in plain text.
    pub(super) plain_passwords: Vec<String>,
}

/// Reads all rows.
pub(super) fn read(tables: &Tables, gateway: &GatewaySettings, keys: &KeyRing) -> Reading {
    let [customers, vendors, rules, inbound] = &tables.rows;
    let mut reader = Reader {
        loaded: Loaded { settings: Settings { gateway: gateway.clone(), ..Settings::default() }, ..Loaded::default() },
        plain_passwords: Vec::new(),
        keys,
    };
    let names = Names::of(customers, vendors);
    sorted(customers, "customers").for_each(|row| reader.customer(row));
    sorted(vendors, "vendors").for_each(|row| reader.vendor(row));
    sorted(rules, "routing_rules").for_each(|row| reader.rule(row, &names));
    sorted(inbound, "inbound_routes").for_each(|row| reader.inbound(row, &names));
    Reading { loaded: reader.loaded, plain_passwords: reader.plain_passwords }
}

/// By what name the operator knows a row.
pub(super) fn key_of(table: &str, row: &Row) -> String {
    let column = match table {
        "customers" => "smpp_system_id",
        "vendors" => "instance_name",
        "inbound_routes" => "did",
        _ => "id",
    };
    text(row, column).or_else(|| text(row, "id").map(|id| format!("id {id}"))).unwrap_or_else(|| "(no name)".to_owned())
}

/// In the order of their names, so that every start of every node sees the same one. Numbers go by their value.
fn sorted<'r>(rows: &'r [Row], table: &str) -> impl Iterator<Item = &'r Row> {
    let mut keyed: Vec<((Option<i64>, String), &Row)> = rows
        .iter()
        .map(|row| {
            ((row.get("id").and_then(Value::as_i64).filter(|_| table == "routing_rules"), key_of(table, row)), row)
        })
        .collect();
    keyed.sort_by(|one, other| one.0.cmp(&other.0));
    keyed.into_iter().map(|(_, row)| row)
}

/// Who is meant by an id.
struct Names {
    /// By account_id and by id: the smpp_system_id; `None` for accounts without SMPP.
    customers: HashMap<String, Option<String>>,
    /// By id and by instance_name; `None` for providers that are not SMPP.
    vendors: HashMap<String, Option<String>>,
}

impl Names {
    /// Rows that turn out to be faulty count too, for their last good version has the same name.
    fn of(customers: &[Row], vendors: &[Row]) -> Self {
        let mut names = Self { customers: HashMap::new(), vendors: HashMap::new() };
        for row in customers {
            let name = text(row, "smpp_system_id").filter(|_| binds_by_smpp(row));
            for column in ["id", "account_id"] {
                names.customers.extend(text(row, column).map(|id| (id, name.clone())));
            }
        }
        for row in vendors {
            let name = text(row, "instance_name");
            let known = name.clone().filter(|_| is_smpp_vendor(row));
            names.vendors.extend(text(row, "id").map(|id| (id, known.clone())));
            names.vendors.extend(name.map(|name| (name, known)));
        }
        names
    }
}

fn binds_by_smpp(row: &Row) -> bool {
    text(row, "auth_type").is_none_or(|kind| kind != "api_key")
}

fn is_smpp_vendor(row: &Row) -> bool {
    text(row, "provider_type").is_none_or(|kind| kind.eq_ignore_ascii_case("smpp"))
}

/// A column as text, whatever its type; `None` where it is null or not there.
fn text(row: &Row, column: &str) -> Option<String> {
    match row.get(column)? {
        Value::String(text) if WORDS.contains(&column) => Some(text.trim().to_ascii_lowercase()),
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        other => Some(other.to_string()),
    }
}

struct Reader<'a> {
    loaded: Loaded,
    plain_passwords: Vec<String>,
    keys: &'a KeyRing,
}

impl Reader<'_> {
    fn customer(&mut self, row: &Row) {
        const TABLE: &str = "customers";
        let key = key_of(TABLE, row);
        match text(row, "auth_type").as_deref() {
            Some("api_key") => return,
            None | Some("smpp" | "both") => {}
            Some(other) => {
                let reason = format!("is {other:?}; write API_KEY, SMPP or BOTH");
                return self.fault(TABLE, key, "auth_type", reason);
            }
        }
        let mut row = row.clone();
        // An account may be known by a number or a UUID.
        if let Some(account) = text(&row, "account_id") {
            row.insert("account_id".to_owned(), Value::String(account));
        }
        // Only hashes are kept in the table, whatever else is in it.
        row.remove("smpp_password");
        let Some(mut customer) = self.settings::<CustomerSettings>(TABLE, &key, &row) else { return };
        if let Some((reason, cure)) = customer.smpp_password_hash.as_deref().and_then(bcrypt_fault) {
            return self.fault(TABLE, key, "smpp_password_hash", format!("{reason}; {cure}"));
        }
        for (limit, default) in
            [(&mut customer.smpp_max_binds, MAX_BINDS_DEFAULT), (&mut customer.smpp_throughput, THROUGHPUT_DEFAULT)]
        {
            if *limit == 0 {
                *limit = default;
            }
        }
        self.loaded.settings.customers.push(customer);
        self.loaded.keys.customers.push(key);
    }

    fn vendor(&mut self, row: &Row) {
        const TABLE: &str = "vendors";
        if !is_smpp_vendor(row) {
            return;
        }
        let key = key_of(TABLE, row);
        let Some(mut vendor) = self.settings::<VendorSettings>(TABLE, &key, row) else { return };
        vendor.id = text(row, "id");
        if is_encrypted(&vendor.password) {
            match self.keys.decrypt(&vendor.password) {
                Ok(password) => vendor.password = password.into(),
                Err(error) => {
                    return self.fault(TABLE, key, "password", format!("cannot be decrypted: {error}"));
                }
            }
        } else if !vendor.password.is_empty() {
            self.plain_passwords.push(key.clone());
        }
        self.loaded.settings.vendors.push(vendor);
        self.loaded.keys.vendors.push(key);
    }

    fn rule(&mut self, row: &Row, names: &Names) {
        const TABLE: &str = "routing_rules";
        let key = key_of(TABLE, row);
        let Some(mut rule) = self.settings::<RuleSettings>(TABLE, &key, row) else { return };
        if let Some(id) = text(row, "customer_id") {
            match names.customers.get(&id) {
                // It is about an account that sends by other ways than SMPP.
                Some(None) => return,
                Some(name) => rule.customer = name.clone(),
                None => {
                    let reason = format!("is {id:?}, which no row of customer_sms_auth has as its account_id");
                    return self.fault(TABLE, key, "customer_id", reason);
                }
            }
        }
        let id = text(row, "vendor_id").unwrap_or_default();
        match names.vendors.get(&id) {
            Some(Some(name)) => rule.vendor = name.clone(),
            Some(None) => {
                let reason = format!("is {id:?}, whose provider_type is not smpp");
                return self.fault(TABLE, key, "vendor_id", reason);
            }
            None => {
                let reason = match id.as_str() {
                    "" => "is left out; name a vendor by its id".to_owned(),
                    id => format!("is {id:?}, and there is no vendor of that id"),
                };
                return self.fault(TABLE, key, "vendor_id", reason);
            }
        }
        self.loaded.settings.routing_rules.push(rule);
        self.loaded.keys.routing_rules.push(key);
    }

    fn inbound(&mut self, row: &Row, names: &Names) {
        const TABLE: &str = "inbound_routes";
        let key = key_of(TABLE, row);
        if let Some(method @ ("webhook" | "email" | "storage")) = text(row, "delivery_method").as_deref() {
            if row.get("active") != Some(&Value::Bool(false)) {
                let reason = format!("is {method:?}, which is not served by this version yet; write smpp");
                self.fault(TABLE, key, "delivery_method", reason);
            }
            return;
        }
        let mut row = row.clone();
        if text(&row, "smpp_system_id").is_none_or(|name| name.is_empty())
            && let Some(name) = text(&row, "account_id").and_then(|account| names.customers.get(&account)?.clone())
        {
            row.insert("smpp_system_id".to_owned(), Value::String(name));
        }
        let Some(route) = self.settings::<InboundRouteSettings>(TABLE, &key, &row) else { return };
        self.loaded.settings.inbound_routes.push(route);
        self.loaded.keys.inbound_routes.push(key);
    }

    /// The columns that are settings. Null is the default; columns of others are passed over.
    fn settings<T: DeserializeOwned>(&mut self, table: &'static str, key: &str, row: &Row) -> Option<T> {
        let known = field_names::<T>();
        let columns = row.iter().filter(|(column, value)| known.contains(&column.as_str()) && !value.is_null());
        let columns: Row = columns
            .map(|(column, value)| match value {
                Value::String(word) if WORDS.contains(&column.as_str()) => {
                    (column.clone(), Value::String(word.trim().to_ascii_lowercase()))
                }
                value => (column.clone(), value.clone()),
            })
            .collect();
        if let Ok(settings) = serde_json::from_value(Value::Object(columns.clone())) {
            return Some(settings);
        }
        for (column, value) in columns {
            let alone = Row::from_iter([(column.clone(), value)]);
            if let Err(error) = serde_json::from_value::<T>(Value::Object(alone)) {
                let reason = match SECRETS.contains(&column.as_str()) {
                    true => "is not text".to_owned(),
                    false => {
                        let (reason, cure) = explain(&error.to_string());
                        format!("{reason}; {cure}")
                    }
                };
                self.fault(table, key.to_owned(), &column, reason);
            }
        }
        None
    }

    fn fault(&mut self, table: &'static str, key: String, column: &str, reason: String) {
        self.loaded.faults.push(RowFault { table, key, column: column.to_owned(), reason });
    }
}
