//! Requests reach backends and answers come back, over HTTP/1.1 and HTTP/2 on both sides.

use bytes::Bytes;
use gatehouse_tests::client::{self, Connection};
use gatehouse_tests::fake_agent::{backend, backend_id, gateway, http_port, route, rule};
use gateway_common::ir::{
    AccessLog, Backend, BackendProtocol, Endpoint, EndpointState, ProxyProtocolIn, ProxyProtocolOut, Resource,
};
use hyper::{Request, StatusCode};

use tokio::io::AsyncWriteExt as _;

use crate::bed::{Bed, Echo, backend_socket, raw, read_until};

#[tokio::test]
async fn both_protocols_on_both_sides() {
    let echo = Echo::start("b");
    let mut bed = Bed::new().await;
    for (protocol, version) in [(BackendProtocol::Http1, "HTTP/1.1"), (BackendProtocol::H2c, "HTTP/2.0")] {
        bed.serve(vec![rule("/", "b")], vec![backend("b", protocol, &[echo.address])]).await;
        for target in [bed.http1(), bed.http2()] {
            let mut connection = Connection::open(&target).await.unwrap();
            for round in 0..5 {
                let body = Bytes::from(vec![b'x'; round * 1000]);
                let request = Request::post("http://a.example/p/q?x=1")
                    .header("x-test", "1")
                    .body(body.into())
                    .unwrap();
                let reply = connection.send(request).await.unwrap();
                assert_eq!(reply.status, StatusCode::OK);
                let seen = reply.echo().unwrap();
                assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/p/q?x=1"));
                assert_eq!((seen.version.as_str(), seen.host.as_deref()), (version, Some("a.example")));
                assert_eq!((seen.body, seen.header("x-test")), (round * 1000, Some("1")));
                assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
            }
        }
    }
}

