//! What the platform knows and this version does not serve yet, so that it is refused with a sentence that says
//! so; and the nearest known name for what nobody knows.

/// How such a refusal reads.
pub(super) const NOT_YET: &str = "is not served by this version yet";

/// The cure for a key that is not served.
pub(super) const LEAVE_OUT: &str = "leave it out";

const TABLES: [&str; 3] = ["rabbitmq", "campaigns_10dlc", "content_rules"];

const KEYS: [(&str, &[&str]); 3] = [
    (
        "vendors",
        &[
            "cost_per_sms",
            "cost_per_mms",
            "supports_alphanumeric",
            "supports_unicode",
            "provider_type",
            "health_status",
            "last_bind_time",
        ],
    ),
    ("customers", &["auth_type", "api_key", "api_secret_hash", "api_rate_limit"]),
    (
        "inbound_routes",
        &["webhook_url", "webhook_method", "webhook_secret", "webhook_retry_count", "email_address", "account_id"],
    ),
];

/// Whether that top-level table is one of those to come.
pub(super) fn is_table_to_come(name: &str) -> bool {
    TABLES.contains(&name)
}

/// Whether that key is one of those to come.
pub(super) fn is_key_to_come(table: &str, key: &str) -> bool {
    KEYS.iter().any(|(name, keys)| *name == table && keys.contains(&key))
}

/// What a value to come is called, where `value` under that key is one.
pub(super) fn value_to_come(table: &str, key: &str, value: &str) -> bool {
    matches!((table, key), ("inbound_routes", "delivery_method")) && matches!(value, "webhook" | "email" | "storage")
}

/// The known name that `word` was probably meant to be: at most a third of its letters away.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (word.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|name| (distance(word, name), name))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// How many letters must be put in, taken out, replaced or swapped with their neighbour.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().collect();
    let to: Vec<char> = to.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for row in 1..=from.len() {
        let mut current = vec![row; to.len() + 1];
        for column in 1..=to.len() {
            let differs = usize::from(from[row - 1] != to[column - 1]);
            let mut best = (last[column - 1] + differs).min(last[column] + 1).min(current[column - 1] + 1);
            let is_swap = row > 1 && column > 1 && from[row - 1] == to[column - 2] && from[row - 2] == to[column - 1];
            if is_swap {
                best = best.min(before_last[column - 2] + 1);
            }
            current[column] = best;
        }
        before_last = core::mem::replace(&mut last, current);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_recognised_and_another_word_is_not() {
        let known = ["window_size", "bind_type", "binds", "port"];
        assert_eq!(nearest("windowsize", known), Some("window_size"));
        assert_eq!(nearest("bindtype", known), Some("bind_type"));
        assert_eq!(nearest("prot", known), Some("port"));
        assert_eq!(nearest("colour", known), None);
    }
}
