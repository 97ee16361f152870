//! Vendors added, changed and removed: checked field by field here, written by the table behind [`VendorTable`].
//!
//! Where a file holds the vendors there is no table, and every change is answered 409.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use smpp_shards::settings::VendorSettings;
use smpp_shards::{Settings, Snapshot};

use super::admin;
use super::answer::{self, Answer, FieldFault, Refusal};
use super::call::Call;
use crate::secrets::is_encrypted;
use crate::vendor_table::{VendorFields, VendorTable, VendorTableError, Written, WrittenVendor};

/// Columns without which there is no vendor.
const REQUIRED: [&str; 3] = ["instance_name", "host", "port"];

/// Octets of a password that is encrypted, at the most.
const ENCRYPTED_MAX: usize = 256;

/// What a text may be, for the document: PostgreSQL and SMPP know no NUL.
const NO_NUL: &str = r"^[^\u0000]*$";

/// How long the table may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The columns of a vendor, as spec.md and deploy/gateway.toml have them. Only those that are given are written.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(default)]
pub(super) struct VendorRow {
    /// Unique; what routing rules and metrics call it.
    #[schemars(length(min = 1, max = 64), regex(pattern = NO_NUL))]
    instance_name: Option<String>,
    /// For people.
    #[schemars(regex(pattern = NO_NUL))]
    display_name: Option<String>,
    /// Name or address.
    #[schemars(length(min = 1, max = 253), regex(pattern = NO_NUL))]
    host: Option<String>,
    #[schemars(range(min = 1, max = 65535))]
    port: Option<u16>,
    /// The system_id of the bind.
    #[schemars(length(max = 15), regex(pattern = NO_NUL))]
    username: Option<String>,
    /// Stored encrypted, and never told. What `smpp-gateway encrypt-password` has made may be given too.
    #[schemars(length(max = 64), regex(pattern = NO_NUL))]
    password: Option<String>,
    #[schemars(length(max = 12), regex(pattern = NO_NUL))]
    system_type: Option<String>,
    /// 51 (0x33), 52 (0x34) or 80 (0x50).
    #[schemars(extend("enum" = [51, 52, 80]))]
    interface_version: Option<u8>,
    bind_type: Option<BindTypeName>,
    /// At one time.
    #[schemars(range(min = 1, max = 64))]
    binds: Option<u32>,
    use_tls: Option<bool>,
    tls_verify: Option<bool>,
    /// PEM file of the authority that signed its certificate.
    #[schemars(regex(pattern = NO_NUL))]
    tls_ca: Option<String>,
    /// Unanswered submits of one bind.
    #[schemars(range(min = 1, max = 32768))]
    window_size: Option<u32>,
    /// Messages a second over all binds; 0 is no limit.
    #[schemars(range(max = 2_147_483_647))]
    throughput: Option<u32>,
    #[schemars(range(max = 2_147_483_647))]
    burst: Option<u32>,
    priority: Option<i32>,
    is_primary: Option<bool>,
    is_active: Option<bool>,
    #[schemars(range(min = 10, max = 9_223_372_036_854_775_807_u64))]
    response_timeout_ms: Option<u64>,
    #[schemars(range(max = 9_223_372_036_854_775_807_u64))]
    enquire_link_ms: Option<u64>,
    #[schemars(range(min = 10, max = 9_223_372_036_854_775_807_u64))]
    bind_timeout_ms: Option<u64>,
    queue_messages: Option<u32>,
    #[schemars(range(max = 9_223_372_036_854_775_807_u64))]
    queue_bytes: Option<u64>,
    queue_seconds: Option<u32>,
    request_receipts: Option<ReceiptsName>,
    message_id_format: Option<IdFormatName>,
    receipt_id_format: Option<IdFormatName>,
    receipt_id_from: Option<IdFromName>,
    default_data_coding: Option<u8>,
    source_ton: Option<u8>,
    source_npi: Option<u8>,
    dest_ton: Option<u8>,
    dest_npi: Option<u8>,
    #[schemars(length(max = 5), regex(pattern = NO_NUL))]
    service_type: Option<String>,
    long_messages: Option<LongMessagesName>,
    #[schemars(inner(range(min = 1)))]
    temporary_statuses: Option<Vec<u32>>,
    #[schemars(inner(range(min = 1)))]
    permanent_statuses: Option<Vec<u32>>,
}

macro_rules! words {
    ($name:ident { $($word:ident),+ }) => {
        #[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        enum $name { $($word),+ }
    };
}

