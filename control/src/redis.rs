//! How the gateway reaches Redis: where it is, as whom, and what a connection that fails says.
//!
//! Lives wherever a connection is made: on the thread of the store and on the control thread, never on a shard's. Must
//! never show a password.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisConnectionInfo,
    RedisError, RedisResult, TlsCertificates,
};

use crate::config::RedisSettings;

/// How long a connection may take to be made: the name's look-up, TLS and the password, at a second for each answer.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Connects, to that database, with answers within `answer_max`.
///
/// # Errors
/// A sentence that says what is wrong; without the password.
pub(crate) async fn connect(
    settings: &RedisSettings,
    database: i64,
    answer_max: Duration,
) -> Result<MultiplexedConnection, String> {
    let client = client(settings, database)?;
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_MAX)).set_response_timeout(Some(answer_max));
    let connecting = client.get_multiplexed_async_connection_with_config(&config);
    match tokio::time::timeout(CONNECT_MAX, connecting).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(reason(&error)),
        Err(_) => Err("cannot be connected to: it does not answer".to_owned()),
    }
}

/// Whether Redis is there and lets this node into each of its databases; changes nothing. Gives the policy by which it
/// forgets keys at random when it is full, where it has such a one and tells.
///
/// # Errors
/// A sentence that says what is wrong, without its subject.
pub fn look(settings: &RedisSettings) -> Result<Option<String>, String> {
    let looking = async {
        for database in [crate::store::REDIS_DATABASE, crate::nodes::DATABASE] {
            let mut connection = connect(settings, database, CONNECT_MAX).await?;
            redis::cmd("PING").exec_async(&mut connection).await.map_err(|error| reason(&error))?;
            // A user that may not ask is let in all the same.
            let told: Option<String> = redis::cmd("INFO").arg("memory").query_async(&mut connection).await.ok();
            if let Some(policy) = told.as_deref().and_then(random_policy) {
                return Ok(Some(policy.to_owned()));
            }
        }
        Ok(None)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    runtime.map_err(|error| error.to_string())?.block_on(looking)
}

/// Out of what `INFO memory` answers.
fn random_policy(told: &str) -> Option<&str> {
    let value = |key: &str| told.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim);
    let is_bounded = value("maxmemory").is_some_and(|octets| octets != "0");
    value("maxmemory_policy").filter(|policy| is_bounded && !["noeviction", "volatile-ttl"].contains(policy))
}

/// With the authorities as they stand in their file now.
fn client(settings: &RedisSettings, database: i64) -> Result<Client, String> {
    let info = connection_info(settings, database);
    let Some(path) = &settings.tls_ca else { return info.and_then(Client::open).map_err(|error| reason(&error)) };
    let wrong =
        |error: &dyn std::fmt::Display| format!("cannot be connected to: tls_ca {} is wrong: {error}", path.display());
    let root_cert = std::fs::read(path).map_err(|error| wrong(&error))?;
    let certificates = TlsCertificates { client_tls: None, root_cert: Some(root_cert) };
    info.and_then(|info| Client::build_with_tls(info, certificates)).map_err(|error| wrong(&error))
}

/// What an error means for whoever has to do something about it.
pub(crate) fn reason(error: &RedisError) -> String {
    if error.is_timeout() {
        return "does not answer in time".to_owned();
    }
    let (code, detail) = first_answer(error);
    if code.as_deref() == Some("OOM") {
        return "is full (maxmemory): it takes nothing new until there is room".to_owned();
    }
    if error.kind() == ErrorKind::AuthenticationFailed || matches!(code.as_deref(), Some("WRONGPASS" | "NOAUTH")) {
        return "refuses the user or password".to_owned();
    }
    if error.is_connection_refusal() {
        return "cannot be connected to: nobody listens there".to_owned();
    }
    if let Some(fault) = certificate_fault(error) {
        return format!("shows a certificate that is not accepted ({fault}): see [redis] tls_ca and the name in url");
    }
    if error.is_io_error() || error.is_connection_dropped() {
        return format!("cannot be reached: {error}");
    }
    match detail {
        Some(detail) => format!("answers with an error: {detail}"),
        None => format!("answers with an error: {error}"),
    }
}

/// The word with which the server's answer begins, and the answer where there is one: a batch has thousands, and the first that
/// is an error tells enough.
fn first_answer(error: &RedisError) -> (Option<String>, Option<String>) {
    let errors = error.clone().into_server_errors();
    match errors.as_deref().and_then(<[_]>::first) {
        Some((_, first)) => (Some(first.code().to_owned()), Some(first.to_string())),
        None => (error.code().map(str::to_owned), None),
    }
}

/// What is wrong with the server's certificate, where that is why there is no connection.
fn certificate_fault(error: &RedisError) -> Option<&rustls::Error> {
    let source = error.source()?.downcast_ref::<std::sync::Arc<dyn std::error::Error + Send + Sync>>();
    let io = source.and_then(|error| error.downcast_ref::<io::Error>())?;
    io.get_ref()?.downcast_ref::<rustls::Error>().filter(|it| matches!(it, rustls::Error::InvalidCertificate(_)))
}

/// Whether the same connection is of no use any more.
pub(crate) fn ends_connection(error: &RedisError) -> bool {
    error.is_timeout() || error.is_io_error() || error.is_connection_dropped() || error.is_unrecoverable_error()
}

fn connection_info(settings: &RedisSettings, database: i64) -> RedisResult<ConnectionInfo> {
    let host = settings.host.clone();
    let address = match settings.use_tls {
        true => ConnectionAddr::TcpTls { host, port: settings.port, insecure: false, tls_params: None },
        false => ConnectionAddr::Tcp(host, settings.port),
    };
    let mut redis = RedisConnectionInfo::default().set_db(database);
    if let Some(username) = &settings.username {
        redis = redis.set_username(username);
    }
    if let Some(password) = &settings.password {
        redis = redis.set_password(password.reveal());
    }
    address.into_connection_info().map(|info| info.set_redis_settings(redis))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::tests::server::Server;

    #[test]
    fn of_a_batch_that_is_refused_the_first_answer_tells_why() {
        let server = Server::start();
        let mut connection = server.connect();
        redis::cmd("REPLICAOF").arg("127.0.0.1").arg(1).exec(&mut connection).unwrap();
        let mut batch = redis::pipe();
        for number in 0..1_000 {
            batch.cmd("SET").arg(number).arg("").ignore();
        }
        let refused = batch.exec(&mut connection).unwrap_err();
        let told = "answers with an error: ReadOnly: You can't write against a read only replica.";
        assert_eq!(reason(&refused), told);
    }

    #[test]
    fn a_policy_that_forgets_at_random_is_seen_where_memory_is_bounded() {
        let told =
            |octets: u32, policy: &str| format!("# Memory\r\nmaxmemory:{octets}\r\nmaxmemory_policy:{policy}\r\n");
        assert_eq!(random_policy(&told(1, "allkeys-lru")), Some("allkeys-lru"));
        for harmless in [told(0, "allkeys-lru"), told(1, "noeviction"), told(1, "volatile-ttl"), String::new()] {
            assert_eq!(random_policy(&harmless), None, "{harmless}");
        }
    }
}
