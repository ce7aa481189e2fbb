//! Real packets over a real network to real sockets: who gets them, and under which addresses.

use std::io::{self, ErrorKind, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use aya::programs::XdpMode;
use gatehouse_tests::datapath::Options;
use gatehouse_tests::packet::{Frame, Payload};
use gatehouse_tests::serving::receive;
use gatehouse_tests::topology::{CLIENT_V4, CLIENT_V6, NODE_V4, NODE_V6, Uplink};
use gateway_common::abi::{DENIED, Port, Proto, Reason};
use socket2::{Domain, Socket, Type};

use crate::node::{
    CLOSED, DNS, HTTPS, Node, SILENT, VIPS, client_udp, connect, exchange, ping, refusal, udp_refusal,
};
use crate::raw::send;

const CLIENT: [IpAddr; 2] = [CLIENT_V4, CLIENT_V6];

/// One connection and one datagram to each VIP that rejects, with their answers.
fn carry(node: &Node, client: [IpAddr; 2]) {
    for (index, vip) in VIPS.into_iter().enumerate() {
        let to = SocketAddr::new(vip, HTTPS);
        let mut stream = connect(&node.topology.client, to).unwrap();
        let (mut accepted, peer, _) = node.tcp[index].accept().unwrap();
        assert_eq!((peer.ip(), peer.port()), (client[index], stream.local_addr().unwrap().port()));
        assert_eq!(accepted.local_addr().unwrap(), to);
        exchange(&mut stream, &mut accepted, 100_000).unwrap();
        exchange(&mut accepted, &mut stream, 100_000).unwrap();

        let to = SocketAddr::new(vip, DNS);
        let socket = client_udp(&node.topology.client, to).unwrap();
        socket.send(b"question").unwrap();
        let (question, peer, member) = node.udp[index].receive().unwrap();
        assert_eq!((&question[..], peer.ip()), (&b"question"[..], client[index]));
        node.udp[index].sockets[member].send_to(b"answer", peer).unwrap();
        let mut answer = [0; 16];
        assert_eq!(receive(&socket, &mut answer).unwrap(), 6);
    }
}

#[test]
fn clients_reach_the_sockets_with_their_own_address() {
    let mut node = Node::new(Uplink::Plain).unwrap();
    carry(&node, CLIENT);
    for vip in 0..2 {
        let tcp = node.tcp_counters(vip);
        // The SYN, and at most what follows it before the connection is in the table.
        assert!(tcp.listener >= 1 && tcp.established > 2 && tcp.lookup == 0, "{tcp:?}");
        assert_eq!(tcp.packets, tcp.listener + tcp.established, "{tcp:?}");
        let udp = node.udp_counters(vip);
        assert_eq!((udp.packets, udp.listener, udp.lookup, udp.dropped), (1, 1, 0, 0), "{udp:?}");
    }
    assert!(node.datapath.reasons().unwrap().is_empty());
}

#[test]
fn without_tcx_it_attaches_by_netlink() {
    let mut node = Node::unattached(Uplink::Plain, Options::of_this_kernel()).unwrap();
    node.attach(&["eth0"], false).unwrap();
    carry(&node, CLIENT);
    assert!(node.tcp_counters(0).established > 2);
}

#[test]
fn a_kernel_that_cannot_assign_selects_in_the_stack() {
    let mut node = Node::unattached(Uplink::Plain, Options { assign: false, log_level: 0 }).unwrap();
    node.attach(&["eth0"], false).unwrap();
    carry(&node, CLIENT);
    for vip in 0..2 {
        let tcp = node.tcp_counters(vip);
        assert!(tcp.packets > 2 && tcp.lookup >= 1, "{tcp:?}");
        assert_eq!((tcp.listener, tcp.established), (0, 0));
        assert_eq!(node.udp_counters(vip).lookup, 1);
    }
}

#[test]
fn the_log_carries_traffic_too() {
    let options = Options { log_level: 5, ..Options::of_this_kernel() };
    let mut node = Node::unattached(Uplink::Plain, options).unwrap();
    node.attach(&["eth0"], true).unwrap();
    carry(&node, CLIENT);
}

#[test]
fn a_packet_seen_on_two_devices_counts_once() {
    let mut node = Node::unattached(Uplink::Bridge, Options::of_this_kernel()).unwrap();
    // br_netfilter would take the socket from the packet again.
    node.topology.node.sysctl("net.bridge.bridge-nf-call-iptables", "0").unwrap();
    node.attach(&["eth0", "br0"], true).unwrap();
    carry(&node, CLIENT);
    let udp = node.udp_counters(0);
    assert_eq!((udp.packets, udp.listener), (1, 1), "{udp:?}");
}

#[test]
fn the_group_shares_connections_also_under_syn_cookies() {
    for cookies in ["0", "1", "2"] {
        let node = Node::new(Uplink::Plain).unwrap();
        node.topology.node.sysctl("net.ipv4.tcp_syncookies", cookies).unwrap();
        for (index, vip) in VIPS.into_iter().enumerate() {
            let mut members = [0, 0];
            for _ in 0..40 {
                let mut stream = connect(&node.topology.client, SocketAddr::new(vip, HTTPS)).unwrap();
                stream.write_all(b"x").unwrap();
                let (mut accepted, peer, member) = node.tcp[index].accept().unwrap();
                assert_eq!(peer.ip(), CLIENT[index]);
                exchange(&mut accepted, &mut stream, 10).unwrap();
                members[member] += 1;
            }
            assert!(members.iter().all(|&count| count > 0), "cookies {cookies}: {members:?}");
        }
    }
}

#[test]
fn a_tuple_in_time_wait_can_be_used_again() {
    let mut node = Node::new(Uplink::Plain).unwrap();
    for (index, vip) in VIPS.into_iter().enumerate() {
        let to = SocketAddr::new(vip, HTTPS);
        let mut port = 0;
        for _ in 0..3 {
            let domain = Domain::for_address(to);
            let socket = node.topology.client.run(|| Socket::new(domain, Type::STREAM, None)).unwrap();
            socket.set_reuse_address(true).unwrap();
            socket.bind(&SocketAddr::new(CLIENT[index], port).into()).unwrap();
            port = socket.local_addr().unwrap().as_socket().unwrap().port();
            socket.connect_timeout(&to.into(), std::time::Duration::from_secs(10)).unwrap();
            let (accepted, peer, _) = node.tcp[index].accept().unwrap();
            assert_eq!(peer.port(), port);
            // Who closes first keeps the state.
            accepted.shutdown(std::net::Shutdown::Both).unwrap();
            drop(accepted);
            let mut rest = std::net::TcpStream::from(socket);
            assert_eq!(io::Read::read(&mut rest, &mut [0]).unwrap(), 0);
        }
        let tcp = node.tcp_counters(index);
        assert_eq!((tcp.listener, tcp.lookup), (1, 2), "two of three SYNs met TIME_WAIT: {tcp:?}");
    }
    assert!(node.datapath.reasons().unwrap().is_empty());
}

#[test]
fn udp_fragments_arrive_whole() {
    let mut node = Node::new(Uplink::Plain).unwrap();
    for (index, vip) in VIPS.into_iter().enumerate() {
        let socket = client_udp(&node.topology.client, SocketAddr::new(vip, DNS)).unwrap();
        let sent: Vec<u8> = (0..=250).cycle().take(5000).collect();
        socket.send(&sent).unwrap();
        let (received, peer, _) = node.udp[index].receive().unwrap();
        assert!(received == sent && peer.ip() == CLIENT[index]);
        let udp = node.udp_counters(index);
        assert_eq!((udp.listener, udp.lookup), (0, 1), "the stack's lookup takes it: {udp:?}");
    }
}

#[test]
fn headers_in_pages_are_read() {
    let mut node = Node::new(Uplink::Plain).unwrap();
    node.topology.router.ip("link set nodes mtu 9000").unwrap();
    node.topology.node.ip("link set eth0 mtu 9000").unwrap();
    let mac = node.topology.node.run(|| std::fs::read_to_string("/sys/class/net/eth0/address")).unwrap();
    let mac: Vec<u8> = mac.trim().split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    for (index, vip) in VIPS.into_iter().enumerate() {
        let payload = Payload::Udp { source: 40_000, destination: DNS };
        let mut frame = Frame::new(CLIENT[index], vip, payload).mac(mac.clone().try_into().unwrap()).bytes();
        frame.resize(5000, 0);
        for linear in [14, 20, 34, 41, 54, 60] {
            node.topology.router.run(|| send("nodes", &frame, linear)).unwrap();
        }
        let udp = node.udp_counters(index);
        assert_eq!((udp.packets, udp.listener), (6, 6), "{udp:?}");
    }
}

#[test]
fn tcp_fragments_arrive_whole() {
    let node = Node::new(Uplink::Plain).unwrap();
    node.topology.router.ip("link set nodes mtu 600").unwrap();
    // Leaves "don't fragment" out.
    node.topology.client.sysctl("net.ipv4.ip_no_pmtu_disc", "1").unwrap();
    let mut stream = connect(&node.topology.client, SocketAddr::new(VIPS[0], HTTPS)).unwrap();
    let (mut accepted, _, _) = node.tcp[0].accept().unwrap();
    exchange(&mut stream, &mut accepted, 200_000).unwrap();
    let reassembled =
        node.topology.node.run(|| std::fs::read_to_string("/proc/thread-self/net/snmp")).unwrap();
    let fields: Vec<_> = reassembled.lines().filter(|line| line.starts_with("Ip:")).collect();
    let position = fields[0].split(' ').position(|name| name == "ReasmOKs").unwrap();
    let count: u64 = fields[1].split(' ').nth(position).unwrap().parse().unwrap();
    assert!(count > 100, "only {count} packets came in fragments");
}

#[test]
fn a_smaller_mtu_towards_the_client_is_learnt() {
    let node = Node::new(Uplink::Plain).unwrap();
    node.topology.router.ip("link set clients mtu 1280").unwrap();
    for (index, vip) in VIPS.into_iter().enumerate() {
        let mut stream = connect(&node.topology.client, SocketAddr::new(vip, HTTPS)).unwrap();
        let (mut accepted, _, _) = node.tcp[index].accept().unwrap();
        exchange(&mut accepted, &mut stream, 300_000).unwrap();
    }
}

#[test]
fn a_vip_answers_echo_requests() {
    let node = Node::new(Uplink::Plain).unwrap();
    for vip in VIPS.into_iter().chain(SILENT) {
        ping(&node.topology.client, vip).unwrap();
    }
}

#[test]
fn no_foreign_socket_answers_on_a_vip() {
    let mut node = Node::new(Uplink::Plain).unwrap();
    let foreign = |address: &str| {
        let address: SocketAddr = address.parse().unwrap();
        let socket = node.topology.node.run(|| Socket::new(Domain::for_address(address), Type::STREAM, None));
        let socket = socket.unwrap();
        if address.is_ipv6() {
            socket.set_only_v6(true).unwrap();
        }
        socket.bind(&address.into()).unwrap();
        socket.listen(16).unwrap();
        TcpListener::from(socket)
    };
    let exact = foreign("203.0.113.10:443");
    let _wildcards = ["[::]:443", "[::]:444", "0.0.0.0:444"].map(foreign);
    let datagrams = node.topology.node.run(|| UdpSocket::bind("0.0.0.0:444")).unwrap();
    carry(&node, CLIENT);
    for from in [&node.topology.client, &node.topology.node] {
        for vip in VIPS {
            let closed = SocketAddr::new(vip, CLOSED);
            assert_eq!(refusal(from, closed), Some(ErrorKind::ConnectionRefused));
            assert_eq!(udp_refusal(from, closed), Some(ErrorKind::ConnectionRefused));
        }
    }
    // They still answer where they should.
    for address in [NODE_V4, NODE_V6] {
        connect(&node.topology.client, SocketAddr::new(address, CLOSED)).unwrap();
    }
    exact.set_nonblocking(true).unwrap();
    datagrams.set_nonblocking(true).unwrap();
    assert_eq!(exact.accept().err().map(|error| error.kind()), Some(ErrorKind::WouldBlock));
    assert_eq!(datagrams.recv(&mut [0]).err().map(|error| error.kind()), Some(ErrorKind::WouldBlock));
    let rejected = node.datapath.reasons().unwrap();
    assert_eq!(rejected.into_iter().collect::<Vec<_>>(), [(Reason::NoListenerReject, 8)]);
}

#[test]
fn a_silent_vip_is_silent_outside_and_rejects_inside() {
    let mut node = Node::new(Uplink::Plain).unwrap();
    for vip in SILENT {
        let closed = SocketAddr::new(vip, CLOSED);
        assert_eq!(refusal(&node.topology.client, closed), Some(ErrorKind::TimedOut));
        assert_eq!(udp_refusal(&node.topology.client, closed), Some(ErrorKind::WouldBlock));
    }
    let dropped = node.datapath.reasons().unwrap();
    assert_eq!(dropped.into_iter().collect::<Vec<_>>(), [(Reason::NoListenerDrop, 4)]);
    for vip in SILENT {
        let closed = SocketAddr::new(vip, CLOSED);
        assert_eq!(refusal(&node.topology.node, closed), Some(ErrorKind::ConnectionRefused));
    }
    assert_eq!(node.datapath.reasons().unwrap().get(&Reason::NoListenerReject), Some(&2));
}

#[test]
fn a_port_without_socket_is_rejected_with_its_own_reason() {
    let mut node = Node::new(Uplink::Plain).unwrap();
    for (index, vip) in (0..).zip(VIPS) {
        let port = Port { slot: 1000, counter: 100 + index };
        node.datapath.set_port(vip, CLOSED, Proto::Tcp, port).unwrap();
        let closed = SocketAddr::new(vip, CLOSED);
        assert_eq!(refusal(&node.topology.client, closed), Some(ErrorKind::ConnectionRefused));
        let counters = node.datapath.counters(100 + index).unwrap();
        assert_eq!((counters.packets, counters.listener, counters.dropped), (1, 0, 1), "{counters:?}");
    }
    let reasons = node.datapath.reasons().unwrap();
    assert_eq!(reasons.into_iter().collect::<Vec<_>>(), [(Reason::NoSocket, 2)]);
}

#[test]
fn a_socket_of_another_kind_is_never_given_a_packet() {
    let mut node = Node::new(Uplink::Plain).unwrap();
    // The slots of the other family, and of the other protocol.
    for (index, vip) in (0..).zip(VIPS) {
        for (proto, slot) in [(Proto::Tcp, 2 * (1 - index)), (Proto::Udp, 2 * index)] {
            let port = Port { slot, counter: 100 };
            node.datapath.set_port(vip, CLOSED, proto, port).unwrap();
        }
        let closed = SocketAddr::new(vip, CLOSED);
        assert_eq!(refusal(&node.topology.client, closed), Some(ErrorKind::ConnectionRefused));
        assert_eq!(udp_refusal(&node.topology.client, closed), Some(ErrorKind::ConnectionRefused));
    }
    let reasons = node.datapath.reasons().unwrap();
    assert_eq!(reasons.into_iter().collect::<Vec<_>>(), [(Reason::AssignFailed, 4)]);
    assert_eq!(node.datapath.counters(100).unwrap().listener, 0);
}

#[test]
fn a_connection_outlives_its_port() {
    let mut node = Node::new(Uplink::Plain).unwrap();
    for (vip, group) in [(VIPS[0], 0), (VIPS[1], 1), (SILENT[0], 2), (SILENT[1], 3)] {
        let to = SocketAddr::new(vip, HTTPS);
        let mut stream = connect(&node.topology.client, to).unwrap();
        let (mut accepted, _, _) = node.tcp[group].accept().unwrap();
        node.datapath.remove_port(vip, HTTPS, Proto::Tcp).unwrap();
        exchange(&mut stream, &mut accepted, 50_000).unwrap();
        exchange(&mut accepted, &mut stream, 50_000).unwrap();
        assert!(refusal(&node.topology.client, to).is_some());
    }
}

#[test]
fn clients_of_the_node_and_of_other_namespaces_reach_the_sockets() {
    let mut node = Node::new(Uplink::Plain).unwrap();
    for (index, vip) in VIPS.into_iter().enumerate() {
        for from in [&node.topology.node, &node.topology.pods] {
            let mut stream = connect(from, SocketAddr::new(vip, HTTPS)).unwrap();
            let (mut accepted, peer, _) = node.tcp[index].accept().unwrap();
            assert_eq!(peer, stream.local_addr().unwrap());
            exchange(&mut stream, &mut accepted, 50_000).unwrap();
            let socket = client_udp(from, SocketAddr::new(vip, DNS)).unwrap();
            socket.send(b"question").unwrap();
            assert_eq!(node.udp[index].receive().unwrap().1, socket.local_addr().unwrap());
        }
        let tcp = node.tcp_counters(index);
        assert_eq!((tcp.packets, tcp.lookup), (0, 2), "{tcp:?}");
    }
}

#[test]
fn xdp_drops_denied_clients_and_closed_ports() {
    let mut node = Node::new(Uplink::Plain).unwrap();
    let datapath = &mut node.datapath;
    node.topology.node.run(move || datapath.attach_xdp("eth0", XdpMode::Skb)).unwrap();
    carry(&node, CLIENT);
    for vip in VIPS {
        let closed = SocketAddr::new(vip, CLOSED);
        assert_eq!(refusal(&node.topology.client, closed), Some(ErrorKind::TimedOut));
    }
    for client in CLIENT {
        node.datapath.deny(client, if client.is_ipv4() { 32 } else { 128 }, DENIED).unwrap();
    }
    for vip in VIPS {
        let open = SocketAddr::new(vip, HTTPS);
        assert_eq!(refusal(&node.topology.client, open), Some(ErrorKind::TimedOut));
    }
    let reasons = node.datapath.reasons().unwrap();
    assert_eq!(reasons.into_iter().collect::<Vec<_>>(), [(Reason::Denied, 2), (Reason::XdpNoListener, 2)]);
}
