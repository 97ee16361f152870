//! Reloads, and how much is logged.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::Site;
use super::answer::{self, Answer, FieldFault, Refusal};
use super::call::Call;
use crate::config::LogLevel;
use crate::live::{ReloadError, Reloaded};
use crate::log::COMPONENTS;

/// How long a reload may take.
const RELOAD_PATIENCE: Duration = Duration::from_secs(20);

/// What came of a reload.
#[derive(Serialize, JsonSchema)]
pub(super) struct ReloadDone {
    success: bool,
    /// The version that is in force now, on its way to every shard.
    version: u64,
    /// Whether anything differed.
    is_changed: bool,
    /// Rows whose last good version stays in force, or that were left out because they never had one.
    faults: Vec<RowFaultView>,
}

/// What is wrong with one row.
#[derive(Serialize, JsonSchema)]
struct RowFaultView {
    table: &'static str,
    /// The row's name.
    key: String,
    column: String,
    reason: String,
}

/// The level of each component.
#[derive(Serialize, JsonSchema)]
pub(super) struct LogLevels {
    success: bool,
    /// By component: `debug`, `info`, `warn` or `error`; lines below it are left out.
    levels: BTreeMap<&'static str, &'static str>,
}

/// A level to be set.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewLevel {
    level: LevelName,
    /// One of those that GET names; left out: all of them.
    #[serde(default)]
    #[schemars(schema_with = "component_schema")]
    component: Option<String>,
}

fn component_schema(_: &mut SchemaGenerator) -> Schema {
    let names = COMPONENTS.iter().map(|name| Some(*name)).chain([None]);
    schemars::json_schema!({"type": ["string", "null"], "enum": names.collect::<Vec<_>>()})
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum LevelName {
    Debug,
    Info,
    Warn,
    Error,
}

pub(super) async fn reload(call: Call) -> Answer {
    let reloaded = ask(&call.site).await?;
    let fault = |fault: crate::live::RowFault| RowFaultView {
        table: fault.table,
        key: fault.key,
        column: fault.column,
        reason: fault.reason,
    };
    answer::ok(&ReloadDone {
        success: true,
        version: reloaded.version,
        is_changed: reloaded.is_changed,
        faults: reloaded.faults.into_iter().map(fault).collect(),
    })
}

/// Has the configuration read anew.
pub(super) async fn ask(site: &Site) -> Result<Reloaded, Refusal> {
    let Some(handle) = &site.attachments.reload else {
        let message = "This gateway does not reload its configuration while it runs; restart it.";
        return Err(Refusal::unavailable("reload_unavailable", message));
    };
    match tokio::time::timeout(RELOAD_PATIENCE, handle.reload()).await {
        Ok(Ok(reloaded)) => Ok(reloaded),
        Ok(Err(ReloadError::Busy)) => Err(Refusal::busy(sentence(&ReloadError::Busy))),
        Ok(Err(error @ ReloadError::NotReady)) => Err(Refusal::unavailable("not_ready", sentence(&error))),
        Ok(Err(ReloadError::Stopping)) => Err(Refusal::unavailable("stopping", sentence(&ReloadError::Stopping))),
        Ok(Err(error)) => Err(Refusal::new(StatusCode::BAD_GATEWAY, "source_unreadable", sentence(&error))),
        Err(_) => Err(Refusal::unavailable("reload_slow", "The reload goes on, but took too long to wait for.")),
    }
}

fn sentence(error: &ReloadError) -> String {
    format!("Everything stays as it is: {error}.")
}

pub(super) async fn levels(call: Call) -> Answer {
    answer::ok(&levels_of(&call.site))
}

pub(super) async fn set_level(call: Call) -> Answer {
    let wanted: NewLevel = call.json()?;
    let level = match wanted.level {
        LevelName::Debug => LogLevel::Debug,
        LevelName::Info => LogLevel::Info,
        LevelName::Warn => LogLevel::Warn,
        LevelName::Error => LogLevel::Error,
    };
    if !call.site.state.log.set_level(wanted.component.as_deref(), level) {
        let reason = format!("Is none of {}.", COMPONENTS.join(", "));
        let message = format!("The field component is not as it should be. {reason}");
        let fault = FieldFault { field: "component".to_owned(), reason };
        return Err(Refusal::bad_request("invalid_field", message).with_fields(vec![fault]));
    }
    answer::ok(&levels_of(&call.site))
}

fn levels_of(site: &Site) -> LogLevels {
    let name = |component: &&'static str| {
        let level = match site.state.log.level_of(component) {
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
        };
        (*component, level)
    };
    LogLevels { success: true, levels: COMPONENTS.iter().map(name).collect() }
}
