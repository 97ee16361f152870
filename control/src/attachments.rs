//! What the control port needs of others, each of which may be missing: whoever reloads, keeps messages, or keeps vendors.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;
use smpp_shards::settings::VendorSettings;

use crate::live::ReloadHandle;
use crate::recovery::RecoveryProgress;
use crate::store_lookup::MessageLookup;
use crate::vendor_table::VendorTable;

/// Makes the TLS settings towards a vendor, or says in a sentence why it cannot. May read files, so it is called on a
/// thread that may wait.
pub type VendorTls = Arc<dyn Fn(&VendorSettings) -> Result<Arc<ClientConfig>, String> + Send + Sync>;

/// What is attached to the control port.
#[derive(Clone, Default)]
pub struct Attachments {
    /// Who reads the configuration anew; without it reloads are answered 503.
    pub reload: Option<ReloadHandle>,
    /// Who finds messages; without it look-ups are answered 503.
    pub messages: Option<Arc<dyn MessageLookup>>,
    /// Who keeps vendors; without it, because a file does, changes are answered 409.
    pub vendor_table: Option<Arc<dyn VendorTable>>,
    /// TLS for trial binds; without it a vendor with TLS cannot be tried.
    pub vendor_tls: Option<VendorTls>,
    /// How far the start is with the journal, where there is one.
    pub recovery: Option<Arc<RecoveryProgress>>,
}

impl fmt::Debug for Attachments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachments")
            .field("reload", &self.reload.is_some())
            .field("messages", &self.messages.is_some())
            .field("vendor_table", &self.vendor_table.is_some())
            .field("vendor_tls", &self.vendor_tls.is_some())
            .field("recovery", &self.recovery)
            .finish()
    }
}
