//! Pictures out of answers as the control port gives them, drawn into memory.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::{Value, json};

use super::*;
use screen::Shown;

fn answers(vendors: usize, customers: usize) -> [Value; 3] {
    let stats = json!({
        "node_id": "gw-1", "version": "0.1.0", "phase": "accepting", "uptime_seconds": 7300,
        "customers": {"throughput_current": 1234.4, "sessions": 12, "messages_accepted": 123456, "messages_refused": 3,
            "deliveries_waiting": 0},
        "vendors": {"throughput_current": 1200.0, "connected": 1, "count": 2, "in_flight": 5, "queue_depth": 0,
            "dlrs_received": 99},
        "latencies": {"submit_response": {"p50_ms": 0.5, "p95_ms": 3.9, "p99_ms": 14.2},
            "vendor_answer": {"p50_ms": 0.5, "p95_ms": 3.9, "p99_ms": 14.2}, "delivery": null},
        "process": {"resident_bytes": 104857600},
        "degraded": ["vendor south is not bound"],
    });
    let vendor = |number: usize| {
        let vendor = json!({
            "vendor_id": number.to_string(), "vendor_name": format!("vendor-{number:03}"), "status": "connected", "binds_bound": 1, "binds": 2,
            "throughput_current": number as f64, "in_flight": 3, "queue_depth": 7, "messages_sent": 99999999,
            "messages_failed": 1, "error_rate": 0.0123,
        });
        (format!("vendor-{number:03}"), vendor)
    };
    let vendors: serde_json::Map<String, Value> = (0..vendors).map(vendor).collect();
    let customer = |number: usize| {
        json!({
            "customer_id": format!("a-customer-with-a-long-name-{number}"), "sessions": 1, "throughput_current": 9.6,
            "messages_accepted": 1, "messages_refused": 2, "throttled_rate": 3, "throttled_window": 4,
            "deliveries_taken": 5, "deliveries_waiting": 6,
        })
    };
    let customers: Vec<Value> = (0..customers).map(customer).collect();
    [stats, json!({"vendors": vendors}), json!({"customers": customers})]
}

fn picture(vendors: usize, customers: usize) -> Picture {
    let [stats, vendors, customers] = answers(vendors, customers);
    Picture::of(&stats, &vendors, &customers)
}

fn drawn(shown: &Shown, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| screen::draw(frame, shown)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y: u16| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..height).map(line).collect()
}

#[test]
fn a_picture_fits_a_terminal_of_80_columns_and_24_lines() {
    let shown = Shown { picture: picture(50, 50), address: "127.0.0.1:8080".into(), ..Shown::default() };
    let lines = drawn(&shown, 80, 24);
    assert!(lines[0].starts_with("gw-1 0.1.0  accepting  up 2 h  memory 100 MiB"), "{}", lines[0]);
    assert_eq!(lines[3], "p50/95/99  answer 0.5/3.9/14 ms  vendor 0.5/3.9/14 ms  receipt - ms");
    assert_eq!(lines[4], "! vendor south is not bound");
    let vendors = lines.iter().position(|line| line.starts_with("VENDOR")).unwrap();
    assert!(lines[vendors].ends_with("ERR%"), "{}", lines[vendors]);
    assert!(lines[vendors + 1].starts_with("vendor-049  connected") && lines[vendors + 1].ends_with("1.2"));
    let customers = lines.iter().position(|line| line.starts_with("CUSTOMER")).unwrap();
    assert!(customers + 4 < 23 && lines[customers].ends_with("WAITING"), "{}", lines[customers]);
    assert!(lines[customers + 1].starts_with("a-customer-with…"), "{}", lines[customers + 1]);
    assert_eq!(lines[23], "127.0.0.1:8080   q ends");
}

#[test]
fn a_terminal_of_any_size_is_drawn_into() {
    let shown = Shown { picture: picture(3, 3), ..Shown::default() };
    for (width, height) in [(1, 1), (10, 3), (40, 5), (300, 100)] {
        assert_eq!(drawn(&shown, width, height).len(), usize::from(height));
    }
}

#[test]
fn trouble_stands_below_the_last_picture() {
    let shown = Shown { picture: picture(1, 1), trouble: Some("gone".into()), ..Shown::default() };
    let lines = drawn(&shown, 80, 24);
    assert_eq!((lines[23].as_str(), lines[0].is_empty()), ("gone", false));
}

#[test]
fn the_plain_text_has_its_columns_in_line() {
    let text = Plain(&picture(2, 1)).to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[6].starts_with("VENDOR      STATUS     BINDS  MSG/S"), "{text}");
    assert!(lines[7].starts_with("vendor-001  connected    1/2      1"), "{text}");
    assert!(text.contains("a-customer-with…     1     10         1        2          7"), "{text}");
}

#[test]
fn an_address_that_cannot_be_asked_is_refused() {
    for url in ["127.0.0.1:8080", "https://gateway:8080", "http://", "http://a/b", "http://a b", "http://u@h"] {
        assert!(matches!(Client::new(url, None), Err(TopError::Url(_))), "{url}");
    }
    for (url, address) in [
        ("http://gateway", "gateway:8080"),
        ("http://127.0.0.1:1/", "127.0.0.1:1"),
        ("http://[::1]", "[::1]:8080"),
        ("http://[::1]:9", "[::1]:9"),
    ] {
        assert_eq!(Client::new(url, None).unwrap().address(), address);
    }
}
