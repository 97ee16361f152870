//! SMPP 3.4 protocol data units: bytes to borrowed views, and back.
//!
//! This crate knows the protocol and nothing of a gateway. It does no I/O, reads no clock and allocates
//! nothing when it decodes: every view borrows from the caller's buffer, optional parameters (TLVs) are
//! read lazily, and a relayed body is patched in place instead of being encoded again.
//!
//! It is lenient in what it takes (field experience decides, see each module) and exact in what it sends.
//!
//! - [`frame`]: cut PDUs out of a byte stream; the 16-octet header.
//! - [`command`], [`status`]: the two identifier tables.
//! - [`bind`], [`message`]: the bodies on the hot path.
//! - [`data`], [`multi`], [`manage`], [`notice`]: the other bodies.
//! - [`body`]: any of them as one value.
//! - [`tlv`]: optional parameters.
//! - [`receipt`], [`id`], [`time`]: what stands as text in PDUs.
//! - [`coding`], [`gsm`], [`mod@concat`]: alphabets, and long messages in parts.
//! - [`encode`]: write PDUs into a caller's buffer; cannot fail.

pub mod bind;
pub mod body;
pub mod coding;
pub mod command;
pub mod concat;
pub mod cursor;
pub mod data;
pub mod encode;
pub mod frame;
pub mod gsm;
pub mod id;
pub mod manage;
pub mod message;
pub mod multi;
pub mod notice;
pub mod receipt;
mod scan;
pub mod status;
pub mod time;
pub mod tlv;

pub use body::Body;
pub use coding::Alphabet;
pub use command::CommandId;
pub use cursor::{DecodeError, Reader};
pub use encode::Encoder;
pub use frame::{Deframed, Header, deframe};
pub use id::{IdForm, IdText, NormalId};
pub use message::{Address, ShortMessage};
pub use receipt::{MessageState, Receipt};
pub use status::CommandStatus;
pub use tlv::{Tag, Tlv, Tlvs};
