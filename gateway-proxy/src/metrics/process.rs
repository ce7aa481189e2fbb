//! What the kernel says about this process, read when `/metrics` is.

use std::fs;

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ProcessUsage {
    pub cpu_seconds: f64,
    pub resident_bytes: u64,
    pub open_fds: u64,
    pub max_fds: u64,
}

impl ProcessUsage {
    /// None where `/proc` cannot be read.
    pub fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let statm = fs::read_to_string("/proc/self/statm").ok()?;
        let (ticks, pages) = (cpu_ticks(&stat)?, resident_pages(&statm)?);
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        Some(Self {
            cpu_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
            resident_bytes: pages * rustix::param::page_size() as u64,
            open_fds: fs::read_dir("/proc/self/fd").ok()?.count() as u64,
            max_fds: limit.current.unwrap_or(u64::MAX),
        })
    }
}

/// utime and stime (proc_pid_stat(5)); the name in parentheses may hold anything, even parentheses.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn resident_pages(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_understood() {
        let stat =
            "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 30 12 0 0 20 0 1 0 100 1000 200 18446744073709551615";
        assert_eq!(cpu_ticks(stat), Some(42));
        assert_eq!(resident_pages("500 200 100 1 0 99 0"), Some(200));
        let usage = ProcessUsage::read().unwrap();
        assert!(usage.resident_bytes > 0 && usage.open_fds > 0 && usage.max_fds >= usage.open_fds);
    }
}