#[tokio::test]
async fn what_has_no_route_is_404() {
    let mut bed = Bed::new().await;
    bed.serve(vec![rule("/a", "b")], Vec::new()).await;
    let reply = client::send(&bed.http1(), client::request("a.example", "/other").unwrap()).await.unwrap();
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    assert_eq!(bed.get("/a").await.status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn trailers_head_and_continue_pass() {
    let echo = Echo::start("b");
    let mut bed = Bed::new().await;
    for protocol in [BackendProtocol::Http1, BackendProtocol::H2c] {
        bed.serve(vec![rule("/", "b")], vec![backend("b", protocol, &[echo.address])]).await;
        for target in [bed.http1(), bed.http2()] {
            let mut request = client::request("a.example", "/?trailers=1&size=100").unwrap();
            request.headers_mut().insert("te", "trailers".parse().unwrap());
            let reply = client::send(&target, request).await.unwrap();
            assert_eq!(reply.body.len(), 100);
            if target.h2 && protocol == BackendProtocol::H2c {
                assert_eq!(reply.trailers.unwrap()["x-trailer"], "end");
            }
            let mut connection = Connection::open(&target).await.unwrap();
            for _ in 0..3 {
                let mut request = client::request("a.example", "/?size=10").unwrap();
                *request.method_mut() = hyper::Method::HEAD;
                let reply = connection.send(request).await.unwrap();
                assert_eq!((reply.status, reply.body.len()), (StatusCode::OK, 0));
                assert_eq!(reply.headers["content-length"], "10");
            }
        }
    }
    let mut stream = tokio::net::TcpStream::connect(bed.address).await.unwrap();
    let ask = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    stream.write_all(ask).await.unwrap();
    let answer = read_until(&mut stream, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 100"), "{answer}");
    stream.write_all(b"hi").await.unwrap();
    assert!(read_until(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn announced_trailers_go_to_http1_clients_that_want_them() {
    let (listener, address) = backend_socket().await;
    let mut bed = Bed::new().await;
    bed.serve_all(&[address]).await;
    tokio::spawn(async move {
        let answer = "HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n\
                      3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n";
        while let Ok((mut stream, _)) = listener.accept().await {
            read_until(&mut stream, "\r\n\r\n").await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    for (te, wanted) in [("TE: trailers\r\nConnection: close, TE", true), ("Connection: close", false)] {
        let ask = format!("GET / HTTP/1.1\r\nHost: a\r\n{te}\r\n\r\n");
        let answer = raw(bed.address, ask.as_bytes()).await;
        assert!(answer.contains("\r\n3\r\nabc\r\n0\r\n"), "{answer}");
        assert_eq!(answer.ends_with("0\r\nx-sum: 7\r\n\r\n"), wanted, "{answer}");
    }
}

#[tokio::test]
async fn large_bodies_stream_both_ways_in_flat_memory() {
    const SIZE: usize = 64 << 20;
    let echo = Echo::start("b");
    let mut bed = Bed::new().await;
    for protocol in [BackendProtocol::Http1, BackendProtocol::H2c] {
        bed.serve(vec![rule("/", "b")], vec![backend("b", protocol, &[echo.address])]).await;
        for target in [bed.http1(), bed.http2()] {
            let body = Bytes::from(vec![b'x'; SIZE]);
            let up = Request::post("http://a.example/up").body(body.into()).unwrap();
            let mut connection = Connection::open(&target).await.unwrap();
            assert_eq!(connection.send(up).await.unwrap().echo().unwrap().body, SIZE);
            let down = client::request("a.example", &format!("/down?size={SIZE}")).unwrap();
            assert_eq!(connection.send(down).await.unwrap().body.len(), SIZE);
        }
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", bed.agent.proxy.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: usize = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < SIZE / 1024, "{kib} KiB of memory for bodies of {} KiB", SIZE / 1024);
}

#[tokio::test]
async fn the_client_is_known_through_proxy_headers() {
    let mut bed = Bed::new().await;
    let (listener, address) = backend_socket().await;
    let port = bed.port();
    let mut of = http_port(port);
    of.proxy_protocol = Some(ProxyProtocolIn { trusted: vec!["127.0.0.0/8".parse().unwrap()], strict: true });
    let to = Backend {
        id: backend_id("b"),
        protocol: BackendProtocol::Http1,
        endpoints: vec![Endpoint { address, state: EndpointState::Ready }],
        proxy_protocol: Some(ProxyProtocolOut::V1),
    };
    let all = vec![
        Resource::Gateway(gateway(vec![of])),
        Resource::Route(route("r", port, "http", &[], vec![rule("/", "b")])),
        Resource::Backend(to),
    ];
    assert!(bed.agent.replace(all).await.unwrap().is_empty());
    let mut stream = tokio::net::TcpStream::connect(bed.address).await.unwrap();
    let ask = "PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    let (mut backend, _) = listener.accept().await.unwrap();
    let seen = read_until(&mut backend, "\r\n\r\n").await;
    assert!(seen.starts_with(&format!("PROXY TCP4 192.0.2.7 127.0.0.1 4711 {port}\r\nGET / ")), "{seen}");
    assert!(seen.contains("x-forwarded-for: 192.0.2.7\r\n"), "{seen}");
    backend.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    assert!(read_until(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 200"));
    for without in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "PROXY TCP4 nonsense\r\n"] {
        assert_eq!(raw(bed.address, without.as_bytes()).await, "");
    }
}

#[tokio::test]
async fn the_access_log_counts_bodies() {
    let echo = Echo::start("b");
    let mut bed = Bed::new().await;
    bed.settings.access_log = AccessLog::Json;
    bed.serve_all(&[echo.address]).await;
    let mut sent = Vec::new();
    for (target, length) in [(bed.http1(), 0), (bed.http1(), 12_345), (bed.http2(), 0), (bed.http2(), 54_321)]
    {
        let body = Bytes::from(vec![b'x'; length]);
        let request = Request::post("http://a.example/").body(body.into()).unwrap();
        let reply = client::send(&target, request).await.unwrap();
        sent.push((length as u64, reply.body.len() as u64));
    }
    let lines = bed.agent.logged(sent.len()).await.unwrap();
    let bytes =
        |line: &serde_json::Value| (line["bytesIn"].as_u64().unwrap(), line["bytesOut"].as_u64().unwrap());
    let mut seen: Vec<_> = lines.iter().map(bytes).collect();
    // The two workers write each for itself.
    sent.sort_unstable();
    seen.sort_unstable();
    assert_eq!(seen, sent);
}

/// Which Pod it was is what one wants to know then.
#[tokio::test]
async fn the_access_log_names_the_endpoint_that_failed() {
    let mut bed = Bed::new().await;
    bed.settings.access_log = AccessLog::Json;
    let (listener, address) = backend_socket().await;
    bed.serve_all(&[address]).await;
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
    });
    assert_eq!(bed.get("/").await.status, 502);
    serving.await.unwrap();
    let line = &bed.agent.logged(1).await.unwrap()[0];
    assert_eq!((&line["reason"], &line["status"]), (&"upstream_reset".into(), &502.into()), "{line}");
    assert_eq!(line["endpoint"], address.to_string(), "{line}");
}
