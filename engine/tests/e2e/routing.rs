//! Which vendor a message goes to, and what is refused before it goes to any.

use smpp_pdu::message::ESM_UDHI;
use smpp_pdu::{Address, CommandId, CommandStatus, ShortMessage, Tag};

use crate::harness::{Esme, Setup, Shards, Vendor, assert_goes_to, message, to, with_one_shard_and_with_two};

with_one_shard_and_with_two![
    a_source_that_is_not_the_customers_is_refused,
    a_forced_source_replaces_the_customers,
    a_destination_without_a_route_is_refused,
    rules_are_taken_by_priority_and_customer,
    the_vendor_gets_the_message_as_the_customer_sent_it,
    a_status_can_be_set,
    a_validity_in_the_past_is_refused,
    a_large_payload_passes_whole,
    a_payload_goes_in_parts_to_a_vendor_that_takes_parts,
    a_vendor_is_found_by_its_name,
    long_messages_go_in_the_vendors_form,
];

fn from(addr: &[u8]) -> ShortMessage<'_> {
    ShortMessage { source: Address { ton: 1, npi: 1, addr }, ..message(b"hello") }
}

fn a_source_that_is_not_the_customers_is_refused(shards: Shards) {
    let vendor = Vendor::listen();
    let gateway = Setup::new(shards)
        .customer("acme", "allowed_source_addresses = [\"12025550100\", \"1303*\"]")
        .customer("none", "allowed_source_addresses = []")
        .vendor("north", vendor.address(), "")
        .rule("north", "")
        .launch();
    let mut link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    let mut esme = Esme::bound(&gateway, "acme");
    for refused in [&b"12025550101"[..], b"1202555010", b"130", b"ACME", b""] {
        assert_eq!(esme.submitted(&from(refused)).status, CommandStatus::ESME_RINVSRCADR);
    }
    for taken in [&b"12025550100"[..], b"13035550100", b"1303"] {
        assert_goes_to(&mut esme, &mut link, &from(taken));
    }
    let mut none = Esme::bound(&gateway, "none");
    assert_eq!(none.submitted(&from(b"12025550100")).status, CommandStatus::ESME_RINVSRCADR);
    gateway.end_well_without((esme, none, link));
}

fn a_forced_source_replaces_the_customers(shards: Shards) {
    let forms: [(&str, u8, u8, &[u8]); 4] = [
        ("12025550123", 1, 1, b"12025550123"),
        ("+4930123456", 1, 1, b"4930123456"),
        ("BRAND", 5, 0, b"BRAND"),
        ("74711", 3, 0, b"74711"),
    ];
    let vendor = Vendor::listen();
    let mut setup = Setup::new(shards).vendor("north", vendor.address(), "").rule("north", "");
    for (number, (forced, ..)) in forms.iter().enumerate() {
        setup = setup.customer(&format!("acme{number}"), &format!("force_source_address = \"{forced}\""));
    }
    let gateway = setup.launch();
    let mut link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    let mut esmes = Vec::new();
    for (number, (forced, ton, npi, addr)) in forms.into_iter().enumerate() {
        let mut esme = Esme::bound(&gateway, &format!("acme{number}"));
        for own in [Address { ton: 1, npi: 1, addr: b"12025550100" }, Address { ton: 5, npi: 0, addr: b"Acme" }] {
            let sequence = esme.submit(&ShortMessage { source: own, ..message(b"whoever I am") });
            let submit = link.accept_submit("1");
            assert_eq!(submit.message().source, Address { ton, npi, addr }, "{forced} in place of {own:?}");
            assert_eq!(submit.text(), "whoever I am");
            esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_ROK);
        }
        esmes.push(esme);
    }
    gateway.end_well_without((esmes, link));
}

fn a_destination_without_a_route_is_refused(shards: Shards) {
    let vendor = Vendor::listen();
    let gateway = Setup::new(shards)
        .customer("acme", "")
        .vendor("north", vendor.address(), "")
        .rule("north", "dest_pattern = \"^1.*\"")
        .launch();
    let mut link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    let mut esme = Esme::bound(&gateway, "acme");
    assert_eq!(esme.submitted(&to(b"4420")).status, CommandStatus::ESME_RINVDSTADR);
    assert_eq!(esme.submitted(&to(b"")).status, CommandStatus::ESME_RINVDSTADR);
    assert_goes_to(&mut esme, &mut link, &to(b"1"));
    gateway.end_well_without((esme, link));
}

