//! What the program does with a new configuration before the shards get it: certificates and authorities are read anew.
//!
//! Runs on a thread of the control side that may wait, with every reload.

use std::collections::HashSet;
use std::sync::Arc;

use smpp_control::config::LogLevel;
use smpp_control::live::Loaded;
use smpp_control::{Companion, Configuration, Field, Log, RowFault};
use smpp_shards::settings::VendorSettings;
use smpp_shards::{ShardId, Snapshot};

use crate::certificates::{CertificateError, Clients, TlsConfigs, VendorConfigs};
use crate::mail::{Mail, Post};

/// As what these lines stand in the log.
const COMPONENT: &str = "gateway";

/// Keeps the shards' TLS settings in step with the configuration.
pub(crate) struct TlsKeeper {
    present: TlsConfigs,
    looked: Looked,
    post: Post,
    log: Log,
}

/// What a look at the rows of one reload has found.
#[derive(Default)]
struct Looked {
    configs: VendorConfigs,
    /// The vendors whose rows are wrong, by name.
    wrong: HashSet<String>,
}

impl TlsKeeper {
    /// One that starts from what the shards were started with.
    pub(crate) fn new(present: &TlsConfigs, post: Post, log: Log) -> Self {
        Self { present: present.clone(), looked: Looked::default(), post, log }
    }

    fn tell(&self, error: &CertificateError) -> String {
        let reason = error.to_string();
        let message = "certificates not reloaded, the old ones stay in force";
        self.log.write(LogLevel::Error, COMPONENT, message, &[("reason", Field::Text(&reason))]);
        reason
    }
}

impl Companion for TlsKeeper {
    /// A vendor's row whose authorities cannot be used is wrong as a whole: what else was changed in it waits with them.
    fn look(&mut self, loaded: &mut Loaded) {
        self.looked = Looked::default();
        for fault in row_faults(loaded, &mut self.looked.configs) {
            self.looked.wrong.insert(fault.key.clone());
            loaded.faults.push(fault);
        }
    }

    /// Connections that stand keep what they have. What cannot be read is told, and what was there before stays in use.
    fn prepare(&mut self, configuration: &Configuration, snapshot: &Snapshot) -> Vec<RowFault> {
        let Looked { mut configs, wrong } = core::mem::take(&mut self.looked);
        let vendors: Vec<Option<&VendorSettings>> =
            snapshot.vendors.iter().map(|vendor| (!vendor.is_removed).then_some(&vendor.settings)).collect();
        let certificates = &configuration.smpp.certificates;
        let servers = self.present.renew_server(certificates, Clients::of(&configuration.smpp));
        let mut theirs = self.present.renew_vendors(&vendors, &mut configs);
        // Of a row that is known to be wrong, its version of before need not be told as well.
        theirs.retain(|(place, _)| !wrong.contains(&snapshot.vendors[*place].settings.instance_name));
        let configs = Arc::new(self.present.clone());
        for shard in 0..self.post.shards() {
            self.post.send(ShardId(shard as u16), Mail::Tls(Arc::clone(&configs)));
        }
        if servers.is_empty() && theirs.is_empty() {
            if !certificates.is_empty() || vendors.iter().flatten().any(|vendor| vendor.use_tls) {
                self.log.write(LogLevel::Info, COMPONENT, "certificates reloaded", &[]);
            }
            return Vec::new();
        }
        let of_server = servers.iter().map(|error| {
            let reason = self.tell(error);
            RowFault { table: "smpp.certificates", key: String::new(), column: "cert".into(), reason }
        });
        let of_vendors = theirs.iter().map(|(place, error)| {
            let reason = self.tell(error);
            authority_fault(&snapshot.vendors[*place].settings.instance_name, reason)
        });
        of_server.chain(of_vendors).collect()
    }
}

/// The rows of vendors that are wrong for their authorities. Reads files, so not for a shard.
pub(crate) fn row_faults(loaded: &Loaded, configs: &mut VendorConfigs) -> Vec<RowFault> {
    let found = configs.look(&loaded.settings.vendors).into_iter();
    found
        .filter_map(|(place, error)| Some(authority_fault(loaded.keys.vendors.get(place)?, error.to_string())))
        .collect()
}

fn authority_fault(key: &str, reason: String) -> RowFault {
    RowFault { table: "vendors", key: key.to_owned(), column: "tls_ca".into(), reason }
}
