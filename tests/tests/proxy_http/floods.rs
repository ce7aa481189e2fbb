//! HTTP/2 clients that send what costs the proxy more than them.

use std::time::Duration;

use gatehouse_tests::admin;
use gatehouse_tests::client::{self, Connection};
use gatehouse_tests::fake_agent::{backend, rule};
use gatehouse_tests::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, frame, request,
};
use gateway_common::ir::{AccessLog, BackendProtocol};

use crate::bed::{Bed, Echo};

async fn bed(echo: &Echo) -> Bed {
    let mut bed = Bed::new().await;
    bed.settings.access_log = AccessLog::Json;
    bed.serve(vec![rule("/", "b")], vec![backend("b", BackendProtocol::Http1, &[echo.address])]).await;
    bed
}

fn memory(bed: &Bed) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", bed.agent.proxy.id())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    resident.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Waits until so many connections of the port ended for this reason.
async fn until_ended(bed: &Bed, reason: &str, count: f64) {
    let name = "gatehouse_proxy_connections_ended_total";
    let label = format!("reason=\"{reason}\"");
    let mut last = None;
    for _ in 0..500 {
        last = admin::sample(&bed.agent.admin(), name, &[&label]).await.unwrap();
        if last == Some(count) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{reason}: {last:?}, not {count}");
}

#[tokio::test]
async fn a_flood_of_frames_ends_its_connection_and_no_other() {
    let echo = Echo::start("b");
    let bed = bed(&echo).await;
    let mut neighbour = Connection::open(&bed.http2()).await.unwrap();
    let ask = || client::request("a.example", "/").unwrap();
    assert_eq!(neighbour.send(ask()).await.unwrap().status, 200);
    let before = memory(&bed);
    let floods = [
        ("PING", frame(PING, 0, 0, &[0; 8])),
        ("acknowledged PING", frame(PING, 1, 0, &[0; 8])),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 16, 0])),
        ("PRIORITY", frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])),
        ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("unknown", frame(0xbe, 0, 0, &[])),
    ];
    for (count, (name, bytes)) in floods.iter().enumerate() {
        let many = bytes.repeat(100);
        let sent = Frames::open(bed.address).await.unwrap().flood(&many, 10_000).await;
        assert!(sent < 10_000, "{name}: all of it was taken");
        until_ended(&bed, "limit", count as f64 + 1.0).await;
        assert_eq!(neighbour.send(ask()).await.unwrap().status, 200, "{name}");
    }
    let grown = memory(&bed).saturating_sub(before);
    assert!(grown < 32 * 1024, "{grown} KiB more");
    let line = bed.agent.logged(1).await.unwrap().into_iter().find(|line| line["reason"] == "limit").unwrap();
    assert!(line["detail"].as_str().unwrap().contains("flood"), "{line}");
}

#[tokio::test]
async fn empty_data_is_bounded() {
    let echo = Echo::start("b");
    let bed = bed(&echo).await;
    let mut frames = Frames::open(bed.address).await.unwrap();
    frames.send(HEADERS, END_HEADERS, 1, &request("POST", "/", &[])).await.unwrap();
    let sent = frames.flood(&frame(DATA, 0, 1, &[]).repeat(100), 10_000).await;
    assert!(sent < 10_000, "all of it was taken");
    assert_eq!(bed.get("/").await.status, 200);
}

#[tokio::test]
async fn what_clients_send_is_no_flood() {
    let echo = Echo::start("b");
    let bed = bed(&echo).await;
    let mut frames = Frames::open(bed.address).await.unwrap();
    for round in 0..500 {
        let stream = 2 * round + 1;
        frames.send(HEADERS, END_HEADERS | END_STREAM, stream, &request("GET", "/", &[])).await.unwrap();
        frames.send(PRIORITY, 0, stream, &[0, 0, 0, 0, 1]).await.unwrap();
        frames.send(PING, 0, 0, &[0; 8]).await.unwrap();
        frames.send(WINDOW_UPDATE, 0, 0, &[0, 0, 4, 0]).await.unwrap();
        let end =
            frames.until(|frame| frame.stream == stream && frame.flags & END_STREAM != 0).await.unwrap();
        assert!(end.is_some_and(|frame| frame.kind == DATA), "round {round}");
    }
}