fn rules_are_taken_by_priority_and_customer(shards: Shards) {
    let vendors = [Vendor::listen(), Vendor::listen(), Vendor::listen()];
    let gateway = Setup::new(shards)
        .customer("acme", "")
        .customer("other", "")
        .vendor("world", vendors[0].address(), "")
        .vendor("britain", vendors[1].address(), "")
        .vendor("own", vendors[2].address(), "")
        .rule("world", "priority = 50")
        .rule("britain", "priority = 10\ndest_pattern = \"^44\"")
        .rule("own", "priority = 1\ncustomer = \"acme\"\ndest_pattern = \"^4479(1|2)\"")
        .launch();
    let [mut world, mut britain, mut own] = vendors.each_ref().map(Vendor::accept_bound);
    gateway.wait_until_bound(3);
    let mut acme = Esme::bound(&gateway, "acme");
    let mut other = Esme::bound(&gateway, "other");
    for _ in 0..3 {
        assert_goes_to(&mut acme, &mut own, &to(b"447911"));
        assert_goes_to(&mut other, &mut britain, &to(b"447911"));
        assert_goes_to(&mut acme, &mut britain, &to(b"447931"));
        assert_goes_to(&mut acme, &mut world, &to(b"331"));
        assert_goes_to(&mut other, &mut world, &to(b"331"));
    }
    gateway.end_well_without((acme, other, world, britain, own));
}

/// Every field but the sequence_number, octet for octet.
fn the_vendor_gets_the_message_as_the_customer_sent_it(shards: Shards) {
    let vendor = Vendor::listen();
    let gateway = Setup::usual(shards, vendor.address()).launch();
    let mut link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    let mut esme = Esme::bound(&gateway, "acme");
    let rich = ShortMessage {
        service_type: b"CMT",
        esm_class: 0x40,
        protocol_id: 0x41,
        priority_flag: 2,
        validity_period: b"000001000000000R",
        registered_delivery: 0x11,
        replace_if_present_flag: 1,
        data_coding: 8,
        sm_default_msg_id: 3,
        ..message(b"\x05\x00\x03\x0A\x02\x01\x04\x1F\x04\x40")
    };
    let sequence = esme.submit(&rich);
    let sent = crate::harness::message::submit_sm(sequence, &rich);
    let submit = link.accept_submit("1");
    assert_eq!(submit.bytes[..12], sent[..12]);
    assert_eq!(submit.bytes[16..], sent[16..]);
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_ROK);
    gateway.end_well_without((esme, link));
}

fn a_status_can_be_set(shards: Shards) {
    let gateway = Setup::new(shards)
        .customer("acme", "allowed_source_addresses = [\"1\"]")
        .rows("[statuses]\nsource_not_allowed = 0x45\nno_route = 0x400")
        .start_without_vendors();
    let mut esme = Esme::bound(&gateway, "acme");
    assert_eq!(esme.submitted(&from(b"2")).status, CommandStatus::ESME_RSUBMITFAIL);
    assert_eq!(esme.submitted(&from(b"1")).status, CommandStatus(0x400));
    gateway.end_well_without(esme);
}

fn a_validity_in_the_past_is_refused(shards: Shards) {
    let gateway = Setup::new(shards).customer("acme", "").start_without_vendors();
    let mut esme = Esme::bound(&gateway, "acme");
    let past = ShortMessage { validity_period: b"200101000000000+", ..message(b"late") };
    assert_eq!(esme.submitted(&past).status, CommandStatus::ESME_RINVEXPIRY);
    let scheduled = ShortMessage { schedule_delivery_time: b"200101000000000+", ..message(b"late") };
    assert_eq!(esme.submitted(&scheduled).status, CommandStatus::ESME_RINVSCHED);
    gateway.end_well_without(esme);
}

fn a_large_payload_passes_whole(shards: Shards) {
    let vendor = Vendor::listen();
    let gateway = Setup::usual(shards, vendor.address()).launch();
    let mut link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    let mut esme = Esme::bound(&gateway, "acme");
    let payload: Vec<u8> = (0..65_535_u32).map(|at| (at % 251) as u8).collect();
    for _ in 0..20 {
        let sequence = esme.sequence();
        let mut pdu = crate::harness::message::submit_sm(sequence, &message(b""));
        pdu.extend([0x04, 0x24, 0xFF, 0xFF]);
        pdu.extend(&payload);
        let length = pdu.len() as u32;
        pdu[..4].copy_from_slice(&length.to_be_bytes());
        esme.send(&pdu);
        let submit = link.accept_submit("1");
        assert_eq!(submit.message().text(), payload);
        esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_ROK);
    }
    gateway.end_well_without((esme, link));
}

