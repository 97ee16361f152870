//! One connection to PostgreSQL: made, let in and watched, each within its time.
//!
//! Used on the control thread and by commands of the program. Must never wait without an end.

use std::error::Error as _;
use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, SimpleQueryMessage};

use super::tls::Tls;
use crate::config::PostgresSettings;

/// The channel on which the triggers tell of changes.
pub const CHANNEL: &str = "smpp_gateway";

/// How long a row that another session has locked is waited for, milliseconds.
const LOCK_TIMEOUT_MS: u64 = 500;

/// Beyond the server's own timeout: how long an answer may be under way.
const WAY: Duration = Duration::from_secs(1);

/// Why PostgreSQL did not do what was asked. Prints as a sentence without a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostgresError {
    /// No connection can be made, or the one there was is lost; why.
    Away(String),
    /// It said no to a statement; why.
    Refused(String),
}

impl fmt::Display for PostgresError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(reason) => write!(f, "PostgreSQL is away: {reason}"),
            Self::Refused(reason) => write!(f, "PostgreSQL refuses: {reason}"),
        }
    }
}

impl std::error::Error for PostgresError {}

impl From<tokio_postgres::Error> for PostgresError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(said) = error.as_db_error() else { return Self::Away(with_sources(&error)) };
        let mut reason = format!("{} ({})", said.message(), said.code().code());
        for more in [said.detail(), said.hint()].into_iter().flatten() {
            reason.push_str("; ");
            reason.push_str(more);
        }
        if [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_COLUMN, SqlState::INVALID_SCHEMA_NAME].contains(said.code())
        {
            reason.push_str("; run `smpp-gateway migrate`");
        }
        // A connection that fails or is refused; a session that is ended; a server that is full of connections. One whose
        // disk is full is there all the same.
        let code = said.code().code();
        let is_over = matches!(code.get(..2), Some("08" | "28" | "3D" | "57")) || code == "53300";
        let is_timeout = *said.code() == SqlState::QUERY_CANCELED;
        if is_over && !is_timeout { Self::Away(reason) } else { Self::Refused(reason) }
    }
}

fn with_sources(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// A connection that stands.
pub(super) struct Connection {
    pub(super) client: Client,
    /// Notified with every notification of the server.
    pub(super) changed: Arc<Notify>,
    /// Comes when the connection is over, with why.
    pub(super) ended: oneshot::Receiver<String>,
    patience: Duration,
}

impl Connection {
    /// Connects, and sets the session's timeouts. With `listen` it is told of changes from here on.
    ///
    /// # Errors
    /// [`PostgresError`], within `connect_timeout`.
    pub(super) async fn open(settings: &PostgresSettings, listen: bool) -> Result<Self, PostgresError> {
        let tls = Tls::read(settings).map_err(PostgresError::Away)?;
        let milliseconds = settings.connect_timeout.as_millis();
        let opening = Self::open_without_end(settings, tls, listen);
        tokio::time::timeout(settings.connect_timeout, opening)
            .await
            .unwrap_or_else(|_| Err(PostgresError::Away(format!("no connection within {milliseconds} ms"))))
    }

    async fn open_without_end(settings: &PostgresSettings, tls: Tls, listen: bool) -> Result<Self, PostgresError> {
        let (client, mut driver) = settings.connection.connect(tls).await?;
        let changed = Arc::new(Notify::new());
        let notify = Arc::clone(&changed);
        let (end, ended) = oneshot::channel();
        // Ends by itself when the client is dropped or the connection breaks.
        tokio::spawn(async move {
            let reason = loop {
                match poll_fn(|context| driver.poll_message(context)).await {
                    Some(Ok(AsyncMessage::Notification(_))) => notify.notify_one(),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break with_sources(&error),
                    None => break "the connection was closed".to_owned(),
                }
            };
            let _ = end.send(reason);
        });
        let statement_ms = settings.statement_timeout.as_millis();
        let mut first = format!("SET statement_timeout = {statement_ms}; SET lock_timeout = {LOCK_TIMEOUT_MS};");
        if listen {
            first.push_str(&format!("LISTEN {CHANNEL};"));
        }
        client.batch_execute(&first).await?;
        Ok(Self { client, changed, ended, patience: settings.statement_timeout + WAY })
    }

    /// Runs statements one after the other, with all that they give.
    ///
    /// # Errors
    /// [`PostgresError`]; [`PostgresError::Away`] when no answer comes, after which the connection is good for nothing.
    pub(super) async fn ask(&self, statements: &str) -> Result<Vec<SimpleQueryMessage>, PostgresError> {
        self.in_time(self.client.simple_query(statements)).await
    }

    /// Waits for an answer, but not for ever.
    ///
    /// # Errors
    /// As [`Connection::ask`].
    pub(super) async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, PostgresError> {
        Ok(self.answer(answer).await??)
    }

    /// As [`Connection::in_time`], with what the server says of a statement as it says it.
    ///
    /// # Errors
    /// [`PostgresError::Away`] when no answer comes.
    pub(super) async fn answer<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<Result<T, tokio_postgres::Error>, PostgresError> {
        tokio::time::timeout(self.patience, answer).await.map_err(|_| {
            let seconds = self.patience.as_secs_f64();
            PostgresError::Away(format!("no answer within {seconds:.1} s"))
        })
    }
}
