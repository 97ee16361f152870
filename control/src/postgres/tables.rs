//! The tables as PostgreSQL has them: rows as JSON objects whose keys are the columns, all read at one point in time.
//!
//! Used on the control thread. What a row means is [`super::rows`]'s business.

use serde_json::{Map, Value};
use tokio_postgres::SimpleQueryMessage;

use super::connect::{Connection, PostgresError};

/// Rows of one table at the most. With more of them nothing is read at all, rather than a part.
pub const ROWS_MAX: usize = 200_000;

/// A row: its columns by name.
pub(super) type Row = Map<String, Value>;

/// The tables that are read, in the order in which they are.
pub(super) const TABLES: [&str; 4] = ["customers", "vendors", "routing_rules", "inbound_routes"];

/// All rows of all tables, by [`TABLES`].
#[derive(Clone, Default, PartialEq)]
pub(super) struct Tables {
    pub(super) rows: [Vec<Row>; TABLES.len()],
}

impl Tables {
    /// Reads everything in one transaction and one round trip.
    ///
    /// # Errors
    /// [`PostgresError`]; a table with more than [`ROWS_MAX`] rows is one.
    pub(super) async fn read(connection: &Connection, vendors_relation: &str) -> Result<Self, PostgresError> {
        let statements = statements(vendors_relation);
        let messages = match connection.ask(&statements).await {
            Ok(messages) => messages,
            Err(PostgresError::Refused(reason)) => {
                // The transaction is still there, and failed.
                connection.ask("ROLLBACK").await?;
                return Err(PostgresError::Refused(reason));
            }
            Err(away) => return Err(away),
        };
        // Thousands of rows take their time, which the control thread has not got.
        let parsed = tokio::task::spawn_blocking(move || Self::parse(messages)).await;
        parsed.unwrap_or_else(|_| Err(PostgresError::Away("the gateway is on its way down".into())))
    }

    fn parse(messages: Vec<SimpleQueryMessage>) -> Result<Self, PostgresError> {
        let mut tables = Self::default();
        // BEGIN is complete first, then each table, then COMMIT.
        let mut complete: usize = 0;
        for message in messages {
            match message {
                SimpleQueryMessage::CommandComplete(_) => complete += 1,
                SimpleQueryMessage::Row(row) => {
                    let rows = complete.checked_sub(1).and_then(|at| tables.rows.get_mut(at));
                    if let (Some(rows), Ok(Value::Object(row))) =
                        (rows, serde_json::from_str(row.get(0).unwrap_or_default()))
                    {
                        rows.push(row);
                    }
                }
                _ => {}
            }
        }
        for (name, rows) in TABLES.iter().zip(&tables.rows) {
            if rows.len() > ROWS_MAX {
                return Err(PostgresError::Refused(format!("{name} has more than {ROWS_MAX} rows")));
            }
        }
        Ok(tables)
    }
}

fn statements(vendors_relation: &str) -> String {
    let relations =
        ["messaging.customer_sms_auth", vendors_relation, "messaging.routing_rules", "messaging.inbound_routes"];
    let mut text = String::from("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;");
    for relation in relations {
        let limit = ROWS_MAX + 1;
        text.push_str(&format!("SELECT row_to_json(one) FROM {relation} AS one LIMIT {limit};"));
    }
    text + "COMMIT"
}
