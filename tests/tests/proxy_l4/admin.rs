//! The admin socket and the access log.

use gatehouse_tests::fake_agent::{self, http_port, share};
use gateway_common::admin::{
    BackendStatus, Connection, ListenerStatus, ProxyStatus, RouteAnswer, RouteQuery, RouteStatus,
};
use gateway_common::ir::{
    AccessLog, BackendRef, Filter, GatewayId, PortProtocol, ProxyProtocolIn, Redirect, Resource,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bed::{Bed, backend, listener, pair, port, read_to_end, tcp_route, udp_socket, within};

#[tokio::test]
async fn connections_backends_and_listeners_are_listed() {
    let mut bed = Bed::new(&[]).await;
    assert_eq!(bed.ask("GET /ready", "").await.0, 503);
    let (backend_listener, address) = listener().await;
    let vip = bed.forward_tcp(&[address]).await;
    assert_eq!(bed.ask("GET /ready", "").await.0, 200);
    let (mut client, mut server) = pair(vip, &backend_listener).await;
    client.write_all(b"12345").await.unwrap();
    within(server.read_exact(&mut [0; 5])).await.unwrap();

    let listed: Vec<Connection> = bed.get("/connections").await;
    let [connection] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!(connection.gateway, GatewayId::new(fake_agent::GATEWAY));
    assert_eq!(connection.protocol, "TCP");
    assert_eq!(connection.client, client.local_addr().unwrap());
    assert_eq!((connection.vip, connection.backend), (vip, Some(address)));
    assert!(connection.rtt_us.is_some());
    assert_eq!((connection.bytes_in, connection.bytes_out), (5, 0));

    let backends: Vec<BackendStatus> = bed.get("/backends").await;
    let endpoint = &backends[0].endpoints[0];
    assert_eq!((endpoint.address, endpoint.state.as_str()), (address, "ready"));
    assert_eq!((endpoint.active, endpoint.connections, endpoint.requests), (1, 1, 1));

    let listeners: Vec<ListenerStatus> = bed.get("/listeners").await;
    assert_eq!((listeners[0].name.as_str(), listeners[0].protocol.as_str()), ("l", "TCP"));
    assert_eq!((listeners[0].port, listeners[0].routes, listeners[0].connections), (vip.port(), 1, 1));

    let routes: Vec<RouteStatus> = bed.get("/routes").await;
    assert_eq!(routes[0].rules[0].backends, ["default/b:80 1"]);

    let status: ProxyStatus = bed.get("/status").await;
    assert_eq!((status.pid, status.workers, status.connections), (bed.agent.proxy.id(), 2, 1));
    assert!(status.agent_connected && !status.draining);

    drop((client, server));
    bed.until("gatehouse_proxy_connections", &[], 0.0).await;
    assert_eq!(bed.get::<Vec<Connection>>("/connections").await, []);
}

#[tokio::test]
async fn series_of_a_removed_gateway_go_away() {
    let mut bed = Bed::new(&[]).await;
    let (_backend, address) = listener().await;
    bed.forward_tcp(&[address]).await;
    let (_, page) = bed.ask("GET /metrics", "").await;
    assert!(page.contains("gateway=\"default/web\"") && page.contains("backend=\"default/b:80\""));
    let problems = bed.agent.replace(Vec::new()).await.unwrap();
    assert_eq!(problems, []);
    for _ in 0..100 {
        let (_, page) = bed.ask("GET /metrics", "").await;
        if !page.contains("gateway=") && !page.contains("backend=") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{}", bed.ask("GET /metrics", "").await.1);
}

#[tokio::test]
async fn what_is_not_there_or_too_much_is_refused() {
    let bed = Bed::new(&["--metrics-listen", "127.0.0.1:0"]).await;
    assert_eq!(bed.ask("GET /secret", "").await.0, 404);
    assert_eq!(bed.ask("POST /status", "").await.0, 405);
    assert_eq!(bed.ask("POST /route-test", "{").await.0, 400);
    assert_eq!(bed.ask_with_length("POST /route-test", 100_000, "").await.0, 413);
    let (status, index) = bed.ask("GET /", "").await;
    assert!(status == 200 && index.contains("/connections"));
}

fn query(host: &str, path: &str) -> String {
    let query = RouteQuery {
        gateway: None,
        port: None,
        host: host.to_owned(),
        path: path.to_owned(),
        method: "GET".to_owned(),
        headers: vec![("x-a".to_owned(), "1".to_owned())],
    };
    serde_json::to_string(&query).unwrap()
}

#[tokio::test]
async fn a_route_test_answers_as_the_request_would_be() {
    let mut bed = Bed::new(&[]).await;
    let vip = bed.tcp().await;
    let mut moved = fake_agent::rule("/moved", "b");
    let to =
        Redirect { scheme: Some("https".to_owned()), hostname: None, port: None, path: None, status: 308 };
    moved.filters = vec![Filter::RequestRedirect(to)];
    let mut lost = fake_agent::rule("/lost", "b");
    lost.backends = vec![BackendRef { weight: 1, backend: None, filters: Vec::new() }];
    let mut empty = fake_agent::rule("/empty", "empty");
    empty.name = Some("nobody".to_owned());
    let rules = vec![fake_agent::rule("/api", "b"), moved, lost, empty];
    let route = fake_agent::route("r", vip.port(), "http", &["a.example"], rules);
    let address = "192.0.2.1:80".parse().unwrap();
    let rest = vec![Resource::Route(route), backend("b", &[address], None), backend("empty", &[], None)];
    bed.serve(vec![http_port(vip.port())], rest).await;

    let cases = [
        ("a.example", "/api/x", Some(0), None),
        ("A.example:80", "/moved", Some(1), Some(308)),
        ("a.example", "/lost", Some(2), Some(500)),
        ("a.example", "/empty", Some(3), Some(503)),
        ("a.example", "/other", None, Some(404)),
        ("b.example", "/api", None, Some(404)),
    ];
    for (host, path, rule, status) in cases {
        let (code, body) = bed.ask("POST /route-test", &query(host, path)).await;
        assert_eq!(code, 200, "{body}");
        let answer: RouteAnswer = serde_json::from_str(&body).unwrap();
        let [result] = &answer.results[..] else { panic!("{body}") };
        assert_eq!((result.rule, result.status), (rule, status), "{host}{path}: {body}");
        assert_eq!(result.listener.as_deref(), Some("http"));
    }
    let (_, body) = bed.ask("POST /route-test", &query("a.example", "/empty/x?y=1")).await;
    let answer: RouteAnswer = serde_json::from_str(&body).unwrap();
    let result = &answer.results[0];
    assert_eq!(result.matched.as_deref(), Some("PathPrefix /empty"));
    assert_eq!(result.rule_name.as_deref(), Some("nobody"));
    assert_eq!(result.route.as_ref().map(|id| id.as_str()), Some("HTTPRoute/default/r"));
    assert_eq!((result.backends.len(), result.backends[0].endpoints), (1, 0));
}

#[tokio::test]
async fn connections_and_sessions_are_logged_when_they_end() {
    let mut bed = Bed::new(&[]).await;
    bed.settings.access_log = AccessLog::Json;
    bed.settings.timeouts.udp_idle_ms = 300;
    let ((backend_listener, tcp), (answering, udp)) = (listener().await, udp_socket().await);
    let (tcp_vip, udp_vip) = (bed.tcp().await, bed.udp().await);
    let rest = vec![
        tcp_route(tcp_vip, vec![share("b", 1)]),
        crate::bed::route(
            "UDPRoute/default/r",
            udp_vip,
            &[],
            gateway_common::ir::RouteRules::Udp(gateway_common::ir::L4Rule { backends: vec![share("u", 1)] }),
        ),
        backend("b", &[tcp], None),
        backend("u", &[udp], None),
    ];
    bed.serve(vec![port(tcp_vip, PortProtocol::Tcp), port(udp_vip, PortProtocol::Udp)], rest).await;

    let (mut client, mut server) = pair(tcp_vip, &backend_listener).await;
    client.write_all(b"123").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut server).await.0, b"123");
    server.write_all(b"12345").await.unwrap();
    drop(server);
    assert_eq!(read_to_end(&mut client).await.0, b"12345");
    let (asking, own) = udp_socket().await;
    asking.send_to(b"1", udp_vip).await.unwrap();
    let (_, from) = within(answering.recv_from(&mut [0; 1])).await.unwrap();
    answering.send_to(b"12", from).await.unwrap();
    bed.until("gatehouse_proxy_access_log_lines_total", &[], 2.0).await;
    let lines = bed.agent.logged(2).await.unwrap();
    let (first, second) = (&lines[0], &lines[1]);
    assert_eq!(first["protocol"], "TCP");
    assert_eq!(first["reason"], "ok");
    assert_eq!((&first["backend"], &first["endpoint"]), (&"default/b:80".into(), &tcp.to_string().into()));
    assert_eq!((&first["bytesIn"], &first["bytesOut"]), (&3.into(), &5.into()));
    assert_eq!(second["protocol"], "UDP");
    assert_eq!(second["client"], own.to_string());
    assert_eq!(second["backend"], "default/u:80");
    assert_eq!((&second["bytesIn"], &second["bytesOut"]), (&1.into(), &2.into()));
}

