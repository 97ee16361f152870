//! What is taken, what is refused, on which line and in which words.

use super::*;
use smpp_shards::settings::BindType;

const EXAMPLE: &str = r#"# The smallest real configuration: one customer, one vendor, one route, no services.
[gateway]
node_id = "gw-1"
accept = "relay"
data_dir = "data"

[shards]
cores = [0]

[smpp]
listen = "127.0.0.1:2775"

[control]
listen = "127.0.0.1:8080"
metrics_listen = "127.0.0.1:9090"

[[customers]]
smpp_system_id = "acme"
smpp_password = "secret12"
allowed_source_addresses = ["*"]

[[vendors]]
instance_name = "north"
host = "127.0.0.1"
port = 3601
username = "gateway"
password = "gateway1"
bind_type = "transceiver"
binds = 2
window_size = 1000

[[routing_rules]]
priority = 10
dest_pattern = "^1.*"
vendor = "north"
"#;

fn parsed(text: &str) -> Result<Configuration, ConfigError> {
    parse(Path::new("gateway.toml"), text, &|_| None)
}

fn lines_of(text: &str) -> Vec<String> {
    match parsed(text) {
        Ok(_) => Vec::new(),
        Err(error) => error.to_string().lines().map(str::to_owned).collect(),
    }
}

#[test]
fn the_smallest_real_configuration_is_taken() {
    let configuration = parsed(EXAMPLE).unwrap();
    assert_eq!(configuration.gateway.node_id, "gw-1");
    assert_eq!(configuration.gateway.accept, Accept::Relay);
    assert_eq!(configuration.shards, ShardsSettings { cores: Some(vec![0]), pin: true, spin_us: None });
    assert_eq!(configuration.smpp.listen, ["127.0.0.1:2775".parse().unwrap()]);
    assert!(configuration.smpp.tls_listen.is_empty());
    assert!(configuration.control.token.is_none() && configuration.control.ready_requires_vendor);
    assert_eq!(configuration.settings.gateway.node, node_number("gw-1"));
    assert_eq!(configuration.settings.vendors[0].bind_type, BindType::Transceiver);
    assert_eq!(configuration.settings.vendors[0].window_size, 1000);
    let snapshot = configuration.snapshot(2, 1).unwrap();
    assert_eq!(snapshot.version, 1);
    assert!(snapshot.customer_by_system_id(b"acme").is_some());
}