/// One submit_sm of the customer's, several of the vendor's, and one receipt.
fn a_payload_goes_in_parts_to_a_vendor_that_takes_parts(shards: Shards) {
    let vendor = Vendor::listen();
    let gateway = Setup::new(shards)
        .customer("acme", "")
        .vendor("north", vendor.address(), "long_messages = \"udh\"")
        .rule("north", "")
        .launch();
    let mut link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    let mut esme = Esme::bound(&gateway, "acme");
    let payload: Vec<u8> = (0..1_000u32).map(|octet| b'a' + (octet % 26) as u8).collect();
    let mut tlvs = vec![0x04, 0x24];
    tlvs.extend((payload.len() as u16).to_be_bytes());
    tlvs.extend(&payload);
    let sequence = esme.submit(&ShortMessage { tlvs: smpp_pdu::Tlvs::new(&tlvs), ..message(b"") });
    let mut got = Vec::new();
    for number in 1..=7 {
        let submit = link.accept_submit(&number.to_string());
        let part = submit.message();
        assert_eq!((part.esm_class & ESM_UDHI, &part.short_message[4..6]), (ESM_UDHI, &[7, number][..]));
        got.extend_from_slice(&part.short_message[6..]);
    }
    assert_eq!(got, payload);
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_ROK);
    gateway.end_well_without((esme, link));
}

fn a_vendor_is_found_by_its_name(shards: Shards) {
    let vendor = Vendor::listen();
    let row = |name: &str, host: &str, port: u16| {
        format!("[[vendors]]\ninstance_name = {name:?}\nhost = {host:?}\nport = {port}\nusername = \"gateway\"\n")
    };
    let gateway = Setup::new(shards)
        .customer("acme", "")
        .rows(&row("named", "localhost", vendor.address().port()))
        .rows(&row("nowhere", "no-such-host.invalid", 2775))
        .rule("named", "")
        .launch();
    let mut link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    gateway.log.wait_for(1, &["vendor could not be connected", "nowhere", "\"step\":\"name\""]);
    let mut esme = Esme::bound(&gateway, "acme");
    assert_goes_to(&mut esme, &mut link, &to(b"1"));
    gateway.end_well_without((esme, link));
}

/// The same two parts, sent with user data headers, as each vendor wants them.
fn long_messages_go_in_the_vendors_form(shards: Shards) {
    let forms = ["as_sent", "udh", "sar", "message_payload"];
    let vendors = forms.map(|_| Vendor::listen());
    let mut setup = Setup::new(shards).customer("acme", "");
    for (number, (form, vendor)) in forms.iter().zip(&vendors).enumerate() {
        setup = setup
            .vendor(form, vendor.address(), &format!("long_messages = {form:?}"))
            .rule(form, &format!("dest_pattern = \"^1{number}\""));
    }
    let gateway = setup.launch();
    let links = vendors.each_ref().map(Vendor::accept_bound);
    gateway.wait_until_bound(4);
    let mut esme = Esme::bound(&gateway, "acme");
    for (number, (form, mut link)) in forms.iter().zip(links).enumerate() {
        let dest = format!("1{number}5550100");
        for part in [1, 2] {
            let text = [&[5, 0, 3, 0x2A, 2, part][..], b"part"].concat();
            let sent = ShortMessage {
                esm_class: ESM_UDHI,
                dest: Address { ton: 1, npi: 1, addr: dest.as_bytes() },
                ..message(&text)
            };
            let sequence = esme.submit(&sent);
            let submit = link.accept_submit("1");
            esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_ROK);
            let got = submit.message();
            let sar = got.tlvs.find(Tag::SAR_SEGMENT_SEQNUM).map(|tlv| tlv.value);
            match *form {
                "sar" => {
                    assert_eq!(
                        (got.short_message, got.esm_class & ESM_UDHI, sar),
                        (&b"part"[..], 0, Some(&[part][..]))
                    );
                }
                "message_payload" => assert_eq!((got.short_message, got.text()), (&b""[..], &text[..])),
                _ => assert_eq!((got.short_message, got.esm_class, sar), (&text[..], ESM_UDHI, None)),
            }
        }
    }
    gateway.end_well_without(esme);
}
