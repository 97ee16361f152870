//! What the machine, the container and the limits of the process allow.
//!
//! Read at start and by `check`, on the main thread.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The oldest kernel whose io_uring does what the shards need.
pub const KERNEL_MIN: (u32, u32) = (6, 1);

/// Octets of locked memory without which glommio does not start.
pub const MEMLOCK_BYTES_MIN: u64 = 512 * 1024;

/// Descriptors below which the gateway cannot serve the thousand sessions that are its floor.
pub const OPEN_FILES_MIN: u64 = 2_048;

/// The running kernel: as it calls itself, and the first two numbers of that.
pub fn kernel() -> (String, Option<(u32, u32)>) {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let numbers = parse_release(&release);
    (release, numbers)
}

fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// `kernel.io_uring_disabled`: 0 allowed, 1 for privileged processes alone, 2 forbidden; `None` where the kernel has
/// no such setting.
pub fn io_uring_disabled() -> Option<u32> {
    fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

/// RLIMIT_MEMLOCK in octets; `None` is no limit.
pub fn locked_memory() -> Option<u64> {
    getrlimit(Resource::Memlock).current
}

/// Raises RLIMIT_NOFILE to what the process may have; tells what it is then. `None` is no limit.
pub fn raise_open_files() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok() {
        return maximum;
    }
    current
}

/// The first number of a descriptor that no accepted connection may have: an eighth of all, 16 to 256, is kept back for vendors,
/// requests to the control port and files.
pub fn accepted_descriptors_end() -> u64 {
    let all = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    all.saturating_sub((all / 8).clamp(16, 256))
}

/// The cores on which this process may run, ascending.
pub fn allowed_cores() -> Vec<usize> {
    match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect(),
        Err(_) => vec![0],
    }
}

/// Keeps the calling thread and those it starts off the given cores, where that leaves any.
pub fn stay_off(cores: &[usize]) {
    let mut set = CpuSet::new();
    for core in allowed_cores().into_iter().filter(|core| !cores.contains(core)) {
        set.set(core);
    }
    if set.count() > 0 {
        // Where it is not allowed, threads share cores, which is slower and no fault.
        let _ = sched_setaffinity(None, &set);
    }
}

/// Processors' worth of time that the cgroups grant this process; `None` is no quota.
pub fn cpu_quota() -> Option<f64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    quota_in(Path::new("/sys/fs/cgroup"), &groups)
}

fn quota_in(root: &Path, groups: &str) -> Option<f64> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let own = root.join(path.trim_end());
    own.ancestors().take_while(|folder| folder.starts_with(root)).filter_map(quota_of).reduce(f64::min)
}

fn quota_of(folder: &Path) -> Option<f64> {
    let file: PathBuf = folder.join("cpu.max");
    let text = fs::read_to_string(file).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
}

/// The cores for the shards where the configuration names none: what affinity and quota allow, less one for the
/// control thread, at least one.
pub fn default_cores() -> Vec<usize> {
    choose_cores(allowed_cores(), cpu_quota())
}

fn choose_cores(mut allowed: Vec<usize>, quota: Option<f64>) -> Vec<usize> {
    let processors = quota.map_or(allowed.len(), |quota| allowed.len().min(quota as usize));
    let count = processors.saturating_sub(1).max(1);
    // The lowest core is where the kernel does most of its own work.
    allowed.split_off(allowed.len().saturating_sub(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_understood_whatever_follows_the_numbers() {
        assert_eq!(parse_release("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(parse_release("6.18.44"), Some((6, 18)));
        assert_eq!(parse_release("7.0-rc1"), Some((7, 0)));
        assert_eq!(parse_release("unknown"), None);
    }

    #[test]
    fn one_core_is_left_for_the_control_thread_where_there_are_two() {
        assert_eq!(choose_cores(vec![0, 1, 2, 3], None), [1, 2, 3]);
        assert_eq!(choose_cores(vec![5], None), [5]);
        assert_eq!(choose_cores(vec![0, 1, 2, 3], Some(2.5)), [3]);
        assert_eq!(choose_cores(vec![0, 1, 2, 3], Some(0.5)), [3]);
    }

    #[test]
    fn the_tightest_quota_on_the_way_to_the_root_counts() {
        let root = std::env::temp_dir().join(format!("smpp-gateway-quota-{}", std::process::id()));
        let folder = root.join("a/b");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("cpu.max"), "max 100000\n").unwrap();
        fs::write(root.join("a/cpu.max"), "150000 100000\n").unwrap();
        fs::write(root.join("cpu.max"), "400000 100000\n").unwrap();
        assert_eq!(quota_in(&root, "0::/a/b\n"), Some(1.5));
        assert_eq!(quota_in(&root, "1:cpu:/a/b\n"), None);
        fs::remove_dir_all(root).unwrap();
    }
}
