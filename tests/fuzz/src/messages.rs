//! Messages of both sides of the control socket, whole, to be damaged.

use gateway_common::ir::frame::encode;
use gateway_common::ir::{
    BackendId, Certificate, CertificateId, Family, FromAgent, FromProxy, Gateway, GatewayId, HttpMatch,
    HttpRule, Key, L4Rule, Listener, ListenerProtocol, PathMatch, Port, PortProtocol, Problem, Resource,
    Route, RouteId, RouteRules, Settings, SocketId, Timeouts,
};

fn of_agent() -> Vec<FromAgent> {
    let gateway = GatewayId::new("a/gw");
    let tcp = SocketId::Tcp { gateway: gateway.clone(), family: Family::V4 };
    let certificate = CertificateId::new("a/tls");
    let listener = Listener {
        name: "https".to_owned(),
        hostname: None,
        protocol: ListenerProtocol::Https { certificates: vec![certificate.clone()] },
    };
    let port =
        Port { port: 443, protocol: PortProtocol::Tls, proxy_protocol: None, listeners: vec![listener] };
    let route = |rules| {
        Resource::Route(Route {
            id: RouteId::new("HTTPRoute/a/r"),
            created: 7,
            attachments: Vec::new(),
            rules,
        })
    };
    let rule = HttpRule {
        name: None,
        matches: vec![HttpMatch {
            path: PathMatch::Prefix("/a".to_owned()),
            method: None,
            headers: Vec::new(),
            query: Vec::new(),
        }],
        filters: Vec::new(),
        backends: Vec::new(),
        timeouts: Timeouts::default(),
    };
    let upsert = vec![
        Resource::Gateway(Gateway { id: gateway, ports: vec![port], settings: Settings::default() }),
        route(RouteRules::Http(vec![rule])),
        route(RouteRules::Tcp(L4Rule { backends: Vec::new() })),
        Resource::Certificate(Certificate {
            id: certificate.clone(),
            chain: String::new(),
            key: String::new(),
        }),
    ];
    let remove = vec![Key::Backend(BackendId::new("a/s:80")), Key::Certificate(certificate)];
    vec![
        FromAgent::Hello { protocol: 1 },
        FromAgent::Listen { id: tcp.clone(), fds: 2 },
        FromAgent::Unlisten { id: tcp },
        FromAgent::Update { upsert, remove },
        FromAgent::Commit { generation: 9, full: true },
        FromAgent::Drain { deadline_ms: 60_000 },
    ]
}

fn of_proxy() -> Vec<FromProxy> {
    let gateway = GatewayId::new("a/gw");
    let udp = SocketId::Udp { gateway: gateway.clone(), address: ([203, 0, 113, 1], 53).into() };
    let problem = Problem { key: Key::Gateway(gateway), message: "\u{e9}\"\n".to_owned() };
    vec![
        FromProxy::Hello { oldest: 1, newest: 1, pid: 7, draining: false, generation: 0, holding: 1 },
        FromProxy::Holding { id: udp, fds: 2 },
        FromProxy::Ack { generation: 9, problems: vec![problem] },
    ]
}

/// All of them as frames.
pub(crate) fn frames() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut add = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = Vec::new();
        write(&mut frame);
        frames.push(frame);
    };
    for message in of_agent() {
        add(&|out| encode(&message, out).expect("a message can be written"));
    }
    for message in of_proxy() {
        add(&|out| encode(&message, out).expect("a message can be written"));
    }
    frames
}