words!(BindTypeName { Transceiver, Transmitter, Receiver });
words!(ReceiptsName { AsAsked, Always });
words!(IdFormatName { Text, Hex, Decimal });
words!(IdFromName { Both, Text, Tlv });
words!(LongMessagesName { AsSent, Udh, Sar, MessagePayload });

/// The schema of a row in which those columns must be there. Only columns that may be empty take null.
fn row_schema(generator: &mut SchemaGenerator, required: &[&str]) -> Schema {
    let mut schema = VendorRow::json_schema(generator);
    if let Some(Value::Object(columns)) = schema.get_mut("properties") {
        let filled = columns.iter_mut().filter(|(name, _)| check(name, &Value::Null).is_err());
        filled.for_each(|(_, column)| without_null(column));
    }
    schema.insert("required".to_owned(), required.into());
    schema
}

fn without_null(column: &mut Value) {
    let Some(column) = column.as_object_mut() else { return };
    for kinds in ["type", "anyOf"] {
        if let Some(Value::Array(kinds)) = column.get_mut(kinds) {
            kinds.retain(|kind| *kind != "null" && kind.get("type").is_none_or(|kind| *kind != "null"));
        }
    }
}

/// The schema of a row that is added, or replaces another.
pub(super) fn whole_row(generator: &mut SchemaGenerator) -> Schema {
    row_schema(generator, &REQUIRED)
}

/// The schema of columns that are changed.
pub(super) fn some_columns(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = row_schema(generator, &[]);
    schema.insert("minProperties".to_owned(), 1.into());
    schema
}

/// What came of a change.
#[derive(Serialize, JsonSchema)]
pub(super) struct VendorWritten {
    success: bool,
    vendor_id: String,
    /// The version with this change, in force on every shard; null where it comes into force a little later.
    version: Option<u64>,
    /// Why the row is not in force although it is stored, such as a tls_ca that cannot be read; its last good version is.
    faults: Vec<FieldFault>,
}

pub(super) async fn add(call: Call) -> Answer {
    let table = table(&call)?;
    let fields = fields(&call, &REQUIRED)?;
    let vendor = written(table.insert(fields)).await?;
    Ok(answer::json_answer(StatusCode::CREATED, &in_force(&call, vendor).await))
}

pub(super) async fn replace(call: Call) -> Answer {
    let table = table(&call)?;
    let fields = fields(&call, &REQUIRED)?;
    let vendor = written(table.replace(call.variable(), fields)).await?;
    answer::ok(&in_force(&call, vendor).await)
}

pub(super) async fn patch(call: Call) -> Answer {
    let table = table(&call)?;
    let fields = fields(&call, &[])?;
    if fields.is_empty() {
        return Err(Refusal::bad_request("invalid_body", "The body names no field, so that nothing would change."));
    }
    let vendor = written(table.patch(call.variable(), fields)).await?;
    answer::ok(&in_force(&call, vendor).await)
}

pub(super) async fn remove(call: Call) -> Answer {
    let table = table(&call)?;
    let vendor = written(table.delete(call.variable())).await?;
    answer::ok(&in_force(&call, vendor).await)
}

fn table(call: &Call) -> Result<Arc<dyn VendorTable>, Refusal> {
    call.site.attachments.vendor_table.clone().ok_or_else(|| {
        let message = "The vendors stand in the configuration file, which the gateway does not write. Change them there, and \
                       reload.";
        Refusal::new(StatusCode::CONFLICT, "vendors_read_only", message)
    })
}

/// Asks for the change to be read at once. Where that fails it is read later all the same.
async fn in_force(call: &Call, vendor: WrittenVendor) -> VendorWritten {
    let reloaded = admin::ask(&call.site).await.ok();
    let version = reloaded.as_ref().map(|reloaded| reloaded.version);
    let all = reloaded.map(|reloaded| reloaded.faults).unwrap_or_default();
    let own = all.into_iter().filter(|fault| fault.table == "vendors" && fault.key == vendor.instance_name);
    let faults = own.map(|fault| FieldFault { field: fault.column, reason: fault.reason }).collect();
    VendorWritten { success: true, vendor_id: vendor.id, version, faults }
}

