//! Tables of a parsed TOML file read into structs, key by key, so that every key that is wrong is told at once
//! and with its line.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde::de::value::Error as PlainError;
use serde::de::{DeserializeOwned, Error as _, Visitor};
use smpp_shards::Problem;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::fault::Fault;
use super::served::{LEAVE_OUT, NOT_YET, is_key_to_come, nearest, value_to_come};

/// Keys whose values must never be shown.
const SECRETS: [&str; 5] = ["smpp_password", "smpp_password_hash", "password", "token", "url"];

/// Keys of `[smpp]` that [`smpp_shards::Problem`] counts among those of the gateway.
const SHARED_WITH_GATEWAY: [&str; 5] =
    ["system_id", "bind_timeout_ms", "enquire_link_ms", "inactivity_timeout_ms", "deliver_window"];

/// On which line every key of every row stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Locations {
    rows: HashMap<(&'static str, usize), RowLines>,
}

#[derive(Clone, Debug, Default)]
struct RowLines {
    header: Option<usize>,
    keys: Vec<(Box<str>, usize)>,
}

impl Locations {
    /// The line of that key; of the row's header where the key is left out.
    pub(super) fn line(&self, table: &'static str, index: usize, key: &str) -> Option<usize> {
        let row = self.rows.get(&(table, index))?;
        row.keys.iter().find(|(name, _)| **name == *key).map(|(_, line)| *line).or(row.header)
    }

    /// A snapshot's problems as faults of the file.
    pub(super) fn faults_of(&self, path: &Path, problems: Vec<Problem>) -> Vec<Fault> {
        problems.into_iter().map(|problem| self.fault_of(path, problem)).collect()
    }

    fn fault_of(&self, path: &Path, problem: Problem) -> Fault {
        let table = home_table(&problem);
        let line = self.line(table, problem.index, problem.key);
        let (index, key) = (problem.index, problem.key);
        Fault::in_file(path, line, named(table, key), problem.reason, problem.cure).of_row(table, index, key)
    }
}

/// Reads rows, and keeps what is wrong with them and where they stand.
pub(super) struct Reader<'a> {
    path: &'a Path,
    line_starts: Vec<usize>,
    faulty: HashSet<(&'static str, usize, String)>,
    /// Where everything read so far stands.
    pub(super) locations: Locations,
    /// What is wrong so far.
    pub(super) faults: &'a mut Vec<Fault>,
}

impl<'a> Reader<'a> {
    /// A reader of that text; `path` is only named in faults.
    pub(super) fn new(path: &'a Path, text: &str, faults: &'a mut Vec<Fault>) -> Self {
        let line_starts = core::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { path, line_starts, faulty: HashSet::new(), locations: Locations::default(), faults }
    }