#[tokio::test]
async fn connections_that_ask_for_nothing_are_logged_with_what_is_wrong() {
    let mut bed = Bed::new(&[]).await;
    bed.settings.access_log = AccessLog::Json;
    let vips = bed.agent.listen(fake_agent::GATEWAY, 2).await.unwrap();
    let (tls, proxied) = (vips[0], vips[1]);
    let mut strict = port(proxied, PortProtocol::Tcp);
    let trusted = vec!["127.0.0.0/8".parse().unwrap()];
    strict.proxy_protocol = Some(ProxyProtocolIn { trusted, strict: true });
    bed.serve(vec![port(tls, PortProtocol::Tls), strict], Vec::new()).await;
    for (count, (vip, protocol, reason)) in
        [(tls, "TLS", "tls_handshake"), (proxied, "TCP", "proxy_header")].into_iter().enumerate()
    {
        let mut client = TcpStream::connect(vip).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!(read_to_end(&mut client).await.0, b"");
        let lines = bed.agent.logged(count + 1).await.unwrap();
        let line = &lines[count];
        assert_eq!((&line["protocol"], &line["reason"]), (&protocol.into(), &reason.into()), "{line}");
        assert_eq!(line["client"], client.local_addr().unwrap().to_string());
        assert!(line["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{line}");
    }
}
