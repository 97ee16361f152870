//! Vendors added, changed and removed, against a table in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::*;
use crate::attachments::Attachments;
use crate::vendor_table::{VendorFields, VendorTable, VendorTableError, Written, WrittenVendor};

fn named(name: &str) -> WrittenVendor {
    WrittenVendor { id: name.to_owned(), instance_name: name.to_owned() }
}

/// Vendors by their instance_name.
#[derive(Default)]
struct Table(Mutex<BTreeMap<String, VendorFields>>);

impl Table {
    fn with<T>(
        &self,
        id: &str,
        change: impl FnOnce(&mut VendorFields) -> Result<T, VendorTableError>,
    ) -> Result<T, VendorTableError> {
        self.0.lock().unwrap().get_mut(id).ok_or(VendorTableError::NotFound).and_then(change)
    }
}

impl VendorTable for Table {
    fn insert(&self, fields: VendorFields) -> Written<'_> {
        Box::pin(async move {
            let id = fields["instance_name"].as_str().unwrap().to_owned();
            let mut vendors = self.0.lock().unwrap();
            if vendors.contains_key(&id) {
                return Err(VendorTableError::Taken { field: "instance_name" });
            }
            vendors.insert(id.clone(), fields);
            Ok(named(&id))
        })
    }

    fn replace<'a>(&'a self, id: &'a str, fields: VendorFields) -> Written<'a> {
        Box::pin(async move {
            self.with(id, |vendor| {
                *vendor = fields;
                Ok(named(id))
            })
        })
    }

    fn patch<'a>(&'a self, id: &'a str, fields: VendorFields) -> Written<'a> {
        Box::pin(async move {
            if id == "away" {
                return Err(VendorTableError::Unavailable("The database is away.".into()));
            }
            if fields.get("tls_ca").is_some() {
                return Err(VendorTableError::Invalid(vec![("tls_ca".into(), "There is no such file.".into())]));
            }
            self.with(id, |vendor| {
                vendor.extend(fields);
                Ok(named(id))
            })
        })
    }

    fn delete<'a>(&'a self, id: &'a str) -> Written<'a> {
        Box::pin(async move {
            if id == "routed" {
                return Err(VendorTableError::InUse("A routing rule names it.".into()));
            }
            self.0.lock().unwrap().remove(id).map(|_| named(id)).ok_or(VendorTableError::NotFound)
        })
    }
}

fn bench() -> (Bench, Arc<Table>) {
    let table = Arc::new(Table::default());
    let attachments = Attachments { vendor_table: Some(table.clone()), ..Attachments::default() };
    (Bench::start_attached("", attachments), table)
}

const ROW: &str = r#"{"instance_name": "east", "host": "smsc.example", "port": 2775, "binds": 2}"#;

#[test]
fn vendors_in_a_file_cannot_be_changed_here() {
    let bench = Bench::start("");
    for (method, path) in [
        ("POST", "/api/v1/vendors"),
        ("PUT", "/api/v1/vendors/north"),
        ("PATCH", "/api/v1/vendors/north"),
        ("DELETE", "/api/v1/vendors/north"),
    ] {
        let answer = bench.send(method, path, ROW);
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (409, &"vendors_read_only".into()), "{method}");
    }
}

#[test]
fn a_vendor_is_added_changed_and_removed() {
    let (bench, table) = bench();
    let added = bench.post("/api/v1/vendors", ROW);
    assert_eq!(
        (added.status, &added.json()["vendor_id"], &added.json()["version"]),
        (201, &"east".into(), &Value::Null)
    );
    assert_eq!(bench.send("PATCH", "/api/v1/vendors/east", r#"{"window_size": 50, "display_name": null}"#).status, 200);
    {
        let vendors = table.0.lock().unwrap();
        assert_eq!((&vendors["east"]["window_size"], &vendors["east"]["binds"]), (&json!(50), &json!(2)));
    }
    let replaced = r#"{"instance_name": "east", "host": "other.example", "port": 2776}"#;
    assert_eq!(bench.send("PUT", "/api/v1/vendors/east", replaced).status, 200);
    assert!(table.0.lock().unwrap()["east"].get("binds").is_none());
    assert_eq!(bench.send("DELETE", "/api/v1/vendors/east", "").status, 200);
    assert_eq!(bench.send("DELETE", "/api/v1/vendors/east", "").status, 404);
}

#[test]
fn every_field_that_is_wrong_is_named() {
    let (bench, table) = bench();
    let answer = bench.post("/api/v1/vendors", r#"{"instance_name": "", "port": 0, "nothing": 1, "use_tls": "yes"}"#);
    let mut fields: Vec<String> = answer.json()["error"]["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| fault["field"].as_str().unwrap().to_owned())
        .collect();
    fields.sort();
    assert_eq!((answer.status, fields.join(" ").as_str()), (400, "host instance_name nothing port use_tls"));
    assert!(table.0.lock().unwrap().is_empty());
    assert_eq!(bench.send("PATCH", "/api/v1/vendors/east", "{}").status, 400);
    assert_eq!(bench.send("PATCH", "/api/v1/vendors/east", "[]").status, 400);
}

#[test]
fn what_only_the_table_knows_is_told_too() {
    let (bench, _) = bench();
    assert_eq!(bench.post("/api/v1/vendors", ROW).status, 201);
    let taken = bench.post("/api/v1/vendors", ROW);
    assert_eq!((taken.status, &taken.json()["error"]["fields"][0]["field"]), (409, &"instance_name".into()));
    for (method, path, body, status, code) in [
        ("PATCH", "/api/v1/vendors/nobody", r#"{"port": 1}"#, 404, "not_found"),
        ("PATCH", "/api/v1/vendors/east", r#"{"tls_ca": "x.pem"}"#, 400, "invalid_field"),
        ("PATCH", "/api/v1/vendors/away", r#"{"port": 1}"#, 503, "table_unavailable"),
        ("DELETE", "/api/v1/vendors/routed", "", 409, "in_use"),
    ] {
        let answer = bench.send(method, path, body);
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (status, &code.into()), "{method} {path}");
    }
}