    /// The line, counted from 1, of an offset into the text.
    pub(super) fn line_of(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// Notes a fault on a line.
    pub(super) fn fault_at(&mut self, line: Option<usize>, key: String, reason: impl Into<String>, cure: &str) {
        self.faults.push(Fault::in_file(self.path, line, key, reason, cure));
    }

    /// Notes a fault of a key that was read before, or left out.
    pub(super) fn fault(
        &mut self,
        table: &'static str,
        index: usize,
        key: &str,
        reason: impl Into<String>,
        cure: impl Into<String>,
    ) {
        let line = self.locations.line(table, index, key);
        self.faulty.insert((table, index, key.to_owned()));
        self.faults.push(Fault::in_file(self.path, line, named(table, key), reason, cure).of_row(table, index, key));
    }

    /// Notes a snapshot's problems, but for keys of which a fault is known already.
    pub(super) fn problems(&mut self, problems: Vec<Problem>) {
        for problem in problems {
            let is_known = |key: &str| self.faulty.contains(&(home_table(&problem), problem.index, key.to_owned()));
            // A password that cannot be read is not also left out.
            let is_password = problem.key == "smpp_password_hash" && is_known("smpp_password");
            if !is_known(problem.key) && !is_password {
                self.faults.push(self.locations.fault_of(self.path, problem));
            }
        }
    }

    /// Reads an array of tables. A row with faults still counts, with defaults in their place, so that the
    /// numbers of the rows behind it stay right.
    pub(super) fn rows<T: DeserializeOwned + Default>(
        &mut self,
        table: &'static str,
        value: Spanned<DeValue<'_>>,
    ) -> Vec<T> {
        let line = self.line_of(value.span().start);
        let DeValue::Array(rows) = value.into_inner() else {
            let cure = format!("write [[{table}]], once for each");
            self.fault_at(Some(line), table.to_owned(), "is not a list of tables", &cure);
            return Vec::new();
        };
        rows.into_iter().enumerate().map(|(index, row)| self.row(table, index, row)).collect()
    }

    /// Reads one table.
    pub(super) fn row<T: DeserializeOwned + Default>(
        &mut self,
        table: &'static str,
        index: usize,
        value: Spanned<DeValue<'_>>,
    ) -> T {
        let span = value.span();
        let header = self.line_of(span.start);
        let DeValue::Table(keys) = value.into_inner() else {
            self.fault_at(Some(header), table.to_owned(), "is not a table", &format!("write [{table}]"));
            return T::default();
        };
        let lines = keys.keys().map(|key| (key.get_ref().as_ref().into(), self.line_of(key.span().start))).collect();
        self.locations.rows.insert((table, index), RowLines { header: Some(header), keys: lines });
        if let Ok(row) = T::deserialize(Deserializer::from(Spanned::new(span.clone(), keys.clone()))) {
            return row;
        }
        let known = field_names::<T>();
        let mut sound = DeTable::new();
        for (key, value) in keys {
            let name = key.get_ref().to_string();
            if !known.contains(&name.as_str()) {
                self.unknown_key(table, index, &name, known);
                continue;
            }
            let mut alone = DeTable::new();
            alone.insert(key.clone(), value.clone());
            match T::deserialize(Deserializer::from(Spanned::new(span.clone(), alone))) {
                Ok(_) => drop(sound.insert(key, value)),
                Err(error) => self.wrong_value(table, index, &name, &value, error.message()),
            }
        }
        T::deserialize(Deserializer::from(Spanned::new(span, sound))).unwrap_or_default()
    }

    fn unknown_key(&mut self, table: &'static str, index: usize, key: &str, known: &'static [&'static str]) {
        if is_key_to_come(table, key) {
            return self.fault(table, index, key, NOT_YET, LEAVE_OUT);
        }
        let cure = match nearest(key, known.iter().copied()) {
            Some(name) => format!("did you mean {name}?"),
            None => format!("leave it out; known here are {}", known.join(", ")),
        };
        self.fault(table, index, key, "is no known key", cure);
    }

    fn wrong_value(
        &mut self,
        table: &'static str,
        index: usize,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        message: &str,
    ) {
        if SECRETS.contains(&key) {
            return self.fault(table, index, key, "is not text", "put it in quotes");
        }
        if let DeValue::String(text) = value.get_ref()
            && value_to_come(table, key, text)
        {
            return self.fault(table, index, key, format!("= {text:?} {NOT_YET}"), "write \"smpp\", or leave it out");
        }
        let (reason, cure) = explain(message);
        self.fault(table, index, key, reason, cure);
    }
}

/// `[gateway] accept`, `[[vendors]] port`.
pub(super) fn named(table: &str, key: &str) -> String {
    match table {
        "customers" | "vendors" | "routing_rules" | "inbound_routes" | "smpp.certificates" => {
            format!("[[{table}]] {key}").trim_end().to_owned()
        }
        _ => format!("[{table}] {key}").trim_end().to_owned(),
    }
}

/// The table of the file to which a snapshot's problem belongs.
fn home_table(problem: &Problem) -> &'static str {
    match problem.table {
        "gateway" if SHARED_WITH_GATEWAY.contains(&problem.key) => "smpp",
        table => table,
    }
}

/// What serde says about a value, as reason and cure in plain words.
pub(crate) fn explain(message: &str) -> (String, String) {
    if let Some((found, wanted)) = split_expectation(message, "invalid type: ") {
        return (format!("is {found}"), format!("write {}", plain(wanted)));
    }
    if let Some((found, wanted)) = split_expectation(message, "invalid value: ") {
        return (format!("is {found}, which is out of range"), format!("write {}", plain(wanted)));
    }
    if let Some((found, wanted)) =
        message.strip_prefix("unknown variant ").and_then(|rest| rest.split_once(", expected "))
    {
        let wanted = wanted.strip_prefix("one of ").unwrap_or(wanted).replace('`', "\"");
        return (format!("is {}", found.replace('`', "\"")), format!("write one of {wanted}"));
    }
    (format!("cannot be read: {message}"), "correct the value".to_owned())
}

fn split_expectation<'m>(message: &'m str, opening: &str) -> Option<(&'m str, &'m str)> {
    message.strip_prefix(opening)?.split_once(", expected ")
}

/// The names of Rust's types as an operator would say them.
fn plain(wanted: &str) -> &str {
    match wanted {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number, 0 or more",
        "i32" | "i64" => "a whole number",
        "a string" | "path string" | "string or map" => "text in quotes",
        "a boolean" => "true or false",
        "a sequence" => "a list in brackets",
        other => other,
    }
}

/// The names of a struct's fields, as serde was told them.
pub(crate) fn field_names<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // The answer is always an error: nothing is read, the struct only says what it would look for.
    let _ = T::deserialize(NameCatcher { names: &mut names });
    names
}

struct NameCatcher<'n> {
    names: &'n mut &'static [&'static str],
}

impl<'de> serde::Deserializer<'de> for NameCatcher<'_> {
    type Error = PlainError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, PlainError> {
        Err(PlainError::custom("no struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, PlainError> {
        *self.names = fields;
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smpp_shards::settings::RuleSettings;

    #[test]
    fn a_struct_tells_the_names_of_its_fields() {
        assert!(field_names::<RuleSettings>().contains(&"dest_pattern"));
    }

    #[test]
    fn what_serde_says_becomes_plain_words() {
        let explained = |message: &str| {
            let (reason, cure) = explain(message);
            format!("{reason}; {cure}")
        };
        assert_eq!(
            explained("invalid value: integer `70000`, expected u16"),
            "is integer `70000`, which is out of range; write a whole number from 0 to 65535"
        );
        assert_eq!(
            explained("invalid value: integer `99999999999`, expected u32"),
            "is integer `99999999999`, which is out of range; write a whole number from 0 to 4294967295"
        );
        assert_eq!(
            explained("unknown variant `both`, expected one of `transceiver`, `transmitter`, `receiver`"),
            "is \"both\"; write one of \"transceiver\", \"transmitter\", \"receiver\""
        );
    }
}
