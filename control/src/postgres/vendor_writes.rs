//! Vendors added, changed and removed in their table: each change one transaction on the one connection, which ends before
//! anything is stored when the reader of rows would not take what comes of it.
//!
//! Lives on the control thread. Must never put a password into a reason, nor store one that is not encrypted.

use std::sync::Arc;

use serde_json::Value;
use smpp_shards::settings::{GatewaySettings, VendorSettings};
use smpp_shards::{Settings, Snapshot};
use tokio::sync::oneshot;
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::types::{ToSql, Type};

use super::connect::{Connection, PostgresError};
use super::rows::{self, IS_SMPP_VENDOR};
use super::source::{Asked, Shared};
use super::tables::{Row, Tables};
use crate::config::field_names;
use crate::secrets::{KeyRing, is_encrypted};
use crate::service::Service;
use crate::vendor_table::{VendorFields, VendorTable, VendorTableError, Written, WrittenVendor};

/// Names the lock under which nodes change vendors one after the other; any number that nobody else uses.
const LOCK: i64 = 0x736D_7070_6777_0002;

/// What is to be done with the table.
pub(super) enum Change {
    /// A new row.
    Insert(VendorFields),
    /// These columns, and every other one its default, of the vendor of that id or name.
    Replace(String, VendorFields),
    /// These columns alone.
    Patch(String, VendorFields),
    /// The row is to go.
    Delete(String),
}

/// A change that somebody waits for, or has given up.
pub(super) struct Writing {
    change: Change,
    outcome: oneshot::Sender<Result<WrittenVendor, VendorTableError>>,
}

impl Writing {
    /// Nothing was done.
    pub(super) fn refuse(self, reason: &PostgresError) {
        // Whoever asked may have gone.
        let _ = self.outcome.send(Err(VendorTableError::Unavailable(untouched(reason))));
    }
}

/// The vendors of PostgreSQL, for the control port.
pub(super) struct PostgresVendors {
    shared: Arc<Shared>,
}

impl PostgresVendors {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    async fn write(&self, change: Change) -> Result<WrittenVendor, VendorTableError> {
        let ending = || VendorTableError::Unavailable("The gateway is on its way down.".to_owned());
        let (outcome, written) = oneshot::channel();
        let asked = Asked::Write(Box::new(Writing { change, outcome }));
        self.shared.asked.send(asked).await.map_err(|_| ending())?;
        written.await.unwrap_or_else(|_| Err(ending()))
    }

    /// The fields with the password as it is to be stored. One that is encrypted already stays so, if the keys open it.
    fn sealed(&self, mut fields: VendorFields) -> Result<VendorFields, VendorTableError> {
        let Some(Value::String(password)) = fields.get_mut("password") else { return Ok(fields) };
        if password.is_empty() {
            return Ok(fields);
        }
        let keys = &self.shared.keys;
        let sealed = match is_encrypted(password) {
            true => keys.decrypt(password).map(|_| password.clone()).map_err(|error| ("decrypted", error)),
            false => keys.encrypt(password).map_err(|error| ("encrypted", error)),
        };
        let fault = |(what, error)| vec![("password".to_owned(), format!("Cannot be {what}: {error}."))];
        *password = sealed.map_err(|error| VendorTableError::Invalid(fault(error)))?;
        Ok(fields)
    }
}

impl VendorTable for PostgresVendors {
    fn insert(&self, fields: VendorFields) -> Written<'_> {
        Box::pin(async { self.write(Change::Insert(self.sealed(fields)?)).await })
    }

    fn replace<'a>(&'a self, id: &'a str, fields: VendorFields) -> Written<'a> {
        Box::pin(async { self.write(Change::Replace(id.to_owned(), self.sealed(fields)?)).await })
    }

    fn patch<'a>(&'a self, id: &'a str, fields: VendorFields) -> Written<'a> {
        Box::pin(async { self.write(Change::Patch(id.to_owned(), self.sealed(fields)?)).await })
    }

    fn delete<'a>(&'a self, id: &'a str) -> Written<'a> {
        Box::pin(self.write(Change::Delete(id.to_owned())))
    }
}

