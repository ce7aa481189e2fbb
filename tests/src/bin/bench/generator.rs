//! The loads, and the programs that make them: wrk for HTTP/1.1, h2load for HTTP/2.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use gatehouse_tests::netns::Netns;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, clap::ValueEnum)]
pub(crate) enum Load {
    H1,
    H1Tls,
    H2Tls,
    NewTls,
    Large,
}

/// What a generator saw.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Measured {
    pub(crate) requests: u64,
    pub(crate) elapsed: Duration,
    pub(crate) p99: Duration,
}

impl Load {
    pub(crate) const ALL: [Self; 5] = [Self::H1, Self::H1Tls, Self::H2Tls, Self::NewTls, Self::Large];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::H1 => "HTTP/1.1, kept connections",
            Self::H1Tls => "HTTP/1.1 over TLS",
            Self::H2Tls => "HTTP/2 over TLS",
            Self::NewTls => "new TLS connection each",
            Self::Large => "64 KiB answers",
        }
    }

    pub(crate) const fn tls(self) -> bool {
        matches!(self, Self::H1Tls | Self::H2Tls | Self::NewTls)
    }

    /// The most that it may cost, as a multiple of the better peer.
    pub(crate) const fn limit(self) -> f64 {
        match self {
            Self::NewTls => 1.6,
            Self::H1 | Self::H1Tls | Self::H2Tls | Self::Large => 1.2,
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Large => "/large",
            Self::H1 | Self::H1Tls | Self::H2Tls | Self::NewTls => "/small",
        }
    }
}

/// Runs `load` from inside `netns` against `address`; every request must have been answered with 200.
pub(crate) fn run(netns: &Netns, load: Load, address: SocketAddr, time: Duration) -> Result<Measured> {
    let scheme = if load.tls() { "https" } else { "http" };
    let url = format!("{scheme}://{address}{}", load.path());
    if load == Load::H2Tls { h2load(netns, &url, time) } else { wrk(netns, load, &url, time) }
}

fn wrk(netns: &Netns, load: Load, url: &str, time: Duration) -> Result<Measured> {
    let mut command = netns.command("wrk")?;
    // wrk takes whole seconds.
    let seconds = time.as_secs().max(1);
    command.args([
        "--threads",
        "1",
        "--connections",
        "32",
        "--latency",
        "--duration",
        &format!("{seconds}s"),
    ]);
    if load == Load::NewTls {
        command.args(["--header", "Connection: close"]);
    }
    let output = command.arg(url).output().context("run wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk {url}: {text}{}", String::from_utf8_lossy(&output.stderr));
    of_wrk(&text).with_context(|| format!("wrk {url} said:\n{text}"))
}

fn of_wrk(text: &str) -> Result<Measured> {
    ensure!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "requests failed");
    let line = text.lines().find(|line| line.contains(" requests in ")).context("no count")?;
    let (requests, rest) = line.trim().split_once(" requests in ").context("no count")?;
    let elapsed = rest.split(',').next().unwrap_or_default();
    let p99 = text.lines().find_map(|line| line.trim().strip_prefix("99%")).context("no 99th percentile")?;
    Ok(Measured { requests: requests.parse()?, elapsed: duration(elapsed)?, p99: duration(p99)? })
}

fn h2load(netns: &Netns, url: &str, time: Duration) -> Result<Measured> {
    let log = tempfile::NamedTempFile::new().context("make a file")?;
    let mut command = netns.command("h2load")?;
    let seconds = time.as_secs().max(1);
    command.args(["--threads=1", "--clients=8", "--max-concurrent-streams=8"]);
    command.arg(format!("--duration={seconds}")).arg(format!("--log-file={}", log.path().display()));
    let output = command.arg(url).output().context("run h2load")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "h2load {url}: {text}{}", String::from_utf8_lossy(&output.stderr));
    ensure!(text.contains("Application protocol: h2"), "HTTP/2 was not agreed on:\n{text}");
    ensure!(none_failed(&text), "requests failed:\n{text}");
    let times = std::fs::read_to_string(log.path()).context("read h2load's log")?;
    of_h2load(&times, Duration::from_secs(seconds)).with_context(|| format!("h2load {url} said:\n{text}"))
}

/// Of what h2load prints: `requests: 9 total, 9 started, 9 done, 9 succeeded, 0 failed, 0 errored, 0 timeout`.
fn none_failed(text: &str) -> bool {
    let counts = text.lines().find_map(|line| line.strip_prefix("requests: "));
    let none = |counts: &str, word: &str| counts.split(", ").any(|count| count == format!("0 {word}"));
    counts.is_some_and(|counts| ["failed", "errored", "timeout"].iter().all(|word| none(counts, word)))
}

/// Of the log: when a request began, its status, how long it took, in microseconds.
fn of_h2load(log: &str, elapsed: Duration) -> Result<Measured> {
    let mut times = Vec::new();
    for line in log.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [_, status, time, ..] = fields[..] else { continue };
        // What was under way at the end has no status.
        if status != "-1" {
            ensure!(status == "200", "a request was answered with {status}");
            times.push(time.parse::<u64>()?);
        }
    }
    ensure!(!times.is_empty(), "no request was answered");
    times.sort_unstable();
    let p99 = times[(times.len() * 99 / 100).min(times.len() - 1)];
    Ok(Measured { requests: times.len() as u64, elapsed, p99: Duration::from_micros(p99) })
}

/// `1.23ms` as wrk writes it.
fn duration(text: &str) -> Result<Duration> {
    let text = text.trim();
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number: f64 =
        text[..text.len() - unit.len()].parse().with_context(|| format!("the time {text:?}"))?;
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => anyhow::bail!("the time {text:?}"),
    };
    Ok(Duration::from_secs_f64(number * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRK: &str = "Running 3s test @ http://203.0.113.0/small
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.00ms  200.00us   9.00ms   90.00%
    Req/Sec    30.00k     1.00k   32.00k    70.00%
  Latency Distribution
     50%    0.90ms
     75%    1.10ms
     90%    1.30ms
     99%    2.50ms
  90000 requests in 3.01s, 12.00MB read
Requests/sec:  29900.33
Transfer/sec:      4.00MB
";

    #[test]
    fn what_wrk_says_is_read() {
        let want = Measured {
            requests: 90000,
            elapsed: Duration::from_millis(3010),
            p99: Duration::from_micros(2500),
        };
        assert_eq!(of_wrk(WRK).unwrap(), want);
        assert!(of_wrk(&format!("{WRK}  Non-2xx or 3xx responses: 1\n")).is_err());
        assert!(of_wrk(&format!("{WRK}  Socket errors: connect 0, read 1, write 0, timeout 0\n")).is_err());
    }

    #[test]
    fn what_h2load_logs_is_read() {
        let second = Duration::from_secs(1);
        let log: String = (1..=100).map(|time| format!("1600000000\t200\t{time}\n")).collect();
        let want = Measured { requests: 100, elapsed: second, p99: Duration::from_micros(100) };
        assert_eq!(of_h2load(&format!("{log}1600000000\t-1\t5\n"), second).unwrap(), want);
        assert!(of_h2load("1\t503\t5\n", second).is_err());
        assert!(of_h2load("", second).is_err());
    }

    #[test]
    fn what_h2load_counts_is_read() {
        let counts = |failed| {
            format!(
                "req/s\nrequests: 9 total, 9 started, 9 done, 8 succeeded, {failed} failed, 0 errored, 0 timeout\n"
            )
        };
        assert!(none_failed(&counts("0")));
        assert!(!none_failed(&counts("10")) && !none_failed(&counts("1")) && !none_failed("finished"));
    }
}
