//! Which process holds a port: for the error that says so.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Processes that have a socket on a port. Empty: none could be found (another network or PID namespace).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Holders(pub Vec<Holder>);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Holder {
    pub pid: u32,
    pub command: String,
}

impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, holder) in self.0.iter().enumerate() {
            let lead = if n == 0 { " by" } else { "," };
            write!(f, "{lead} {} (pid {})", holder.command, holder.pid)?;
        }
        Ok(())
    }
}

impl Holders {
    /// Those whose sockets keep us from binding to the address.
    pub fn find(address: SocketAddr, tcp: bool) -> Self {
        let tables = if tcp { ["tcp", "tcp6"] } else { ["udp", "udp6"] };
        let inodes: Vec<u64> = tables
            .iter()
            .filter_map(|table| fs::read_to_string(format!("/proc/thread-self/net/{table}")).ok())
            .flat_map(|text| conflicting(&text, address))
            .collect();
        let mut holders: Vec<Holder> =
            processes().into_iter().filter(|pid| holds(*pid, &inodes)).map(Holder::of).collect();
        holders.sort();
        Self(holders)
    }
}

impl Holder {
    fn of(pid: u32) -> Self {
        let command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        Self { pid, command: command.trim_end().to_owned() }
    }
}

/// Inodes of the sockets in a `/proc/net/{tcp,udp}{,6}` table that a bind to `address` collides with.
fn conflicting(table: &str, address: SocketAddr) -> Vec<u64> {
    table
        .lines()
        .skip(1)
        .filter_map(parse_line)
        .filter(|(bound, _)| collides(*bound, address))
        .map(|(_, inode)| inode)
        .collect()
}

/// Local address and inode of one line.
fn parse_line(line: &str) -> Option<(SocketAddr, u64)> {
    let mut fields = line.split_whitespace();
    let local = fields.nth(1)?;
    let inode = fields.nth(7)?.parse().ok()?;
    let (ip, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // Each 32-bit word is printed in the byte order of the host.
    let words: Vec<u8> = (0..ip.len() / 8)
        .map(|n| u32::from_str_radix(ip.get(n * 8..n * 8 + 8)?, 16).ok())
        .collect::<Option<Vec<u32>>>()?
        .into_iter()
        .flat_map(u32::to_ne_bytes)
        .collect();
    let ip = match words.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(words).ok()?)),
        16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?)),
        _ => return None,
    };
    Some((SocketAddr::new(ip.to_canonical(), port), inode))
}

fn collides(bound: SocketAddr, wanted: SocketAddr) -> bool {
    let wildcard = bound.ip().is_unspecified() && (bound.is_ipv6() || wanted.is_ipv4());
    bound.port() == wanted.port() && (wildcard || bound.ip() == wanted.ip() || wanted.ip().is_unspecified())
}

fn processes() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn holds(pid: u32, inodes: &[u64]) -> bool {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()).any(|link| {
        let inode =
            link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
        inode.is_some_and(|inode: u64| inodes.contains(&inode))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const UDP: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  381: 0A7100CB:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 0
  382: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000000000000000 0
  383: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4713 2 0000000000000000 0
  384: 00000000:0050 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4714 2 0000000000000000 0
";

    #[cfg(target_endian = "little")]
    #[test]
    fn finds_the_same_address_and_the_wildcard() {
        assert_eq!(conflicting(UDP, "203.0.113.10:53".parse().unwrap()), [4711, 4712]);
        assert_eq!(conflicting(UDP, "[2001:db8::1]:53".parse().unwrap()), Vec::<u64>::new());
    }

    #[test]
    fn a_v6_wildcard_collides_with_both_families() {
        let line = "  1: 00000000000000000000000000000000:0035 00000000000000000000000000000000:0000 07 0:0 00:0 0 0 0 99 2 0 0";
        let table = format!("header\n{line}\n");
        assert_eq!(conflicting(&table, "203.0.113.10:53".parse().unwrap()), [99]);
        assert_eq!(conflicting(&table, "[2001:db8::1]:53".parse().unwrap()), [99]);
    }
}