/// The table before the gateway has read it for the first time.
pub(crate) struct NothingYet;

impl NothingYet {
    fn refusal() -> VendorTableError {
        let reason = "The gateway waits for PostgreSQL to start with; nothing was changed.";
        VendorTableError::Unavailable(reason.to_owned())
    }
}

impl VendorTable for NothingYet {
    fn insert(&self, _: VendorFields) -> Written<'_> {
        Box::pin(async { Err(Self::refusal()) })
    }

    fn replace<'a>(&'a self, _: &'a str, _: VendorFields) -> Written<'a> {
        Box::pin(async { Err(Self::refusal()) })
    }

    fn patch<'a>(&'a self, _: &'a str, _: VendorFields) -> Written<'a> {
        Box::pin(async { Err(Self::refusal()) })
    }

    fn delete<'a>(&'a self, _: &'a str) -> Written<'a> {
        Box::pin(async { Err(Self::refusal()) })
    }
}

fn untouched(reason: &PostgresError) -> String {
    format!("{reason}; nothing was changed.")
}

/// Why a change was not made.
enum Failure {
    /// The connection goes on.
    Told(VendorTableError),
    /// The connection is lost.
    Lost(PostgresError),
}

impl From<VendorTableError> for Failure {
    fn from(error: VendorTableError) -> Self {
        Self::Told(error)
    }
}

impl From<PostgresError> for Failure {
    fn from(error: PostgresError) -> Self {
        match error {
            PostgresError::Away(_) => Self::Lost(error),
            PostgresError::Refused(_) => Self::Told(VendorTableError::Unavailable(untouched(&error))),
        }
    }
}

/// With what a change is made.
pub(super) struct Writer<'a> {
    pub(super) connection: &'a Connection,
    pub(super) service: &'a Service,
    /// The table of vendors or a view of one, as `schema.name`.
    pub(super) relation: &'a str,
    pub(super) gateway: &'a GatewaySettings,
    pub(super) keys: &'a KeyRing,
}

/// A row that is there.
struct Found {
    id: Option<String>,
    instance_name: String,
}

