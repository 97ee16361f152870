//! Optional parameters, TLVs (SMPP 3.4 sections 3.2.4 and 5.3), read lazily.

use crate::scan::find_nul;

/// A TLV's tag (section 5.3.2). Unknown tags are values like any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub u16);

macro_rules! tags {
    ($($name:ident = $value:literal, $text:literal;)*) => {
        impl Tag {
            $(#[doc = concat!("`", $text, "`")] pub const $name: Tag = Tag($value);)*

            /// The specification's name for it; `None` for tags outside its table.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

tags! {
    DEST_ADDR_SUBUNIT = 0x0005, "dest_addr_subunit";
    DEST_NETWORK_TYPE = 0x0006, "dest_network_type";
    DEST_BEARER_TYPE = 0x0007, "dest_bearer_type";
    DEST_TELEMATICS_ID = 0x0008, "dest_telematics_id";
    SOURCE_ADDR_SUBUNIT = 0x000D, "source_addr_subunit";
    SOURCE_NETWORK_TYPE = 0x000E, "source_network_type";
    SOURCE_BEARER_TYPE = 0x000F, "source_bearer_type";
    SOURCE_TELEMATICS_ID = 0x0010, "source_telematics_id";
    QOS_TIME_TO_LIVE = 0x0017, "qos_time_to_live";
    PAYLOAD_TYPE = 0x0019, "payload_type";
    ADDITIONAL_STATUS_INFO_TEXT = 0x001D, "additional_status_info_text";
    RECEIPTED_MESSAGE_ID = 0x001E, "receipted_message_id";
    MS_MSG_WAIT_FACILITIES = 0x0030, "ms_msg_wait_facilities";
    PRIVACY_INDICATOR = 0x0201, "privacy_indicator";
    SOURCE_SUBADDRESS = 0x0202, "source_subaddress";
    DEST_SUBADDRESS = 0x0203, "dest_subaddress";
    USER_MESSAGE_REFERENCE = 0x0204, "user_message_reference";
    USER_RESPONSE_CODE = 0x0205, "user_response_code";
    SOURCE_PORT = 0x020A, "source_port";
    DESTINATION_PORT = 0x020B, "destination_port";
    SAR_MSG_REF_NUM = 0x020C, "sar_msg_ref_num";
    LANGUAGE_INDICATOR = 0x020D, "language_indicator";
    SAR_TOTAL_SEGMENTS = 0x020E, "sar_total_segments";
    SAR_SEGMENT_SEQNUM = 0x020F, "sar_segment_seqnum";
    SC_INTERFACE_VERSION = 0x0210, "sc_interface_version";
    CALLBACK_NUM_PRES_IND = 0x0302, "callback_num_pres_ind";
    CALLBACK_NUM_ATAG = 0x0303, "callback_num_atag";
    NUMBER_OF_MESSAGES = 0x0304, "number_of_messages";
    CALLBACK_NUM = 0x0381, "callback_num";
    DPF_RESULT = 0x0420, "dpf_result";
    SET_DPF = 0x0421, "set_dpf";
    MS_AVAILABILITY_STATUS = 0x0422, "ms_availability_status";
    NETWORK_ERROR_CODE = 0x0423, "network_error_code";
    MESSAGE_PAYLOAD = 0x0424, "message_payload";
    DELIVERY_FAILURE_REASON = 0x0425, "delivery_failure_reason";
    MORE_MESSAGES_TO_SEND = 0x0426, "more_messages_to_send";
    MESSAGE_STATE = 0x0427, "message_state";
    CONGESTION_STATE = 0x0428, "congestion_state";
    USSD_SERVICE_OP = 0x0501, "ussd_service_op";
    DISPLAY_TIME = 0x1201, "display_time";
    SMS_SIGNAL = 0x1203, "sms_signal";
    MS_VALIDITY = 0x1204, "ms_validity";
    ALERT_ON_MESSAGE_DELIVERY = 0x130C, "alert_on_message_delivery";
    ITS_REPLY_TYPE = 0x1380, "its_reply_type";
    ITS_SESSION_INFO = 0x1383, "its_session_info";
}

impl Tag {
    /// Whether SMPP 5.0 brought it: congestion_state and the broadcast, network, node and portability tags. Peers
    /// of earlier versions have been seen to fail over them.
    #[inline]
    pub const fn is_version_5(self) -> bool {
        matches!(self, Self::CONGESTION_STATE) || matches!(self.0, 0x0600..=0x0613)
    }
}

/// One optional parameter, its value raw: peers send other lengths than the table gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// Which parameter.
    pub tag: Tag,
    /// Its octets as they came.
    pub value: &'a [u8],
}

impl<'a> Tlv<'a> {
    /// The value as an unsigned integer, most significant octet first, whatever its length up to four (peers
    /// send one octet where the table says two); `None` when it is empty or longer.
    #[inline]
    pub fn integer(&self) -> Option<u32> {
        match self.value.len() {
            1..=4 => Some(self.value.iter().fold(0, |sum, &octet| sum << 8 | u32::from(octet))),
            _ => None,
        }
    }

    /// The value as a C-octet string: up to its first NUL, or all of it when the NUL was left out.
    #[inline]
    pub fn c_octets(&self) -> &'a [u8] {
        match find_nul(self.value) {
            Some(end) => &self.value[..end],
            None => self.value,
        }
    }
}

/// The optional part of a PDU, not yet read. Iterating stops at the first place that is not a whole TLV:
/// stray octets behind a body (a NUL too many, a TLV cut short) never cost the PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Tlvs<'a> {
    bytes: &'a [u8],
}

impl<'a> Tlvs<'a> {
    /// The TLVs in `bytes`.
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The octets of the optional part as they came, stray ones included.
    #[inline]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The first TLV with that tag.
    #[inline]
    pub fn find(&self, tag: Tag) -> Option<Tlv<'a>> {
        self.into_iter().find(|tlv| tlv.tag == tag)
    }

    /// Whether any of them is of SMPP 5.0.
    pub fn has_version_5(&self) -> bool {
        self.into_iter().any(|tlv| tlv.tag.is_version_5())
    }

    /// How many octets at the front are whole TLVs; what follows is stray.
    pub fn whole_length(&self) -> usize {
        let mut walk = self.into_iter();
        while walk.next().is_some() {}
        self.bytes.len() - walk.rest.len()
    }
}

impl<'a> IntoIterator for Tlvs<'a> {
    type Item = Tlv<'a>;
    type IntoIter = TlvIter<'a>;

    #[inline]
    fn into_iter(self) -> TlvIter<'a> {
        TlvIter { rest: self.bytes }
    }
}

/// Walks the TLVs of one PDU.
#[derive(Clone, Debug)]
pub struct TlvIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for TlvIter<'a> {
    type Item = Tlv<'a>;

    #[inline]
    fn next(&mut self) -> Option<Tlv<'a>> {
        let head: &[u8; 4] = self.rest.first_chunk()?;
        let tag = u16::from_be_bytes([head[0], head[1]]);
        let end = 4 + usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = self.rest.get(4..end)?;
        self.rest = &self.rest[end..];
        Some(Tlv { tag: Tag(tag), value })
    }
}
