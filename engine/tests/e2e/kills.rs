//! The gateway is killed under load, stopped, and its disk made full, over and over, and started again, and meanwhile its
//! vendor and its customer cut their connections: nothing that it acknowledged may be lost.
//!
//! `KILLS` (10), `STOPS` (3) and `FILLS` (4) in the environment say how often.

mod books;

use std::thread;
use std::time::Duration;

use books::{Random, Sides};

use crate::harness::disk::SmallDisk;
use crate::harness::folder::Folder;
use crate::harness::setup::Ports;
use crate::harness::{Gateway, Setup, Shards};

/// MiB of the file system that is made full: enough for two journals, that of a start beside the one before.
const DISK_MIB: u32 = 768;

/// Of the journal. One message that lasts keeps all that is written after it until half of this is taken.
const JOURNAL_KEYS: &str = "segment_mb = 8\nmax_mb = 256";

/// Octets that each message takes there beside its text, so that segments are soon full.
const PADDING: usize = 16_000;

/// How many of them await their receipts at the most while there is room: what is open must fit on the disk twice.
const AWAITED_MAX: usize = 1_000;

/// MiB in which a start can make a folder and no segment.
const ROOM_FOR_A_FOLDER_MIB: u64 = 1;

/// What the log says when a file of the journal cannot be made, and when it can again.
const CANNOT: [&str; 1] = ["the journal cannot be written"];
const CAN_AGAIN: [&str; 1] = ["the journal is written again"];

#[test]
fn nothing_acknowledged_is_lost_when_the_gateway_is_killed_under_load() {
    let kills = how_often("KILLS", 10);
    let (acknowledged, doubled) = restart_under_load(kills, true, Gateway::kill);
    println!("{kills} kills: {acknowledged} acknowledged, none lost; {doubled} came to the vendor more than once");
}

#[test]
fn nothing_is_lost_or_doubled_when_the_gateway_is_stopped_under_load() {
    let stops = how_often("STOPS", 3);
    let (acknowledged, doubled) = restart_under_load(stops, false, |gateway| {
        let (folder, ports, after) = stop(gateway);
        assert!(after < Duration::from_secs(30), "{after:?}");
        (folder, ports)
    });
    println!("{stops} stops: {acknowledged} acknowledged, none lost");
    assert_eq!(doubled, 0, "the vendor answers everything, so that nothing need be sent twice");
}

#[test]
fn nothing_acknowledged_is_lost_when_the_disk_is_made_full_under_load() {
    let fills = how_often("FILLS", 4);
    let mut sides = Sides::new(true, PADDING);
    let setup =
        Setup::usual(Shards::One, sides.vendor.address).journaled().rows(&format!("[journal]\n{JOURNAL_KEYS}\n"));
    let (one, two) = (setup.text(), setup.text_with(Shards::Two));
    let data_dir = setup.folder.path().join("data");
    // Where there is no loop device, at least the same with buffered writes.
    let (disk, access) = match SmallDisk::ext4(&data_dir, DISK_MIB) {
        Some(disk) => (disk, "\"direct I/O\""),
        None => match SmallDisk::in_memory(&data_dir, DISK_MIB) {
            Some(disk) => (disk, "\"access\""),
            None => return println!("not run: a small file system takes root to mount"),
        },
    };
    let mut gateway = setup.launch();
    gateway.log.wait_for(1, &["journal taken over", access]);
    sides.books.bound_awaited(AWAITED_MAX);
    sides.load(gateway.address());
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    for time in 0..fills {
        gateway =
            fill_and_make_room(gateway, time, &sides, &disk, if time % 2 == 0 { &two } else { &one }, &mut random);
        sides.books.wait_for_acknowledged(200);
    }
    let (acknowledged, doubled) = sides.settle(gateway);
    assert!(acknowledged > 100 * fills as usize, "only {acknowledged} were acknowledged");
    println!("{fills} times full: {acknowledged} acknowledged, none lost; {doubled} came to the vendor more than once");
}

/// Makes the disk full at a random moment, and room again: with the same gateway, which must be there still; with one that
/// was killed, and started again when there was room; and with one that was killed, and started, stopped and started again
/// before.
fn fill_and_make_room(
    gateway: Gateway,
    time: u32,
    sides: &Sides,
    disk: &SmallDisk,
    text: &str,
    random: &mut Random,
) -> Gateway {
    thread::sleep(Duration::from_millis(300 + random.below(900)));
    disk.fill();
    // Without receipts nothing ends, and no segment becomes free to be used again.
    sides.vendor.hold_receipts(true);
    sides.books.bound_awaited(0);
    // Now and then it is killed before it may have noticed.
    let is_noticed = time % 6 != 4;
    if is_noticed {
        // It may be at its own bound before it needs a file that cannot be made: that is refused in the same way.
        sides.books.wait_for_refused(50);
    }
    // Receipts have to find room where new messages find none.
    sides.vendor.hold_receipts(random.below(2) == 0);
    thread::sleep(Duration::from_millis(random.below(500)));
    sides.books.bound_awaited(AWAITED_MAX);
    let gateway = match time % 3 {
        0 => {
            disk.make_room();
            gateway
        }
        1 => {
            let (folder, ports) = gateway.kill();
            disk.make_room();
            Gateway::launch(folder, ports, text, None)
        }
        _ => {
            let (folder, ports) = gateway.kill();
            // What has come to its end meanwhile may have left some room.
            disk.fill();
            disk.make_room_of(ROOM_FOR_A_FOLDER_MIB);
            let gateway = Gateway::launch(folder, ports, text, None);
            gateway.log.wait_for(1, &CANNOT);
            let (folder, ports, after) = stop(gateway);
            assert!(after < Duration::from_secs(10), "{after:?}");
            let gateway = Gateway::launch(folder, ports, text, None);
            gateway.log.wait_for(1, &CANNOT);
            disk.make_room();
            gateway.log.wait_for(1, &CAN_AGAIN);
            gateway
        }
    };
    sides.vendor.hold_receipts(false);
    gateway
}

/// What the environment says, or so often.
fn how_often(variable: &str, otherwise: u32) -> u32 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap())
}

/// Stops it with SIGTERM, and how long that took.
fn stop(mut gateway: Gateway) -> (Folder, Ports, Duration) {
    let ended = gateway.terminate();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let (folder, ports) = gateway.kill();
    (folder, ports, ended.after)
}

/// Ends the gateway so often under load, each time starting it again; how many messages were acknowledged, and how many of
/// all came to the vendor more than once. With `is_cut`, connections are reset at random moments all the while.
fn restart_under_load(times: u32, is_cut: bool, end: impl Fn(Gateway) -> (Folder, Ports)) -> (usize, usize) {
    let mut sides = Sides::new(is_cut, 0);
    let setup = Setup::usual(Shards::One, sides.vendor.address).journaled();
    let (one, two) = (setup.text(), setup.text_with(Shards::Two));
    let mut gateway = setup.launch();
    sides.load(gateway.address());
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for time in 0..times {
        thread::sleep(Duration::from_millis(300 + random.below(900)));
        let (folder, ports) = end(gateway);
        // Another number of shards now and then.
        let text = if time % 3 == 2 { &one } else { &two };
        gateway = Gateway::launch(folder, ports, text, None);
    }
    thread::sleep(Duration::from_secs(1));
    let (acknowledged, doubled) = sides.settle(gateway);
    assert!(acknowledged > 100 * times as usize, "only {acknowledged} were acknowledged");
    (acknowledged, doubled)
}
