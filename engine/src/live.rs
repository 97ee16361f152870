//! What the program does with a new configuration before the shards get it: certificates and authorities are read anew.
//!
//! Runs on a thread of the control side that may wait, with every reload.

use std::sync::Arc;

use smpp_control::config::LogLevel;
use smpp_control::{Companion, Configuration, Field, Log, RowFault};
use smpp_shards::settings::VendorSettings;
use smpp_shards::{ShardId, Snapshot};

use crate::certificates::{Clients, TlsConfigs};
use crate::mail::{Mail, Post};

/// As what these lines stand in the log.
const COMPONENT: &str = "gateway";

/// Keeps the shards' TLS settings in step with the configuration.
pub(crate) struct TlsKeeper {
    present: TlsConfigs,
    post: Post,
    log: Log,
}

impl TlsKeeper {
    /// One that starts from what the shards were started with.
    pub(crate) fn new(present: &TlsConfigs, post: Post, log: Log) -> Self {
        Self { present: present.clone(), post, log }
    }
}

impl Companion for TlsKeeper {
    /// Connections that stand keep what they have. What cannot be read is told, and what was there before stays in use.
    fn prepare(&mut self, configuration: &Configuration, snapshot: &Snapshot) -> Vec<RowFault> {
        let vendors: Vec<Option<&VendorSettings>> =
            snapshot.vendors.iter().map(|vendor| (!vendor.is_removed).then_some(&vendor.settings)).collect();
        let certificates = &configuration.smpp.certificates;
        let errors = self.present.renew(certificates, Clients::of(&configuration.smpp), &vendors);
        let configs = Arc::new(self.present.clone());
        for shard in 0..self.post.shards() {
            self.post.send(ShardId(shard as u16), Mail::Tls(Arc::clone(&configs)));
        }
        if errors.is_empty() {
            if !certificates.is_empty() || vendors.iter().flatten().any(|vendor| vendor.use_tls) {
                self.log.write(LogLevel::Info, COMPONENT, "certificates reloaded", &[]);
            }
            return Vec::new();
        }
        let fault = |(place, error): (Option<usize>, crate::certificates::CertificateError)| {
            let reason = error.to_string();
            let message = "certificates not reloaded, the old ones stay in force";
            self.log.write(LogLevel::Error, COMPONENT, message, &[("reason", Field::Text(&reason))]);
            match place {
                Some(place) => RowFault {
                    table: "vendors",
                    key: snapshot.vendors[place].settings.instance_name.clone(),
                    column: "tls_ca".into(),
                    reason,
                },
                None => RowFault { table: "smpp.certificates", key: String::new(), column: "cert".into(), reason },
            }
        };
        errors.into_iter().map(fault).collect()
    }
}
