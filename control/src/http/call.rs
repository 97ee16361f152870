//! One request as its handler sees it: the path's variables, the checked query, the body.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hyper::Method;
use hyper::body::Bytes;
use schemars::{Schema, SchemaGenerator};
use serde::de::DeserializeOwned;

use super::Site;
use super::answer::{Answer, Refusal};

/// Octets of a cursor or of what is searched for.
pub(super) const TEXT_BYTES_MAX: usize = 64;

/// One path and method, for answering and for the document.
pub(super) struct Route {
    pub(super) method: Method,
    /// With variables in braces.
    pub(super) path: &'static str,
    /// In a few words.
    pub(super) summary: &'static str,
    /// What else there is to know.
    pub(super) description: &'static str,
    pub(super) access: Access,
    /// Whether it changes or causes something, so that it leaves a line in the log.
    pub(super) is_audited: bool,
    pub(super) query: &'static [Parameter],
    /// The schema of the body it takes, if it takes one.
    pub(super) body: Option<SchemaOf>,
    /// Whether it wants that body, or does without.
    pub(super) is_body_required: bool,
    /// Statuses of success, with the schema of their bodies (`None`: not JSON) and what they mean.
    pub(super) answers: &'static [(u16, Option<SchemaOf>, &'static str)],
    /// Statuses of errors besides those that any path has.
    pub(super) refusals: &'static [u16],
    pub(super) handler: Handler,
}

/// Gives the schema of a type.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// Answers a call.
pub(super) type Handler = fn(Call) -> Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Anybody who can connect.
    Open,
    /// Whoever has the token, where one is set.
    Token,
}

/// One parameter of a query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) description: &'static str,
}

/// What a parameter may be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// A number in that range.
    Number(usize, usize),
    /// A text of at most [`TEXT_BYTES_MAX`] octets, and not empty.
    Text,
    /// Two numbers with a dash between, as lists of several shards give them out.
    Place,
    /// One of these.
    OneOf(&'static [&'static str]),
}

/// A request.
pub(super) struct Call {
    pub(super) site: Arc<Site>,
    /// Whether the token was there, or none is wanted.
    pub(super) may: bool,
    pub(super) variables: Vec<String>,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
}

impl Call {
    /// The first variable of the path.
    pub(super) fn variable(&self) -> &str {
        self.variables.first().map_or("", String::as_str)
    }

    /// A parameter of the query.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// A parameter of the query that is a number; it has been checked against its range.
    pub(super) fn number(&self, name: &str) -> Option<usize> {
        self.text(name)?.parse().ok()
    }

    /// The body as JSON of that form.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        if self.body.is_empty() {
            return Err(Refusal::bad_request("no_body", "This call wants a JSON object as its body."));
        }
        // Where every field may be left out, an empty list would do as well.
        if self.body.trim_ascii_start().first() == Some(&b'[') {
            return Err(Refusal::bad_request("invalid_body", "This call wants a JSON object as its body, not a list."));
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            let code = if error.is_data() { "invalid_body" } else { "malformed_json" };
            Refusal::bad_request(code, format!("The body is not as it should be: {error}."))
        })
    }
}

/// Reads and checks a query against what a route knows.
pub(super) fn read_query(query: &str, known: &'static [Parameter]) -> Result<Vec<(&'static str, String)>, Refusal> {
    let mut read: Vec<(&'static str, String)> = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let Some(parameter) = known.iter().find(|parameter| parameter.name == name) else {
            let names: Vec<&str> = known.iter().map(|parameter| parameter.name).collect();
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let message = format!("There is no parameter {name:?} here; known: {known}.");
            return Err(Refusal::bad_request("unknown_parameter", message));
        };
        if read.iter().any(|(other, _)| *other == parameter.name) {
            let message = format!("The parameter {name} is there twice.");
            return Err(Refusal::bad_request("invalid_parameter", message));
        }
        parameter.check(&value)?;
        read.push((parameter.name, value.into_owned()));
    }
    Ok(read)
}

