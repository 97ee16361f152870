//! The page at `/`: one file that loads nothing and shows what the JSON of this port says.

use std::fmt::Write as _;

use hyper::StatusCode;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::answer::{self, Answer, Refusal};
use super::call::Call;

const PAGE: &str = include_str!("page.html");

/// What stands in the page where the nonce goes.
const PLACE: &str = "NONCE";

pub(super) async fn page(_: Call) -> Answer {
    let mut octets = [0; 16];
    SystemRandom::new()
        .fill(&mut octets)
        .map_err(|_| Refusal::unavailable("no_random_numbers", "The system gives no random numbers."))?;
    let nonce = octets.iter().fold(String::new(), |mut text, octet| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{octet:02x}");
        text
    });
    // Only the page's own script and style run, and it talks to this port alone.
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut response = answer::text_answer(StatusCode::OK, "text/html; charset=utf-8", PAGE.replace(PLACE, &nonce));
    let headers: [(HeaderName, &str); 3] =
        [(CONTENT_SECURITY_POLICY, &policy), (X_CONTENT_TYPE_OPTIONS, "nosniff"), (REFERRER_POLICY, "no-referrer")];
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}