impl Writer<'_> {
    /// Makes one change and tells whoever waits for it; nothing where nobody does any more.
    ///
    /// # Errors
    /// [`PostgresError::Away`]; whoever waits has been told.
    pub(super) async fn carry_out(&self, writing: Writing) -> Result<(), PostgresError> {
        let Writing { change, outcome } = writing;
        if outcome.is_closed() {
            return Ok(());
        }
        let (answer, lost) = match self.transact(&change, &outcome).await {
            Ok(written) => (Ok(written), Ok(())),
            Err(Failure::Told(error)) => {
                let rolled_back = self.ask("ROLLBACK").await.map(drop);
                let lost = rolled_back.or_else(|error| match error {
                    PostgresError::Away(_) => Err(error),
                    PostgresError::Refused(_) => Ok(()),
                });
                (Err(error), lost)
            }
            Err(Failure::Lost(error)) => (
                Err(VendorTableError::Unavailable(format!("{error}; whether the change was made is not known."))),
                Err(error),
            ),
        };
        // Whoever asked may have gone.
        let _ = outcome.send(answer);
        lost
    }

    async fn transact<T>(&self, change: &Change, outcome: &oneshot::Sender<T>) -> Result<WrittenVendor, Failure> {
        self.ask(&format!("BEGIN; SELECT pg_advisory_xact_lock({LOCK})")).await?;
        let written = match change {
            Change::Insert(fields) => self.insert(fields).await?,
            Change::Replace(id, fields) => self.update(id, fields, true).await?,
            Change::Patch(id, fields) => self.update(id, fields, false).await?,
            Change::Delete(id) => self.delete(id).await?,
        };
        if outcome.is_closed() {
            // The caller was told that it is not known; so it had better not happen any more.
            return Err(VendorTableError::Unavailable("Nobody waits for it any more.".to_owned()).into());
        }
        self.ask("COMMIT").await?;
        Ok(written)
    }

    async fn insert(&self, fields: &VendorFields) -> Result<WrittenVendor, Failure> {
        let writable = self.writable(fields).await?;
        self.check_name(fields, None).await?;
        let mut row = fields.clone();
        let kind = "provider_type";
        if writable.iter().any(|column| column == kind) {
            row.insert(kind.to_owned(), Value::String("smpp".to_owned()));
        }
        let columns: Vec<&str> = row.keys().map(String::as_str).collect();
        let list = |prefix: &str| columns.iter().map(|it| format!("{prefix}\"{it}\"")).collect::<Vec<_>>().join(", ");
        let statement = format!(
            "INSERT INTO {relation} AS vendor ({}) SELECT {} FROM jsonb_populate_record(NULL::{relation}, $1::text::jsonb)
                 AS given RETURNING vendor.id::text, vendor.instance_name::text, row_to_json(vendor)::text",
            list(""),
            list("given."),
            relation = self.relation
        );
        self.change(&statement, &row, &[]).await
    }

    async fn update(&self, id: &str, fields: &VendorFields, is_whole: bool) -> Result<WrittenVendor, Failure> {
        let writable = self.writable(fields).await?;
        let found = self.find(id).await?;
        self.check_name(fields, Some(&found)).await?;
        let mut sets: Vec<String> = fields.keys().map(|column| format!("\"{column}\" = given.\"{column}\"")).collect();
        for column in field_names::<VendorSettings>().iter().filter(|column| is_whole && !fields.contains_key(**column))
        {
            if writable.iter().any(|writable| writable == column) {
                sets.push(format!("\"{column}\" = DEFAULT"));
            }
        }
        if writable.iter().any(|column| column == "updated_at") {
            sets.push("updated_at = now()".to_owned());
        }
        let statement = format!(
            "UPDATE {relation} AS vendor SET {} FROM jsonb_populate_record(NULL::{relation}, $1::text::jsonb) AS given
              WHERE vendor.instance_name = $2 AND vendor.id::text IS NOT DISTINCT FROM $3
             RETURNING vendor.id::text, vendor.instance_name::text, row_to_json(vendor)::text",
            sets.join(", "),
            relation = self.relation
        );
        self.change(&statement, fields, &[(&found.instance_name, Type::TEXT), (&found.id, Type::TEXT)]).await
    }

    async fn delete(&self, id: &str) -> Result<WrittenVendor, Failure> {
        let found = self.find(id).await?;
        let rules =
            "SELECT count(*), (SELECT id::text FROM messaging.routing_rules WHERE vendor_id::text IN ($1, $2) LIMIT 1)
                       FROM messaging.routing_rules WHERE vendor_id::text IN ($1, $2)";
        let names: [(&(dyn ToSql + Sync), Type); 2] = [(&found.id, Type::TEXT), (&found.instance_name, Type::TEXT)];
        let counted = self.query(rules, &names).await?.map_err(|said| self.refused(&said, None))?;
        if let Some(row) = counted.first().filter(|row| row.get::<_, i64>(0) > 0) {
            let (count, first) = (row.get::<_, i64>(0), row.get::<_, Option<String>>(1).unwrap_or_default());
            let reason = format!(
                "{count} of the routing rules name the vendor {}, such as the one of id {first}; remove them first, or set \
                 is_active to false.",
                found.instance_name
            );
            return Err(VendorTableError::InUse(reason).into());
        }
        let statement = format!(
            "DELETE FROM {} AS vendor WHERE vendor.instance_name = $1 AND vendor.id::text IS NOT DISTINCT FROM $2 RETURNING 1",
            self.relation
        );
        let names: [(&(dyn ToSql + Sync), Type); 2] = [(&found.instance_name, Type::TEXT), (&found.id, Type::TEXT)];
        let gone = self.query(&statement, &names).await?.map_err(|said| self.refused(&said, None))?;
        if gone.is_empty() {
            return Err(VendorTableError::NotFound.into());
        }
        Ok(WrittenVendor {
            id: found.id.unwrap_or_else(|| found.instance_name.clone()),
            instance_name: found.instance_name,
        })
    }

    /// The columns that can be written; every field must be one of them.
    async fn writable(&self, fields: &VendorFields) -> Result<Vec<String>, Failure> {
        let statement = "SELECT attname::text FROM pg_attribute
                          WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
                            AND pg_column_is_updatable(attrelid, attnum, false)";
        let rows = self.query(statement, &[(&self.relation, Type::TEXT)]).await?;
        let rows = rows.map_err(|said| self.refused(&said, None))?;
        let writable: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let known = field_names::<VendorSettings>();
        let missing = fields.keys().filter(|it| !known.contains(&it.as_str()) || !writable.contains(it));
        let reason = format!("Is no column of {} that can be written.", self.relation);
        let faults: Vec<(String, String)> = missing.map(|column| (column.clone(), reason.clone())).collect();
        if faults.is_empty() { Ok(writable) } else { Err(VendorTableError::Invalid(faults).into()) }
    }

    /// The vendor of that id, else of that name, locked until the transaction ends.
    async fn find(&self, id: &str) -> Result<Found, Failure> {
        if id.contains('\0') {
            // PostgreSQL has no such text, and would refuse the question.
            return Err(VendorTableError::NotFound.into());
        }
        let statement = format!(
            "SELECT id::text, instance_name::text FROM {} AS vendor WHERE (id::text = $1 OR instance_name = $1)
                AND {IS_SMPP_VENDOR} AND instance_name IS NOT NULL
              ORDER BY (id::text IS NOT DISTINCT FROM $1) DESC LIMIT 1 FOR UPDATE",
            self.relation
        );
        let rows = self.query(&statement, &[(&id, Type::TEXT)]).await?.map_err(|said| self.refused(&said, None))?;
        let row = rows.first().ok_or(VendorTableError::NotFound)?;
        Ok(Found { id: row.get(0), instance_name: row.get(1) })
    }

    /// The platform's own tables may lack the constraint.
    async fn check_name(&self, fields: &VendorFields, own: Option<&Found>) -> Result<(), Failure> {
        let Some(name) = fields.get("instance_name").and_then(Value::as_str) else { return Ok(()) };
        if own.is_some_and(|own| own.instance_name == name) {
            return Ok(());
        }
        let statement = format!("SELECT 1 FROM {} WHERE instance_name = $1 LIMIT 1", self.relation);
        let rows = self.query(&statement, &[(&name, Type::TEXT)]).await?.map_err(|said| self.refused(&said, None))?;
        if rows.is_empty() { Ok(()) } else { Err(VendorTableError::Taken { field: "instance_name" }.into()) }
    }

    /// Runs a statement that changes one row, and reads the row that comes of it as the configuration would.
    async fn change(
        &self,
        statement: &str,
        given: &VendorFields,
        more: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<WrittenVendor, Failure> {
        let text = Value::Object(given.clone()).to_string();
        let mut parameters: Vec<(&(dyn ToSql + Sync), Type)> = vec![(&text, Type::TEXT)];
        parameters.extend(more.iter().map(|(value, kind)| (*value, kind.clone())));
        self.ask("SAVEPOINT given").await?;
        let rows = match self.query(statement, &parameters).await? {
            Ok(rows) => rows,
            Err(said) if said.code().code().starts_with("22") => return Err(self.culprits(&said, given).await?.into()),
            Err(said) => return Err(self.refused(&said, Some(given)).into()),
        };
        let row = rows.first().ok_or(VendorTableError::NotFound)?;
        let (id, instance_name): (Option<String>, Option<String>) = (row.get(0), row.get(1));
        let instance_name = instance_name.unwrap_or_default();
        let stored: Row = serde_json::from_str(row.get(2)).unwrap_or_default();
        let faults = self.faults_of(stored);
        if !faults.is_empty() {
            return Err(VendorTableError::Invalid(faults).into());
        }
        Ok(WrittenVendor { id: id.unwrap_or_else(|| instance_name.clone()), instance_name })
    }

    /// What the reader of rows says of one.
    fn faults_of(&self, row: Row) -> Vec<(String, String)> {
        let mut tables = Tables::default();
        tables.rows[1].push(row);
        let loaded = rows::read(&tables, self.gateway, self.keys).loaded;
        let capital = |reason: &str| {
            let mut letters = reason.chars();
            let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
            format!("{first}{}.", letters.as_str().trim_end_matches('.'))
        };
        if !loaded.faults.is_empty() {
            return loaded.faults.into_iter().map(|fault| (fault.column, capital(&fault.reason))).collect();
        }
        let settings = Settings { vendors: loaded.settings.vendors, ..Settings::default() };
        let problems = Snapshot::build(settings, 1, 1).err().unwrap_or_default();
        problems.into_iter().map(|it| (it.key.to_owned(), capital(&format!("{}; {}", it.reason, it.cure)))).collect()
    }

    /// Which of the values it is that the columns' types do not take; PostgreSQL does not say.
    async fn culprits(&self, said: &DbError, given: &VendorFields) -> Result<VendorTableError, Failure> {
        let statement = format!("SELECT jsonb_populate_record(NULL::{}, $1::text::jsonb) IS NULL", self.relation);
        let mut faults = Vec::new();
        for (column, value) in given {
            self.ask("ROLLBACK TO given").await?;
            let alone = Value::Object(Row::from_iter([(column.clone(), value.clone())])).to_string();
            if let Err(said) = self.query(&statement, &[(&alone, Type::TEXT)]).await? {
                faults.push((column.clone(), format!("PostgreSQL refuses it ({}).", said.code().code())));
            }
        }
        if faults.is_empty() {
            return Ok(self.refused(said, None));
        }
        Ok(VendorTableError::Invalid(faults))
    }

    /// What a refusal of the server comes to. Its details may hold values, and are left out where a password was among them.
    fn refused(&self, said: &DbError, given: Option<&VendorFields>) -> VendorTableError {
        let column = said.column().map(str::to_owned);
        let field = column.clone().or_else(|| {
            let constraint = said.constraint().unwrap_or_default();
            given?.keys().find(|column| constraint.contains(column.as_str())).cloned()
        });
        let code = said.code();
        if *code == SqlState::UNIQUE_VIOLATION {
            let field =
                field.as_deref().and_then(|field| field_names::<VendorSettings>().iter().find(|it| **it == field));
            return VendorTableError::Taken { field: field.copied().unwrap_or("instance_name") };
        }
        let is_value = [SqlState::NOT_NULL_VIOLATION, SqlState::CHECK_VIOLATION].contains(code);
        if let Some(field) = field.filter(|_| is_value) {
            return VendorTableError::Invalid(vec![(field, format!("PostgreSQL refuses it: {}.", said.message()))]);
        }
        if *code == SqlState::FOREIGN_KEY_VIOLATION {
            return VendorTableError::InUse(format!("PostgreSQL refuses it: {}.", said.message()));
        }
        let mut reason = format!("{} ({})", said.message(), code.code());
        if *code == SqlState::INSUFFICIENT_PRIVILEGE {
            reason.push_str("; grant INSERT, UPDATE and DELETE on the table of vendors");
        }
        VendorTableError::Unavailable(untouched(&PostgresError::Refused(reason)))
    }

    async fn ask(&self, statements: &str) -> Result<(), PostgresError> {
        self.service.asks();
        let outcome = self.connection.ask(statements).await.map(drop);
        if !matches!(outcome, Err(PostgresError::Away(_))) {
            self.service.is_there();
        }
        outcome
    }

    /// Rows, or what the server has against it.
    ///
    /// # Errors
    /// [`PostgresError::Away`].
    async fn query(
        &self,
        statement: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Result<Vec<tokio_postgres::Row>, DbError>, PostgresError> {
        self.service.asks();
        let answer = self.connection.answer(self.connection.client.query_typed(statement, parameters)).await?;
        let said = answer.as_ref().err().and_then(|error| error.as_db_error()).cloned();
        match (answer, said) {
            (Ok(rows), _) => {
                self.service.is_there();
                Ok(Ok(rows))
            }
            (Err(error), said) => match (PostgresError::from(error), said) {
                (PostgresError::Refused(_), Some(said)) => {
                    self.service.is_there();
                    Ok(Err(said))
                }
                (lost, _) => Err(lost),
            },
        }
    }
}