#[test]
fn almost_everything_has_a_default() {
    let configuration = parsed("gateway.accept = \"relay\"").unwrap();
    assert_eq!(configuration.smpp.listen, ["0.0.0.0:2775".parse().unwrap()]);
    assert_eq!(configuration.control.listen, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(configuration.control.metrics_listen, "127.0.0.1:9090".parse().unwrap());
    assert_eq!(configuration.log.level, LogLevel::Info);
    assert_eq!(configuration.gateway.data_dir, Path::new("data"));
}

#[test]
fn the_journal_is_what_holds_where_nothing_is_said() {
    let left_out = parsed(&EXAMPLE.replace("accept = \"relay\"\n", "")).unwrap();
    assert_eq!(left_out.gateway.accept, Accept::Journal);
    assert_eq!(left_out.journal, JournalSettings { segment_mb: 64, max_mb: 16_384, commit_wait_us: 1_000 });
    let journal = parsed("[journal]\nsegment_mb = 16\nmax_mb = 256\ncommit_wait_us = 0").unwrap().journal;
    assert_eq!(journal, JournalSettings { segment_mb: 16, max_mb: 256, commit_wait_us: 0 });
}

#[test]
fn the_store_is_redis_where_there_is_one_unless_set_otherwise() {
    let store = |text: &str| parsed(text).unwrap().store;
    assert_eq!(store(""), StoreChoice::None);
    assert_eq!(store("[redis]\nurl = \"redis.example:6379\""), StoreChoice::Redis);
    assert_eq!(store("[store]\nkind = \"embedded\""), StoreChoice::Embedded);
    assert_eq!(store("[redis]\nurl = \"redis.example\"\n[store]\nkind = \"none\""), StoreChoice::None);
}

#[test]
fn a_rate_is_whole_millionths_however_it_is_written() {
    let rate = |written: &str| {
        let text = format!("{EXAMPLE}rate_per_msg = {written}\n");
        parsed(&text).unwrap().settings.routing_rules[0].rate_per_msg.map(|rate| rate.millionths())
    };
    assert_eq!(rate("0.0075"), Some(7_500));
    assert_eq!(rate("7.5e-3"), Some(7_500));
    assert_eq!(rate("2"), Some(2_000_000));
    assert_eq!(rate("0"), Some(0));
    assert_eq!(rate("999999.999999"), Some(999_999_999_999));
    assert_eq!(parsed(EXAMPLE).unwrap().settings.routing_rules[0].rate_per_msg, None);
}

/// A text put behind the example, the line counted from its own first one, and words of what is said.
const WRONG: &[(&str, usize, &str)] = &[
    ("[journal]\nsegment_mb = 4", 2, "[journal] segment_mb is 4; give 8 to 1024 MiB"),
    ("[journal]\nmax_mb = 64", 2, "[journal] max_mb is 64; give at least 512 MiB: 8 segments"),
    ("[journal]\ncommit_wait_us = 20000", 2, "[journal] commit_wait_us is 20000; give at most 10000: 10 ms"),
    ("[journal]\nsegments = 4", 2, "segments"),
    ("[redis]", 1, "[redis] url is left out; write redis://host:6379"),
    ("[redis]\nurl = \"http://redis\"", 2, "[redis] url is no URL of Redis; write redis://host:6379"),
    ("[redis]\nurl = \"redis://redis/2\"", 2, "[redis] url names a database; the gateway's are fixed"),
    ("[redis]\nurl = 7", 2, "[redis] url is not text; put it in quotes"),
    (
        "[redis]\nurl = \"redis\"\nlease_ms = 10",
        3,
        "[redis] lease_ms is 10, out of range; give 50 to 2000 milliseconds",
    ),
    (
        "[redis]\nurl = \"redis\"\nlease_ms = 400\nnode_timeout_ms = 1999",
        4,
        "[redis] node_timeout_ms is 1999, out of range; give 2000 (five times lease_ms) to 300000 milliseconds",
    ),
    ("[redis]\nurl = \"redis\"\nlease_ms = \"short\"", 3, "[redis] lease_ms is"),
    ("[store]\nkind = \"disk\"", 2, "[store] kind is \"disk\"; write one of \"none\", \"embedded\", \"redis\""),
    ("[store]\nkind = \"redis\"", 2, "[store] kind is \"redis\", and no Redis is configured; add [redis]"),
    ("[rabbitmq]", 1, "[rabbitmq] is not served by this version yet"),
    ("[[campaigns_10dlc]]", 1, "[[campaigns_10dlc]] is not served by this version yet"),
    ("[[content_rules]]", 1, "[[content_rules]] is not served by this version yet"),
    ("[[vendor]]", 1, "[[vendor]] is no known table; did you mean vendors?"),
    ("[colours]", 1, "[colours] is no known table; leave it out; known are gateway, "),
    ("[log]\nlevel = \"loud\"", 2, "[log] level is \"loud\"; write one of \"debug\", \"info\", \"warn\", \"error\""),
    ("[log]\nlevle = \"info\"", 2, "[log] levle is no known key; did you mean level?"),
    ("[statuses]\nthrottled = \"0x58\"", 2, "[statuses] throttled is string \"0x58\"; write a whole number"),
    ("[statuses]\nno_route = 11\nthrottled = 0", 3, "throttled is 0, ESME_ROK: what is refused would be acknowledged"),
    ("[statuses]\nthrotled = 88", 2, "did you mean throttled?"),
    (
        "[[routing_rules]]\nvendor = \"north\"\nrate_per_msg = -0.01",
        3,
        "[[routing_rules]] rate_per_msg is floating point `-0.01`, which is out of range; write a number",
    ),
    (
        "[[routing_rules]]\nvendor = \"north\"\nrate_per_msg = -1",
        3,
        "rate_per_msg is integer `-1`, which is out of range",
    ),
    (
        "[[routing_rules]]\nvendor = \"north\"\nrate_per_msg = 0.0000075",
        3,
        "rate_per_msg is floating point `0.0000075`, which is out of range; write a number from 0 to 999999.999999 with at \
         most six decimals",
    ),
    ("[[routing_rules]]\nvendor = \"north\"\nrate_per_msg = nan", 3, "rate_per_msg is floating point `NaN`"),
    ("[[routing_rules]]\nvendor = \"north\"\nrate_per_msg = inf", 3, "rate_per_msg is floating point `inf`"),
    (
        "[[routing_rules]]\nvendor = \"north\"\nrate_per_msg = \"0.01\"",
        3,
        "rate_per_msg is string \"0.01\"; write a number",
    ),
    (
        "[[routing_rules]]\nvendor = \"north\"\nrate_per_msg = 1000000",
        3,
        "[[routing_rules]] rate_per_msg is 1000000; give at most 999999.999999",
    ),
    (
        "[[routing_rules]]\nvendor = \"north\"\nrate_per_msgs = 1",
        3,
        "rate_per_msgs is no known key; did you mean rate_per_msg?",
    ),
    ("[[routing_rules]]\nvendor = \"south\"", 2, "[[routing_rules]] vendor is \"south\", and there is no vendor"),
    ("[[routing_rules]]\npriority = 1", 1, "[[routing_rules]] vendor is left out; name one of the [[vendors]]"),
    ("[[routing_rules]]\nvendor = \"north\"\ndest_pattern = \"^(\"", 3, "dest_pattern does not compile"),
    ("[[routing_rules]]\nvendor = \"north\"\ncustomer = \"bolt\"", 3, "customer is \"bolt\", which no customer has"),
    (
        "[[inbound_routes]]\ndid = \"4711\"\nsmpp_system_id = \"acme\"\ndelivery_method = \"webhook\"",
        4,
        "delivery_method = \"webhook\" is not served by this version yet; write \"smpp\"",
    ),
    (
        "[[inbound_routes]]\ndid = \"4711\"\nsmpp_system_id = \"acme\"\ndelivery_method = \"pigeon\"",
        4,
        "delivery_method is \"pigeon\"; write one of \"smpp\"",
    ),
    (
        "[[inbound_routes]]\ndid = \"4711\"\nsmpp_system_id = \"acme\"\nwebhook_url = \"http://x\"",
        4,
        "webhook_url is not served by this version yet",
    ),
    ("[[inbound_routes]]\ndid = \"4711\"\nsmpp_system_id = \"bolt\"", 3, "which no customer has"),
    ("[[vendors]]\ninstance_name = \"south\"\nhost = \"h\"", 1, "[[vendors]] port is 0 or left out; give a port"),
    (
        "[[vendors]]\ninstance_name = \"south\"\nhost = \"h\"\nport = 70000",
        4,
        "port is integer `70000`, which is out of range; write a whole number from 0 to 65535",
    ),
    (
        "[[vendors]]\ninstance_name = \"south\"\nhost = \"h\"\nport = 1\nbindtype = \"receiver\"",
        5,
        "bindtype is no known key; did you mean bind_type?",
    ),
    (
        "[[vendors]]\ninstance_name = \"south\"\nhost = \"h\"\nport = 1\nbind_type = \"both\"",
        5,
        "bind_type is \"both\"; write one of \"transceiver\", \"transmitter\", \"receiver\"",
    ),
    (
        "[[vendors]]\ninstance_name = \"south\"\nhost = \"h\"\nport = 1\ncost_per_sms = 1",
        5,
        "not served by this version",
    ),
    ("[[vendors]]\ninstance_name = \"north\"\nhost = \"h\"\nport = 1", 2, "[[vendors]] instance_name is there twice"),
    ("[[vendors]]\ninstance_name = \"south\"\nhost = \"h\"\nport = 1\nbinds = 0", 5, "[[vendors]] binds is 0"),
    (
        "[[vendors]]\ninstance_name = \"south\"\nhost = \"h\"\nport = 1\npassword = 87654321",
        5,
        "[[vendors]] password is not text; put it in quotes",
    ),
    ("[[customers]]\nsmpp_system_id = \"bolt\"", 1, "smpp_password_hash is left out, and so is smpp_password"),
    ("[[customers]]\nsmpp_system_id = \"bolt\"\nsmpp_password = 87654321", 3, "smpp_password is not text"),
    ("[[customers]]\nsmpp_system_id = \"acme\"\nsmpp_password = \"x\"", 2, "smpp_system_id is there twice"),
    (
        "[[customers]]\nsmpp_system_id = \"bolt\"\naccount_id = \"acme\"\nsmpp_password = \"x\"",
        3,
        "account_id is \"acme\", which another customer goes by",
    ),
    ("[[customers]]\nsmpp_system_id = \"bolt\"\nsmpp_password_hash = \"$2b$10$x\"", 3, "is no bcrypt hash"),
    (
        "[[customers]]\nsmpp_system_id = \"bolt\"\n\
      smpp_password_hash = \"$2b$20$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01232\"",
        3,
        "has the cost 20",
    ),
    (
        "[[customers]]\nsmpp_system_id = \"bolt\"\nsmpp_password = \"x\"\nsmpp_allowed_ips = [\"10.0.0.0/40\"]",
        4,
        "smpp_allowed_ips holds \"10.0.0.0/40\"",
    ),
    (
        "[[customers]]\nsmpp_system_id = \"bolt\"\nsmpp_password = \"x\"\nsmpp_max_binds = -1",
        4,
        "smpp_max_binds is integer `-1`, which is out of range; write a whole number from 0 to 4294967295",
    ),
    (
        "[[customers]]\nsmpp_system_id = \"bolt\"\nsmpp_password = \"x\"\nmessage_id_format = \"roman\"",
        4,
        "message_id_format is \"roman\"; write one of \"uuid\", \"hex\", \"decimal\"",
    ),
    (
        "[[smpp.certificates]]\ncert = \"c.pem\"\nkey = \"k.pem\"",
        1,
        "[[smpp.certificates]] domain is empty or left out",
    ),
    (
        "[[smpp.certificates]]\ndomain = \"a.example\"\ncert = \"c.pem\"\nkey = \"k.pem\"\nchain = \"d.pem\"",
        5,
        "chain is no known key",
    ),
    ("[auth]\nfailure_delay_max_ms = 4001", 2, "[auth] failure_delay_max_ms is 4001; give at most 4000 milliseconds"),
    ("[auth]\nfailure_delay_ms = 2001", 2, "[auth] failure_delay_ms is 2001; give at most failure_delay_max_ms, 2000"),
    (
        "[[customers]]\nsmpp_system_id = \"bolt\"\nsmpp_password = \"x\"\ntls_client_certificate_sha256 = [\"5F:9C\"]",
        4,
        "tls_client_certificate_sha256 holds \"5F:9C\", which is no SHA-256 fingerprint; write what `openssl x509",
    ),
    (
        "[[customers]]\nsmpp_system_id = \"bolt\"\nsmpp_password = \"x\"\ntls_client_certificate_names = [\"CN=bolt\"]",
        4,
        "tls_client_certificate_names holds \"CN=bolt\", which is no domain name",
    ),
    ("[auth]\nfailure_forget_seconds = 0", 2, "[auth] failure_forget_seconds is 0; give 1 to 86400 seconds"),
    ("[auth]\nfailure_forget_seconds = 86401", 2, "[auth] failure_forget_seconds is 86401"),
    ("[auth]\nfailures_undelayed = -1", 2, "[auth] failures_undelayed is integer `-1`"),
    ("[auth]\nfailures_delayed = 1", 2, "did you mean failures_undelayed?"),
    ("[[customers]\n", 1, "this is not TOML"),
    ("[log]\nlevel = info", 2, "this is not TOML"),
    ("[gateway]\nretry_count = 1", 1, "this is not TOML: duplicate key"),
    ("[log]\nlevel = \"unfinished", 2, "this is not TOML"),
];

#[test]
fn every_fault_names_its_line_and_its_cure() {
    let first = EXAMPLE.lines().count() + 1;
    for &(addition, line, words) in WRONG {
        let said = lines_of(&format!("{EXAMPLE}{addition}\n"));
        assert!(!said.is_empty(), "taken: {addition}");
        let opening = format!("gateway.toml:{}: ", first + line - 1);
        assert!(said.iter().any(|text| text.starts_with(&opening) && text.contains(words)), "{addition}: {said:#?}");
        assert_eq!(said.len(), 1, "{addition}: {said:#?}");
        assert!(!said[0].contains("87654321"), "a password is shown: {}", said[0]);
    }
}

#[test]
fn a_rules_pattern_is_looked_at_although_its_vendor_is_not_there() {
    let said = lines_of(&format!("{EXAMPLE}[[routing_rules]]\nvendor = \"south\"\ndest_pattern = \"^(\"\n"));
    assert_eq!(said.len(), 2, "{said:#?}");
    assert!(said.iter().any(|text| text.contains("dest_pattern does not compile")), "{said:#?}");
}

/// A line of the example, what is put in its place, and words of what is said of it.
const CHANGED: [(&str, &str, &str); 20] = [
    ("cores = [0]", "cores = []", "[shards] cores is empty"),
    ("cores = [0]", "cores = [1, 0, 1]", "[shards] cores names core 1 twice"),
    ("cores = [0]", "cores = 0", "[shards] cores is integer `0`; write a list in brackets"),
    ("cores = [0]", "spin_us = 1000000", "[shards] spin_us is 1000000; give at most 10000 microseconds"),
    ("node_id = \"gw-1\"", "node_id = \"\"", "[gateway] node_id has 0 octets"),
    ("node_id = \"gw-1\"", "retry_count = 0", "[gateway] retry_count is 0"),
    (
        "node_id = \"gw-1\"",
        "late_answer_ms = 86400001",
        "[gateway] late_answer_ms is 86400001; give at most 86400000: a day",
    ),
    ("data_dir = \"data\"", "data_dir = \"\"", "[gateway] data_dir is empty; name a folder, or leave it out"),
    (
        "listen = \"127.0.0.1:2775\"",
        "listen = [\"127.0.0.1:2775\", \"sms.example:2775\"]",
        "[smpp] listen holds \"sms.example:2775\", which is no address; write an IP address and a port",
    ),
    ("listen = \"127.0.0.1:2775\"", "listen = 2775", "write an address such as \"0.0.0.0:2775\", or a list of them"),
    (
        "listen = \"127.0.0.1:2775\"",
        "tls_client_ca = \"ca.pem\"",
        "[smpp] tls_client_ca is set, and the gateway has no certificate itself",
    ),
    ("listen = \"127.0.0.1:2775\"", "tls_client_ca = \"\"", "[smpp] tls_client_ca is empty"),
    (
        "listen = \"127.0.0.1:2775\"",
        "tls_client_certificates = \"required\"",
        "[smpp] tls_client_certificates is set, and there is no tls_client_ca; name the PEM file",
    ),
    (
        "listen = \"127.0.0.1:2775\"",
        "tls_client_certificates = \"never\"",
        "[smpp] tls_client_certificates is \"never\"; write one of \"optional\" or \"required\"",
    ),
    ("listen = \"127.0.0.1:2775\"", "bind_timeout_ms = 5", "[smpp] bind_timeout_ms is 5; give at least 100"),
    ("listen = \"127.0.0.1:2775\"", "tls_listen = \"127.0.0.1:2776\"", "there is no certificate; add [[smpp.cert"),
    (
        "listen = \"127.0.0.1:2775\"",
        "listen = \"127.0.0.1:8080\"",
        "[control] listen is 127.0.0.1:8080, and so is [smpp]",
    ),
    ("listen = \"127.0.0.1:8080\"", "listen = \"0.0.0.0:8080\"", "which others can reach, and no token is set"),
    ("listen = \"127.0.0.1:8080\"", "token = \"\"", "[control] token is empty"),
    ("listen = \"127.0.0.1:8080\"", "token = 87654321", "[control] token is not text; put it in quotes"),
];

#[test]
fn a_line_changed_for_the_worse_is_named() {
    for (line, replacement, words) in CHANGED {
        let text = EXAMPLE.replace(line, replacement);
        let said = lines_of(&text);
        assert_eq!(said.len(), 1, "{replacement}: {said:#?}");
        assert!(said[0].contains(words), "{replacement}: {}", said[0]);
        let key = replacement.split(' ').next().unwrap();
        let table = words.split(']').next().unwrap();
        if words.starts_with(&format!("{table}] {key}")) && !words.contains("and so is") {
            let number = text.lines().position(|candidate| candidate == replacement).unwrap() + 1;
            assert!(said[0].starts_with(&format!("gateway.toml:{number}: ")), "{}", said[0]);
        }
    }
}

#[test]
fn all_faults_are_told_at_once_in_the_order_of_their_lines() {
    let text = EXAMPLE
        .replace("accept = \"relay\"", "accept = \"later\"")
        .replace("port = 3601", "port = 0\nhots = \"x\"")
        .replace("vendor = \"north\"", "vendor = \"nord\"");
    let said = lines_of(&text);
    let openings: Vec<&str> = said.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(openings, ["gateway.toml:4:", "gateway.toml:25:", "gateway.toml:26:", "gateway.toml:36:"], "{said:#?}");
}

#[test]
fn rows_written_inline_have_lines_too() {
    let text = "gateway.accept = \"relay\"\nvendors = [\n  { instance_name = \"a\", host = \"h\", port = 1 },\n  \
                { instance_name = \"b\", host = \"h\", port = 0 },\n]\n";
    let said = lines_of(text);
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(said[0].starts_with("gateway.toml:4: [[vendors]] port is 0"), "{}", said[0]);
}

#[test]
fn a_token_opens_other_addresses_and_is_never_shown() {
    let text = EXAMPLE.replace("listen = \"127.0.0.1:8080\"", "listen = \"0.0.0.0:8080\"\ntoken = \"opensesame\"");
    let configuration = parsed(&text).unwrap();
    assert_eq!(configuration.control.token.as_ref().map(Secret::reveal), Some("opensesame"));
    let shown = format!("{configuration:?}");
    assert!(!shown.contains("opensesame") && !shown.contains("secret12") && !shown.contains("gateway1"), "{shown}");
}

#[test]
fn certificates_bring_the_tls_port_with_them() {
    let text = format!("{EXAMPLE}[[smpp.certificates]]\ndomain = \"a.example\"\ncert = \"c.pem\"\nkey = \"k.pem\"\n");
    let configuration = parsed(&text).unwrap();
    assert_eq!(configuration.smpp.tls_listen, ["0.0.0.0:2776".parse().unwrap()]);
    assert_eq!(configuration.smpp.certificates[0].domain, "a.example");
}

#[test]
fn a_list_may_be_empty_and_an_address_may_not() {
    let none = EXAMPLE.replace("listen = \"127.0.0.1:2775\"", "listen = []");
    assert!(lines_of(&none)[0].contains("[smpp] listen names no address, and neither does tls_listen"));
    let empty = EXAMPLE.replace("listen = \"127.0.0.1:2775\"", "listen = \"\"");
    assert!(lines_of(&empty)[0].contains("[smpp] listen holds \"\", which is no address"));
}

#[test]
fn the_environment_overrides_the_file() {
    let environment = |name: &str| match name {
        "SMPP_PORT" => Some("4000".to_owned()),
        "METRICS_PORT" => Some("0.0.0.0:4001".to_owned()),
        _ => None,
    };
    let configuration = parse(Path::new("gateway.toml"), EXAMPLE, &environment).unwrap();
    assert_eq!(configuration.smpp.listen, ["127.0.0.1:4000".parse().unwrap()]);
    assert_eq!(configuration.control.metrics_listen, "0.0.0.0:4001".parse().unwrap());
    for (variable, value, told) in [
        ("API_PORT", "0.0.0.0:1", "API_PORT is 0.0.0.0:1, which others can reach, and no token is set"),
        ("SMPP_TLS_PORT", "4002", "SMPP_TLS_PORT is set, and there is no certificate"),
        ("METRICS_PORT", "127.0.0.1:2775", "METRICS_PORT is 127.0.0.1:2775, and so is [smpp] listen"),
    ] {
        let error = parse(Path::new("gateway.toml"), EXAMPLE, &|name| (name == variable).then(|| value.into()));
        let text = error.unwrap_err().to_string();
        assert!(text.contains(told), "{text}");
    }
}

#[test]
fn a_file_that_is_not_there_is_a_fault_of_its_own() {
    let error = load(Path::new("no-such-file.toml")).unwrap_err();
    assert_eq!(error.faults().len(), 1);
    assert!(error.to_string().starts_with("no-such-file.toml: cannot be read: "), "{error}");
}

#[test]
fn a_node_has_the_same_number_everywhere() {
    assert_eq!(node_number("gw-1"), node_number("gw-1"));
    assert_ne!(node_number("gw-1"), node_number("gw-2"));
}

/// The whole of what can be configured, as it is shipped.
const COMMENTED: &str = include_str!("../../../deploy/gateway.toml");

#[test]
fn the_commented_configuration_is_taken() {
    let configuration = parsed(COMMENTED).unwrap();
    assert_eq!(configuration.settings.vendors.len(), 1);
    assert_eq!(configuration.settings.inbound_routes.len(), 1);
}

#[test]
fn the_commented_configuration_names_every_key_of_the_shards_settings() {
    use super::document::field_names;
    use smpp_shards::settings::{
        AuthSettings, CustomerSettings, InboundRouteSettings, RuleSettings, StatusSettings, VendorSettings,
    };
    let sections = [
        ("[statuses]", field_names::<StatusSettings>()),
        ("[auth]", field_names::<AuthSettings>()),
        ("[[customers]]", field_names::<CustomerSettings>()),
        ("[[vendors]]", field_names::<VendorSettings>()),
        ("[[routing_rules]]", field_names::<RuleSettings>()),
        ("[[inbound_routes]]", field_names::<InboundRouteSettings>()),
        ("[[smpp.certificates]]", field_names::<Certificate>()),
    ];
    for (header, keys) in sections {
        let (_, rest) = COMMENTED.split_once(&format!("{header}\n")).unwrap();
        let section = rest.split("\n[").next().unwrap();
        for key in keys {
            let is_there = section.lines().any(|line| {
                line.trim_start_matches(['#', ' ']).split_once(" = ").is_some_and(|(name, _)| name == *key)
            });
            assert!(is_there, "{header} {key} is not in deploy/gateway.toml");
        }
    }
}

#[test]
fn what_the_commented_configuration_calls_a_default_is_one() {
    let configuration = parsed(COMMENTED).unwrap();
    let smallest = parsed("gateway.accept = \"relay\"").unwrap();
    assert_eq!(configuration.smpp.listen, smallest.smpp.listen);
    assert_eq!(configuration.control, smallest.control);
    assert_eq!(configuration.log, smallest.log);
    let number = configuration.settings.gateway.node;
    let mut expected = smallest.settings.gateway.clone();
    expected.node = number;
    assert_eq!(format!("{:?}", configuration.settings.gateway), format!("{expected:?}"));
}
