//! The file read again while the gateway runs: what is wrong with one row keeps only that row back.
//!
//! Runs on a thread that may wait. Must never take what is wrong for a reason to change anything else.

use std::path::Path;

use super::{ConfigError, Configuration, Fault, sections};
use crate::live::{Loaded, RowFault, RowKeys};

/// Tables whose rows stand for themselves.
const TABLES: [&str; 4] = ["customers", "vendors", "routing_rules", "inbound_routes"];

/// What the file holds now.
#[derive(Clone, Debug)]
pub struct Reread {
    /// All of it. What is wrong in it has its default, or what could be read of it, in its place.
    pub configuration: Configuration,
    /// Its rows.
    pub loaded: Loaded,
}

/// Reads the file and the environment again. Rows are not compiled: see [`crate::live::InForce::succeed`].
///
/// # Errors
/// What keeps the file from being read at all: it is not there, or not TOML.
pub fn reread(path: &Path) -> Result<Reread, ConfigError> {
    let text = super::read_text(path)?;
    reread_with(path, &text, &super::environment_variable)
}

/// [`reread`] with the file's text already read.
///
/// # Errors
/// As [`reread`].
pub fn reread_with(
    path: &Path,
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Reread, ConfigError> {
    let mut faults = Vec::new();
    let Some(configuration) = sections::read(path, text, environment, false, &mut faults) else {
        return Err(ConfigError::new(faults));
    };
    let keys = configuration.row_keys();
    let nameless = TABLES.into_iter().filter(|table| has_nameless(table, &keys, &faults)).collect();
    let faults = faults.iter().map(|fault| row_fault(fault, &keys)).collect();
    let loaded = Loaded { settings: configuration.settings.clone(), keys, faults, nameless };
    Ok(Reread { configuration, loaded })
}

impl Configuration {
    /// By what name the operator knows each row: its own, or `line N`.
    pub fn row_keys(&self) -> RowKeys {
        let key = |table: &'static str, index: usize, name: &str| match name {
            "" => format!("line {}", self.locations.line(table, index, "").unwrap_or_default()),
            name => name.to_owned(),
        };
        let settings = &self.settings;
        let customers = settings.customers.iter().enumerate();
        let vendors = settings.vendors.iter().enumerate();
        let inbound = settings.inbound_routes.iter().enumerate();
        RowKeys {
            customers: customers.map(|(index, row)| key("customers", index, &row.smpp_system_id)).collect(),
            vendors: vendors.map(|(index, row)| key("vendors", index, &row.instance_name)).collect(),
            routing_rules: (0..settings.routing_rules.len()).map(|index| key("routing_rules", index, "")).collect(),
            inbound_routes: inbound.map(|(index, row)| key("inbound_routes", index, &row.did)).collect(),
            are_lines: true,
        }
    }
}

fn keys_of<'k>(table: &str, keys: &'k RowKeys) -> &'k [String] {
    match table {
        "customers" => &keys.customers,
        "vendors" => &keys.vendors,
        "routing_rules" => &keys.routing_rules,
        "inbound_routes" => &keys.inbound_routes,
        _ => &[],
    }
}

fn row_fault(fault: &Fault, keys: &RowKeys) -> RowFault {
    let reason = format!("{}; {}", fault.reason, fault.cure);
    match &fault.row {
        Some(row) => {
            let key = keys_of(row.table, keys).get(row.index).cloned().unwrap_or_default();
            RowFault { table: row.table, key, column: row.key.clone(), reason }
        }
        None => RowFault { table: "configuration", key: fault.key.clone(), column: String::new(), reason },
    }
}

/// Whether a row of that table is wrong and does not say which one it is.
fn has_nameless(table: &str, keys: &RowKeys, faults: &[Fault]) -> bool {
    table != "routing_rules"
        && faults.iter().filter_map(|fault| fault.row.as_ref()).any(|row| {
            row.table == table && keys_of(table, keys).get(row.index).is_some_and(|key| key.starts_with("line "))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reread_text(text: &str) -> Result<Reread, ConfigError> {
        reread_with(Path::new("gateway.toml"), text, &|_| None)
    }

    #[test]
    fn a_wrong_value_is_a_fault_of_its_row_and_a_wrong_section_one_of_its_own() {
        let text = "[gateway]\nretry_count = \"x\"\n[[vendors]]\ninstance_name = \"north\"\nport = 70000\n";
        let faults = reread_text(text).unwrap().loaded.faults;
        let told: Vec<_> =
            faults.iter().map(|fault| (fault.table, fault.key.as_str(), fault.column.as_str())).collect();
        assert_eq!(told, [("gateway", "", "retry_count"), ("vendors", "north", "port")]);
        assert!(faults[1].reason.starts_with("is integer `70000`, which is out of range; "), "{}", faults[1].reason);
    }

    #[test]
    fn a_wrong_row_without_a_name_is_told_by_its_line() {
        let loaded = reread_text("[[vendors]]\ninstancename = \"north\"\n").unwrap().loaded;
        assert_eq!((loaded.faults[0].key.as_str(), loaded.nameless.as_slice()), ("line 1", ["vendors"].as_slice()));
    }

    #[test]
    fn a_file_that_is_not_toml_is_refused_as_a_whole() {
        assert!(reread_text("[[vendors]\n").unwrap_err().to_string().contains("this is not TOML"));
    }
}
