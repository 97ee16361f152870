//! Where the control port writes vendors: the contract of the table behind it.
//!
//! Called on the control thread. The port has checked every field by itself before it calls; what only the table can know
//! (a name that is taken, a row that is gone, a database that is away) is the table's to say.

use std::future::Future;
use std::pin::Pin;

use serde_json::{Map, Value};

/// Fields of one vendor by their column, each of the right type and in range. Fields that are not there keep their value,
/// or get the column's default in a new row.
pub type VendorFields = Map<String, Value>;

/// Why a vendor was not written; the table is as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VendorTableError {
    /// There is no vendor of that id.
    NotFound,
    /// Another vendor has that value of that field.
    Taken {
        /// The column.
        field: &'static str,
    },
    /// Rows of other tables name this vendor; a sentence.
    InUse(String),
    /// The table does not take a value: the column and a sentence for each.
    Invalid(Vec<(String, String)>),
    /// The table cannot be written now; a sentence without passwords.
    Unavailable(String),
}

/// A vendor that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenVendor {
    /// By what the platform knows it: the row's id, or instance_name where there is none.
    pub id: String,
    /// As it is now; of one that was removed, as it was.
    pub instance_name: String,
}

/// What comes of writing.
pub type Written<'a> = Pin<Box<dyn Future<Output = Result<WrittenVendor, VendorTableError>> + Send + 'a>>;

/// The table of vendors. `id` is the vendor's id or its instance_name.
pub trait VendorTable: Send + Sync {
    /// Adds a vendor.
    fn insert(&self, fields: VendorFields) -> Written<'_>;

    /// Gives a vendor those fields, and every other column its default.
    fn replace<'a>(&'a self, id: &'a str, fields: VendorFields) -> Written<'a>;

    /// Changes those fields of a vendor alone.
    fn patch<'a>(&'a self, id: &'a str, fields: VendorFields) -> Written<'a>;

    /// Removes a vendor.
    fn delete<'a>(&'a self, id: &'a str) -> Written<'a>;
}
