//! TC ingress: gives packets for a VIP to the socket of their connection, or else to the listener behind their port.

use aya_ebpf::programs::TcContext;
use gateway_common::abi::{Port, PortCounters, Proto, Reason, Vip};

use crate::helpers::{Socket, TupleV4, TupleV6, connection};
use crate::packet::{Packet as _, Skb};
use crate::parse::{Family, Network, Segment, network, segment};
use crate::{Action, global, maps};

#[inline(always)]
pub(crate) fn try_ingress(ctx: &TcContext) -> Result<Action, Reason> {
    let skb = Skb(ctx);
    let Some(network) = network_of(&skb) else { return Ok(Action::Pass) };
    let Some(vip) = maps::vip(network.destination) else { return Ok(Action::Pass) };
    if !skb.is_for_this_host() {
        return Ok(Action::Pass);
    }
    // Ours: the headers are read in place from here on.
    skb.pull();
    let Some(segment) = segment(&skb, &network)? else { return Ok(Action::Pass) };
    deliver(&skb, &network, &segment, &vip)
}

/// Packets of others are left as they are, unless a driver left their addresses in pages.
#[inline(always)]
fn network_of(skb: &Skb<'_>) -> Option<Network> {
    match network(skb) {
        None if skb.pull() => network(skb),
        found => found,
    }
}

#[inline(always)]
fn deliver(skb: &Skb<'_>, network: &Network, segment: &Segment, vip: &Vip) -> Result<Action, Reason> {
    let [_, port] = segment.ports;
    let assigns = global::assigns_reuseport() && !segment.fragment;
    match maps::port(network.destination, port, segment.proto as u8) {
        Some(port) => Ok(to_port(skb, network, segment, &port, assigns)),
        None => without_listener(skb, network, segment, vip, assigns),
    }
}

/// Gives the packet to its connection, or else to the listener. Fragments and kernels that cannot assign leave the
/// choice to the stack.
#[inline(always)]
fn to_port(skb: &Skb<'_>, network: &Network, segment: &Segment, port: &Port, assigns: bool) -> Action {
    if !assigns {
        count(skb, network, port, |_| {});
        return Action::Pass;
    }
    if let Some(socket) = established(skb, network, segment) {
        return give(skb, &socket, |given| {
            count(skb, network, port, |counters| counters.established += given);
        });
    }
    let listener = maps::socket(port.slot);
    match listener.filter(|listener| listener.takes(network.family, segment.proto)) {
        Some(socket) => give(skb, &socket, |given| {
            count(skb, network, port, |counters| counters.listener += given);
        }),
        // The stack rejects by `gh_lookup`, which counts the reason.
        None => {
            count(skb, network, port, |_| {});
            Action::Pass
        }
    }
}

/// A connection outlives its listener, so that the proxy can drain it.
#[inline(always)]
fn without_listener(
    skb: &Skb<'_>,
    network: &Network,
    segment: &Segment,
    vip: &Vip,
    assigns: bool,
) -> Result<Action, Reason> {
    match established(skb, network, segment) {
        Some(socket) if assigns => Ok(give(skb, &socket, |_| {})),
        Some(_) => Ok(Action::Pass),
        None => no_listener(vip),
    }
}

/// Rejecting is left to the stack: `gh_lookup` counts it, also for clients that never pass this hook.
#[inline(always)]
fn no_listener(vip: &Vip) -> Result<Action, Reason> {
    if vip.drops_without_listener() { Err(Reason::NoListenerDrop) } else { Ok(Action::Pass) }
}

/// Assigns the socket, and tells `count` 1 if that worked. A refusal is no loss: the stack's own lookup finds the
/// connection, and `gh_lookup` the listener.
#[inline(always)]
fn give(skb: &Skb<'_>, socket: &Socket, count: impl FnOnce(u64)) -> Action {
    if skb.socket() == socket.address() {
        // Done and counted on the device below this one, such as the trunk of a VLAN.
        return Action::Assigned;
    }
    match socket.assign(skb.0) {
        Ok(()) => {
            count(1);
            Action::Assigned
        }
        Err(_) => {
            count(0);
            Action::Pass
        }
    }
}

#[inline(always)]
fn count(skb: &Skb<'_>, network: &Network, port: &Port, how: impl FnOnce(&mut PortCounters)) {
    maps::count_port(port, |counters| {
        counters.packets += 1;
        counters.bytes += u64::from(skb.0.len()) - network.offset as u64;
        how(counters);
    });
}

/// The TCP socket of this very connection, `TIME_WAIT` included: the stack decides by it whether a SYN may reuse the
/// tuple (RFC 6191), and asks `gh_lookup` for the listener if so.
#[inline(always)]
fn established(skb: &Skb<'_>, network: &Network, segment: &Segment) -> Option<Socket> {
    let ports = segment.ports;
    match (segment.proto, network.family) {
        (Proto::Udp, _) => None,
        (Proto::Tcp, Family::V4) => {
            let tuple = TupleV4 { addresses: skb.near(network.offset + 12)?, ports };
            maps::probe(|| connection(skb.0, tuple))
        }
        (Proto::Tcp, Family::V6) => {
            let tuple = TupleV6 { addresses: skb.near(network.offset + 8)?, ports };
            maps::probe(|| connection(skb.0, tuple))
        }
    }
}
