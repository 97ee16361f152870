//! command_id values (SMPP 3.4 section 5.1.2.1).

use core::fmt;

/// The command_id field of a PDU header: which operation it is, and whether it is a request or a response.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandId(pub u32);

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        impl CommandId {
            $($(#[$doc])* pub const $name: CommandId = CommandId($value);)*

            /// Every command this crate knows, in the order of the specification's table.
            pub const ALL: &'static [CommandId] = &[$(CommandId::$name),*];

            /// The field's own name for it, such as `submit_sm`; `None` for a value outside the table.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

commands! {
    /// Answer to a PDU whose header could not be understood (section 4.3.1).
    GENERIC_NACK = 0x8000_0000, "generic_nack";
    /// Section 4.1.3.
    BIND_RECEIVER = 0x0000_0001, "bind_receiver";
    /// Section 4.1.4.
    BIND_RECEIVER_RESP = 0x8000_0001, "bind_receiver_resp";
    /// Section 4.1.1.
    BIND_TRANSMITTER = 0x0000_0002, "bind_transmitter";
    /// Section 4.1.2.
    BIND_TRANSMITTER_RESP = 0x8000_0002, "bind_transmitter_resp";
    /// Section 4.8.1.
    QUERY_SM = 0x0000_0003, "query_sm";
    /// Section 4.8.2.
    QUERY_SM_RESP = 0x8000_0003, "query_sm_resp";
    /// Section 4.4.1.
    SUBMIT_SM = 0x0000_0004, "submit_sm";
    /// Section 4.4.2.
    SUBMIT_SM_RESP = 0x8000_0004, "submit_sm_resp";
    /// Section 4.6.1.
    DELIVER_SM = 0x0000_0005, "deliver_sm";
    /// Section 4.6.2.
    DELIVER_SM_RESP = 0x8000_0005, "deliver_sm_resp";
    /// Section 4.2.1.
    UNBIND = 0x0000_0006, "unbind";
    /// Section 4.2.2.
    UNBIND_RESP = 0x8000_0006, "unbind_resp";
    /// Section 4.10.1.
    REPLACE_SM = 0x0000_0007, "replace_sm";
    /// Section 4.10.2.
    REPLACE_SM_RESP = 0x8000_0007, "replace_sm_resp";
    /// Section 4.9.1.
    CANCEL_SM = 0x0000_0008, "cancel_sm";
    /// Section 4.9.2.
    CANCEL_SM_RESP = 0x8000_0008, "cancel_sm_resp";
    /// Section 4.1.5.
    BIND_TRANSCEIVER = 0x0000_0009, "bind_transceiver";
    /// Section 4.1.6.
    BIND_TRANSCEIVER_RESP = 0x8000_0009, "bind_transceiver_resp";
    /// Section 4.1.7; it has no response.
    OUTBIND = 0x0000_000B, "outbind";
    /// Section 4.11.1.
    ENQUIRE_LINK = 0x0000_0015, "enquire_link";
    /// Section 4.11.2.
    ENQUIRE_LINK_RESP = 0x8000_0015, "enquire_link_resp";
    /// Section 4.5.1.
    SUBMIT_MULTI = 0x0000_0021, "submit_multi";
    /// Section 4.5.2.
    SUBMIT_MULTI_RESP = 0x8000_0021, "submit_multi_resp";
    /// Section 4.12.1; it has no response.
    ALERT_NOTIFICATION = 0x0000_0102, "alert_notification";
    /// Section 4.7.1.
    DATA_SM = 0x0000_0103, "data_sm";
    /// Section 4.7.2.
    DATA_SM_RESP = 0x8000_0103, "data_sm_resp";
}

impl CommandId {
    /// Bit 31 marks a response.
    pub const RESPONSE_BIT: u32 = 0x8000_0000;

    /// Whether this is a response (generic_nack counts as one).
    #[inline]
    pub const fn is_response(self) -> bool {
        self.0 & Self::RESPONSE_BIT != 0
    }

    /// The response that belongs to this request; a response is returned unchanged.
    #[inline]
    pub const fn response(self) -> CommandId {
        CommandId(self.0 | Self::RESPONSE_BIT)
    }

    /// Whether the specification has a response to this: not so for responses, outbind and alert_notification.
    #[inline]
    pub const fn has_response(self) -> bool {
        !self.is_response() && !matches!(self, Self::OUTBIND | Self::ALERT_NOTIFICATION)
    }

    /// Whether this is one of the three bind requests.
    #[inline]
    pub const fn is_bind(self) -> bool {
        matches!(self, Self::BIND_RECEIVER | Self::BIND_TRANSMITTER | Self::BIND_TRANSCEIVER)
    }
}

impl fmt::Debug for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "command_id 0x{:08X}", self.0),
        }
    }
}