#[tokio::test]
async fn requests_that_are_taken_back_at_once_end_the_connection() {
    let echo = Echo::start("b");
    let bed = bed(&echo).await;
    let mut frames = Frames::open(bed.address).await.unwrap();
    let mut made = 0;
    for number in 0..20_000 {
        let stream = 2 * number + 1;
        let mut bytes =
            frame(HEADERS, END_HEADERS | END_STREAM, stream, &request("GET", "/?delay-ms=5000", &[]));
        // The proxy's answer to PING says that the request before it was taken in.
        bytes.extend(frame(PING, 0, 0, &stream.to_be_bytes().repeat(2)));
        if frames.send_bytes(&bytes).await.is_err() {
            break;
        }
        let Some(_) = frames.until(|frame| frame.kind == PING).await.unwrap() else { break };
        if frames.send(RST_STREAM, 0, stream, &8u32.to_be_bytes()).await.is_err() {
            break;
        }
        made += 1;
    }
    assert!((100..20_000).contains(&made), "{made} requests");
    until_ended(&bed, "limit", 1.0).await;
    assert_eq!(bed.get("/").await.status, 200);
}

#[tokio::test]
async fn requests_that_are_taken_back_unseen_end_the_connection() {
    let echo = Echo::start("b");
    let bed = bed(&echo).await;
    let mut bytes = Vec::new();
    for number in 0..10_000 {
        let stream = 2 * number + 1;
        bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &request("GET", "/", &[])));
        bytes.extend(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
    }
    let sent = Frames::open(bed.address).await.unwrap().flood(&bytes, 10).await;
    assert!(sent < 10, "all of it was taken");
    assert_eq!(bed.get("/").await.status, 200);
}

#[tokio::test]
async fn resets_that_the_client_provokes_are_bounded() {
    let echo = Echo::start("b");
    let bed = bed(&echo).await;
    let mut bytes = Vec::new();
    for number in 0..1000 {
        let stream = 2 * number + 1;
        bytes.extend(frame(HEADERS, END_HEADERS, stream, &request("POST", "/", &[])));
        // CVE-2025-8671: a window above 2^31-1 is an error of the stream (RFC 9113 §6.9.1).
        bytes.extend(frame(WINDOW_UPDATE, 0, stream, &i32::MAX.to_be_bytes()));
    }
    let mut frames = Frames::open(bed.address).await.unwrap();
    // The proxy may have closed meanwhile.
    let _closed = frames.send_bytes(&bytes).await;
    let goaway = frames.until(|frame| frame.kind == GOAWAY).await.unwrap();
    // ENHANCE_YOUR_CALM, unless the close was faster.
    assert!(goaway.as_ref().is_none_or(|frame| frame.payload[4..8] == [0, 0, 0, 11]), "{goaway:?}");
    assert_eq!(frames.until(|_| false).await.unwrap(), None);
    assert_eq!(bed.get("/").await.status, 200);
}

#[tokio::test]
async fn headers_that_do_not_end_are_bounded() {
    let echo = Echo::start("b");
    let bed = bed(&echo).await;
    let before = memory(&bed);
    for part in [&[][..], &gatehouse_tests::frames::fields(&[(b"x", &[b'y'; 100])]).repeat(100)] {
        let mut frames = Frames::open(bed.address).await.unwrap();
        frames.send(HEADERS, 0, 1, &request("GET", "/", &[])).await.unwrap();
        let sent = frames.flood(&frame(CONTINUATION, 0, 1, part).repeat(10), 10_000).await;
        assert!(sent < 10_000, "all of it was taken");
    }
    let grown = memory(&bed).saturating_sub(before);
    assert!(grown < 32 * 1024, "{grown} KiB more");
    assert_eq!(bed.get("/").await.status, 200);
}

#[tokio::test]
async fn a_small_header_that_unpacks_to_a_large_one_is_refused() {
    let echo = Echo::start("b");
    let bed = bed(&echo).await;
    let before = memory(&bed);
    let mut frames = Frames::open(bed.address).await.unwrap();
    // One field of 120 bytes goes into the dynamic table (RFC 7541 §6.2.1), and is then named by one byte each time.
    let mut bomb = request("GET", "/", &[]);
    bomb.extend([0x40, 1, b'x', 120]);
    bomb.extend([b'y'; 120]);
    bomb.extend(vec![0x80 | 62; 15_000]);
    for number in 0..20 {
        let stream = 2 * number + 1;
        if frames.send(HEADERS, END_HEADERS | END_STREAM, stream, &bomb).await.is_err() {
            break;
        }
        let answer = frames.until(|frame| frame.stream == stream || frame.kind == GOAWAY).await.unwrap();
        // 431, a reset, or the end of the connection.
        let Some(answer) = answer else { break };
        assert!([HEADERS, RST_STREAM, GOAWAY].contains(&answer.kind), "{answer:?}");
    }
    let grown = memory(&bed).saturating_sub(before);
    assert!(grown < 32 * 1024, "{grown} KiB more");
    assert_eq!(bed.get("/").await.status, 200);
}