async fn written(written: Written<'_>) -> Result<WrittenVendor, Refusal> {
    let outcome = tokio::time::timeout(PATIENCE, written).await;
    let outcome = outcome.unwrap_or_else(|_| {
        let reason = "The table of vendors did not answer in time; whether the change was made is not known.";
        Err(VendorTableError::Unavailable(reason.to_owned()))
    });
    outcome.map_err(|error| match error {
        VendorTableError::NotFound => Refusal::not_found("There is no such vendor."),
        VendorTableError::Taken { field } => {
            let reason = "Another vendor has that value.".to_owned();
            let message = format!("The field {field} is not as it should be. {reason}");
            let fault = FieldFault { field: field.to_owned(), reason };
            Refusal::new(StatusCode::CONFLICT, "taken", message).with_fields(vec![fault])
        }
        VendorTableError::InUse(reason) => Refusal::new(StatusCode::CONFLICT, "in_use", reason),
        VendorTableError::Invalid(faults) => {
            invalid(faults.into_iter().map(|(field, reason)| FieldFault { field, reason }).collect())
        }
        VendorTableError::Unavailable(reason) => Refusal::unavailable("table_unavailable", reason),
    })
}

fn invalid(faults: Vec<FieldFault>) -> Refusal {
    let names: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
    let message = format!("Not as they should be: {}.", names.join(", "));
    Refusal::bad_request("invalid_field", message).with_fields(faults)
}

/// The body's fields, each checked by itself, with those that must be there.
fn fields(call: &Call, required: &[&str]) -> Result<VendorFields, Refusal> {
    let fields: Map<String, Value> = call.json()?;
    let mut faults = Vec::new();
    for name in required.iter().filter(|name| !fields.contains_key(**name)) {
        faults.push(FieldFault { field: (*name).to_owned(), reason: "Is left out.".to_owned() });
    }
    for (name, value) in &fields {
        if let Err(reason) = check(name, value) {
            faults.push(FieldFault { field: name.clone(), reason });
        }
    }
    if faults.is_empty() { Ok(fields) } else { Err(invalid(faults)) }
}

/// Whether a field is known, of the right type, and in range: whatever a snapshot says of a vendor that is all right but for
/// this field. `null` stands for the column's default where there may be none.
fn check(name: &str, value: &Value) -> Result<(), String> {
    // What an encrypted one comes to is the table's to say.
    if name == "password" && value.as_str().is_some_and(|text| is_encrypted(text) && text.len() <= ENCRYPTED_MAX) {
        return Ok(());
    }
    let sentence = |text: &str| format!("{}.", text.trim_end_matches('.'));
    let one = Value::Object(Map::from_iter([(name.to_owned(), value.clone())]));
    let typed: VendorSettings = serde_json::from_value(one).map_err(|error| sentence(&error.to_string()))?;
    let vendor = VendorSettings {
        instance_name: if name == "instance_name" { typed.instance_name.clone() } else { "checked".to_owned() },
        host: if name == "host" { typed.host.clone() } else { "localhost".to_owned() },
        port: if name == "port" { typed.port } else { 1 },
        ..typed
    };
    let settings = Settings { vendors: vec![vendor], ..Settings::default() };
    match Snapshot::build(settings, 1, 1) {
        Ok(_) => Ok(()),
        Err(problems) => {
            let told: Vec<String> = problems.iter().map(|it| format!("{}; {}", it.reason, it.cure)).collect();
            Err(sentence(&told.join("; ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_column_of_the_document_is_one_that_vendors_have() {
        let schema = schemars::schema_for!(VendorRow);
        let columns: Vec<String> = schema.get("properties").unwrap().as_object().unwrap().keys().cloned().collect();
        for column in &columns {
            let complaint = check(column, &json!("#")).err().unwrap_or_default();
            assert!(!complaint.contains("unknown field"), "{complaint}");
        }
        let unknown = check("nothing", &json!(1)).unwrap_err();
        let known = unknown.matches('`').count() / 2 - 1;
        assert_eq!(known, columns.len(), "{unknown}");
    }

    #[test]
    fn a_field_is_checked_by_itself() {
        for (name, good) in [
            ("port", json!(2775)),
            ("host", json!("smsc.example")),
            ("instance_name", json!("north")),
            ("bind_type", json!("receiver")),
            ("temporary_statuses", json!([88])),
            ("interface_version", json!(0x50)),
        ] {
            assert_eq!(check(name, &good), Ok(()), "{name}");
        }
        for (name, bad) in [
            ("port", json!(0)),
            ("port", json!(70_000)),
            ("port", json!("2775")),
            ("host", json!("")),
            ("instance_name", json!("x".repeat(65))),
            ("bind_type", json!("sender")),
            ("binds", json!(65)),
            ("temporary_statuses", json!([0])),
            ("nothing", json!(1)),
            ("password", json!(null)),
        ] {
            assert!(check(name, &bad).unwrap_err().ends_with('.'), "{name}");
        }
    }
}
