//! What is wrong with a configuration is told with file, line and cure, all at once, and the program does not start.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::harness::certificates::{Authority, Certificate};
use crate::harness::folder::Folder;
use crate::harness::gateway::PROGRAM;
use crate::harness::setup::free_address;
use crate::harness::{Setup, Shards, smsc};

fn smpp_gateway(command: &str, file: &Path) -> Output {
    Command::new(PROGRAM).arg(command).arg("--config").arg(file).output().unwrap()
}

/// What `run` and `check` say of a file that is wrong; both end with a failure.
fn complaint(text: &str) -> String {
    let folder = Folder::new();
    let file = folder.write("gateway.toml", text);
    let said = ["run", "check"].map(|command| {
        let output = smpp_gateway(command, &file);
        assert_eq!(output.status.code(), Some(1), "{command}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    });
    assert_eq!(said[0], said[1]);
    let path = format!("{}:", file.display());
    said[0].replace(&path, "gateway.toml:")
}

const START: &str = "[gateway]\naccept = \"relay\"\n";

#[test]
fn a_misspelt_key_is_told_with_its_line_and_the_right_one() {
    let said = complaint(&format!("{START}[[customers]]\nsmpp_system_id = \"a\"\nsmpp_pasword = \"b\"\n"));
    assert!(said.contains("gateway.toml:5: "), "{said}");
    assert!(said.contains("smpp_pasword") && said.contains("smpp_password"), "{said}");
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let said = complaint(&format!(
        "{START}[[customers]]\nsmpp_system_id = \"longer-than-fifteen\"\nsmpp_password = \"x\"\n\
         [[vendors]]\ninstance_name = \"north\"\nhost = \"127.0.0.1\"\nport = 0\n\
         [[routing_rules]]\ndest_pattern = \"^(1\"\nvendor = \"north\"\n\
         [[routing_rules]]\nvendor = \"south\"\n"
    ));
    for (line, word) in [(4, "smpp_system_id"), (9, "port"), (11, "dest_pattern"), (14, "vendor")] {
        let start = format!("gateway.toml:{line}: ");
        assert!(said.lines().any(|text| text.contains(&start) && text.contains(word)), "{line} {word}: {said}");
    }
}

#[test]
fn what_later_versions_serve_is_refused_by_name() {
    let said =
        complaint("[gateway]\naccept = \"journal\"\n[rabbitmq]\nurl = \"amqp://127.0.0.1\"\n[[content_rules]]\n");
    for word in ["gateway.toml:3: ", "[rabbitmq]", "gateway.toml:5: ", "[[content_rules]]"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn a_file_that_is_not_toml_is_told_with_the_line() {
    let said = complaint("[gateway]\naccept = \"relay\"\nnode_id = gw\n");
    assert!(said.contains("gateway.toml:3: ") && said.contains("this is not TOML"), "{said}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let output = smpp_gateway("run", Path::new("/nowhere/gateway.toml"));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("/nowhere/gateway.toml"));
}

#[test]
fn a_certificate_that_is_not_there_is_named() {
    let folder = Folder::new();
    let missing = folder.path().join("missing.pem");
    let setup = Setup::new(Shards::One).certificate("one.example.com", &missing, &missing);
    let output = smpp_gateway("run", &folder.write("gateway.toml", &setup.text()));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("missing.pem"));
}

#[test]
fn check_tells_a_line_of_everything_that_is_fine() {
    let vendor = smsc(&[]);
    let setup = Setup::usual(Shards::One, vendor.address());
    let file = setup.folder.write("gateway.toml", &setup.text());
    let output = smpp_gateway("check", &file);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.lines().count() >= 8 && said.lines().all(|line| line.starts_with("ok ") || line.starts_with("warn")));
    for word in ["kernel", "io_uring", "RLIMIT_MEMLOCK", "RLIMIT_NOFILE", "shard(s)", "is free", "vendor north is at"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn a_file_may_be_checked_beside_the_gateway_that_runs_with_it() {
    let vendor = smsc(&[]);
    let gateway = Setup::usual(Shards::One, vendor.address()).start();
    let file = gateway.folder.path().join("gateway.toml");
    let output = smpp_gateway("check", &file);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(said.matches("is in use; this node's gateway runs").count(), 3, "{said}");
    // Another node may not have its addresses.
    let text = std::fs::read_to_string(&file).unwrap();
    let other = gateway.folder.write("other.toml", &text.replace("node_id = \"", "node_id = \"another-"));
    let output = smpp_gateway("check", &other);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.matches("stop the program that has it").count(), 3, "{said}");
    gateway.end_well();
}

#[test]
fn check_warns_of_a_file_without_rows() {
    let setup = Setup::new(Shards::One);
    let file = setup.folder.write("gateway.toml", &setup.text());
    let output = smpp_gateway("check", &file);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    for table in ["customers", "vendors", "routing_rules"] {
        let start = format!("warn there are no [[{table}]]");
        assert!(said.lines().any(|line| line.starts_with(&start)), "{table}: {said}");
    }
}

#[test]
fn check_warns_of_certificates_that_clients_will_refuse() {
    let mut setup = Setup::new(Shards::One);
    let authority = Authority::make(&setup.folder, "ca");
    let old = authority.sign_server_until(&setup.folder, "old", "old.example.com", 2020);
    let other = Certificate::make(&setup.folder, "other", "other.example.com");
    let good = authority.sign_server(&setup.folder, "good", "*.example.com");
    for (domain, files) in [
        ("old.example.com", &old),
        ("wrong.example.com", &other),
        ("*.example.com", &good),
        ("other.example.com", &other),
    ] {
        setup = setup.certificate(domain, &files.cert, &files.key);
    }
    let file = setup.folder.write("gateway.toml", &setup.text());
    let output = smpp_gateway("check", &file);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    for (mark, domain, words) in [
        ("warn", "old.example.com", "its time has passed"),
        ("warn", "wrong.example.com", "it is made out to other names"),
        ("ok  ", "*.example.com", "goes with its key"),
        ("ok  ", "other.example.com", "goes with its key"),
    ] {
        let start = format!("{mark} the certificate for {domain} ");
        assert!(said.lines().any(|line| line.starts_with(&start) && line.contains(words)), "{domain}: {said}");
    }
}

#[test]
fn a_password_that_no_bind_can_carry_is_not_hashed() {
    for (octets, status) in [(64, 0), (65, 1)] {
        let mut child = Command::new(PROGRAM)
            .arg("hash-password")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&vec![b'x'; octets]).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{output:?}");
    }
}

#[test]
fn a_port_that_is_taken_is_told_by_check_and_run() {
    let setup = Setup::new(Shards::One).customer("acme", "");
    let file = setup.folder.write("gateway.toml", &setup.text());
    let _taken = std::net::TcpListener::bind(setup.ports.smpp).unwrap();
    let address = setup.ports.smpp.to_string();
    let output = smpp_gateway("check", &file);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.lines().any(|line| line.starts_with("FAIL") && line.contains(&address)), "{said}");
    let output = smpp_gateway("run", &file);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains(&address));
}

#[test]
fn a_core_that_is_not_there_is_told_with_those_that_are() {
    let folder = Folder::new();
    let addresses = [(); 3].map(|()| free_address());
    let [smpp, control, metrics] = addresses;
    let text = format!(
        "[shards]\ncores = [4095]\npin = true\n[smpp]\nlisten = \"{smpp}\"\n\
         [control]\nlisten = \"{control}\"\nmetrics_listen = \"{metrics}\"\n"
    );
    let output = smpp_gateway("run", &folder.write("gateway.toml", &text));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("core 4095 of shards.cores") && said.contains("name cores of ["), "{said}");
}

#[test]
fn a_data_dir_that_cannot_be_written_or_is_too_small_is_told_by_check() {
    let folder = Folder::new();
    folder.write("file", "");
    let addresses = [(); 3].map(|()| free_address());
    let check_with = |data_dir: &str, more: &str| {
        let text = format!(
            "{more}[gateway]\ndata_dir = {:?}\n[smpp]\nlisten = \"{}\"\n[control]\nlisten = \"{}\"\nmetrics_listen = \"{}\"\n",
            folder.path().join(data_dir),
            addresses[0],
            addresses[1],
            addresses[2]
        );
        let output = smpp_gateway("check", &folder.write("gateway.toml", &text));
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let check = |data_dir| check_with(data_dir, "");
    let (code, said) = check("file/data");
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.lines().any(|line| line.starts_with("FAIL gateway.data_dir ") && line.contains("file/data")),
        "{said}"
    );
    let (code, said) = check("not/there/yet");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("not/there/yet can be written"), "{said}");
    assert!(said.lines().any(|line| line.contains("journal.max_mb is 16384, and the file system")), "{said}");
    assert!(!folder.path().join("not").exists(), "nothing is left behind");
    let (code, said) = check_with("data", "[journal]\nmax_mb = 4294967295\n");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.lines().any(|line| line.starts_with("warn") && line.contains("give max_mb at most")), "{said}");
}

#[test]
fn a_second_gateway_on_the_same_ports_does_not_start() {
    let setup = Setup::new(Shards::Two).customer("acme", "");
    let file = Folder::new();
    let path = file.write("gateway.toml", &setup.text());
    let gateway = setup.start_without_vendors();
    let output = smpp_gateway("run", &path);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    gateway.end_well();
}

#[test]
fn a_control_port_that_others_reach_needs_a_token() {
    let said = complaint(&format!("{START}[control]\nlisten = \"0.0.0.0:{}\"\n", free_address().port()));
    assert!(said.contains("gateway.toml:4: ") && said.contains("token"), "{said}");
}