impl Parameter {
    fn check(&self, value: &str) -> Result<(), Refusal> {
        let complaint = match self.kind {
            Kind::Number(least, most) => {
                let is_plain = value.bytes().all(|octet| octet.is_ascii_digit());
                let is_good = is_plain && value.parse().is_ok_and(|number| (least..=most).contains(&number));
                (!is_good).then(|| format!("give a number from {least} to {most}"))
            }
            Kind::Text => {
                let is_good = !value.is_empty() && value.len() <= TEXT_BYTES_MAX;
                (!is_good).then(|| format!("give 1 to {TEXT_BYTES_MAX} octets"))
            }
            Kind::Place => {
                let is_number =
                    |text: &str| (1..=9).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_digit());
                let is_good = value.split_once('-').is_some_and(|(one, two)| is_number(one) && is_number(two));
                (!is_good).then(|| "give what the list has given as its next_cursor".to_owned())
            }
            Kind::OneOf(words) => (!words.contains(&value)).then(|| format!("give one of {}", words.join(", "))),
        };
        match complaint {
            None => Ok(()),
            Some(cure) => {
                let message = format!("The parameter {} is not as it should be; {cure}.", self.name);
                Err(Refusal::bad_request("invalid_parameter", message))
            }
        }
    }
}

/// The variables of a path that has a pattern's form; `None` for another path.
pub(super) fn variables_of(path: &str, pattern: &str) -> Option<Vec<String>> {
    let mut variables = Vec::new();
    let mut segments = path.split('/');
    for wanted in pattern.split('/') {
        let segment = segments.next()?;
        if wanted.starts_with('{') {
            if segment.is_empty() {
                return None;
            }
            variables.push(percent_decoded(segment)?);
        } else if wanted != segment {
            return None;
        }
    }
    segments.next().is_none().then_some(variables)
}

/// `None` where an escape is none, or the octets are not UTF-8.
fn percent_decoded(segment: &str) -> Option<String> {
    if !segment.contains('%') {
        return Some(segment.to_owned());
    }
    let mut octets = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(octet) = rest.next() {
        if octet != b'%' {
            octets.push(octet);
            continue;
        }
        let high = char::from(rest.next()?).to_digit(16)?;
        let low = char::from(rest.next()?).to_digit(16)?;
        octets.push((high * 16 + low) as u8);
    }
    String::from_utf8(octets).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_taken_out_of_a_path_and_decoded() {
        let pattern = "/api/v1/vendors/{vendor_id}/status";
        assert_eq!(variables_of("/api/v1/vendors/a%20b/status", pattern), Some(vec!["a b".to_owned()]));
        for other in [
            "/api/v1/vendors//status",
            "/api/v1/vendors/a",
            "/api/v1/vendors/a/status/",
            "/api/v1/vendors/%4/status",
            "/api/v1/vendors/%ff/status",
        ] {
            assert_eq!(variables_of(other, pattern), None, "{other}");
        }
        assert_eq!(variables_of("/health", "/health"), Some(Vec::new()));
    }

    #[test]
    fn a_query_is_checked_against_what_is_known() {
        static KNOWN: [Parameter; 3] = [
            Parameter { name: "limit", kind: Kind::Number(1, 10), description: "" },
            Parameter { name: "search", kind: Kind::Text, description: "" },
            Parameter { name: "order", kind: Kind::OneOf(&["name", "rate"]), description: "" },
        ];
        let read = read_query("limit=10&search=a%20b&order=rate", &KNOWN).unwrap();
        assert_eq!(read, [("limit", "10".to_owned()), ("search", "a b".to_owned()), ("order", "rate".to_owned())]);
        assert!(read_query("", &KNOWN).unwrap().is_empty());
        for bad in [
            "limit=0",
            "limit=11",
            "limit=+1",
            "limit=",
            "limit=99999999999999999999",
            "search=",
            "order=x",
            "other=1",
            "limit=1&limit=1",
        ] {
            assert!(read_query(bad, &KNOWN).is_err(), "{bad}");
        }
    }
}
