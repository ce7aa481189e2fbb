//! Accept queues of a process's listening sockets, out of /proc.

use std::collections::BTreeSet;
use std::path::Path;

/// Connections that wait and how many may, of the fullest listening TCP socket that `pid` holds.
pub(super) fn fullest(pid: u32) -> Option<(u32, u32)> {
    let inodes = inodes(pid);
    let most = backlog();
    let waiting = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|text| text.lines().filter_map(listening).collect::<Vec<_>>())
        .filter(|(inode, _)| inodes.contains(inode))
        .map(|(_, waiting)| waiting)
        .max()?;
    Some((waiting, most))
}

/// `net.core.somaxconn`, which cuts every backlog that we ask for.
fn backlog() -> u32 {
    std::fs::read_to_string("/proc/sys/net/core/somaxconn")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(4096)
}

fn inodes(pid: u32) -> BTreeSet<u64> {
    let directory = Path::new("/proc").join(pid.to_string()).join("fd");
    let entries = std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    entries
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .filter_map(|target| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok())
        .collect()
}

/// Inode and accept queue of a line of /proc/net/tcp in state LISTEN (0A), where `rx_queue` is the accept queue.
fn listening(line: &str) -> Option<(u64, u32)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if *fields.get(3)? != "0A" {
        return None;
    }
    let (_, waiting) = fields.get(4)?.split_once(':')?;
    Some((fields.get(9)?.parse().ok()?, u32::from_str_radix(waiting, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table_is_understood() {
        let line = "   0: 0100007F:3A99 00000000:0000 0A 00000000:0000000C 00:00000000 00000000     0        0 4711 2 0 100 0 0 10 0";
        assert_eq!(listening(line), Some((4711, 12)));
        assert_eq!(listening(&line.replace(" 0A ", " 01 ")), None);
    }

    #[test]
    fn an_own_listener_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let _waiting = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (waiting, most) = fullest(std::process::id()).unwrap();
        assert!(waiting >= 1 && most > 0);
    }
}
