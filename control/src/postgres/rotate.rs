//! Vendors' passwords under the newest key: those in plain text and those under older keys are encrypted anew.
//!
//! Used by the command `rotate-keys`, beside a gateway that runs. Must never touch a provider that is not SMPP: whoever reads
//! that row has no key.

use super::connect::{Connection, PostgresError};
use super::rows::IS_SMPP_VENDOR;
use crate::config::PostgresSettings;
use crate::secrets::KeyRing;

/// What a rotation did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotated {
    /// Passwords that were encrypted anew.
    pub encrypted: usize,
    /// Passwords that were under the newest key already, and empty ones.
    pub left: usize,
    /// Vendors whose password cannot be decrypted, with why; they stay as they are.
    pub failed: Vec<(String, String)>,
}

/// Encrypts every SMPP vendor's password under the newest key, in one transaction.
///
/// # Errors
/// [`PostgresError`]; nothing is changed then.
pub async fn rotate_keys(settings: &PostgresSettings, keys: &KeyRing) -> Result<Rotated, PostgresError> {
    let relation = &settings.vendors_relation;
    let mut connection = Connection::open(settings, false).await?;
    let transaction = connection.client.transaction().await?;
    let read = format!(
        "SELECT instance_name::text, password::text FROM {relation} AS vendor WHERE {IS_SMPP_VENDOR} ORDER BY 1"
    );
    let rows = transaction.query(&read, &[]).await?;
    // A password that somebody else changes meanwhile is theirs.
    let write = format!(
        "UPDATE {relation} AS vendor SET password = $1::text
          WHERE instance_name = $2::text AND password = $3::text AND {IS_SMPP_VENDOR}"
    );
    let mut rotated = Rotated::default();
    for row in rows {
        let name = row.get::<_, Option<String>>(0).unwrap_or_default();
        let before = row.get::<_, Option<String>>(1).unwrap_or_default();
        if before.is_empty() || keys.is_newest(&before) {
            rotated.left += 1;
            continue;
        }
        match keys.decrypt(&before).and_then(|plain| keys.encrypt(&plain)) {
            Ok(after) => {
                rotated.encrypted += transaction.execute(&write, &[&after, &name, &before]).await? as usize;
            }
            Err(error) => rotated.failed.push((name, error.to_string())),
        }
    }
    transaction.commit().await?;
    Ok(rotated)
}
