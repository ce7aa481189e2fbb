//! Listeners of one Gateway that no connection could tell apart, and TLS listeners whose names overlap.

use gateway_common::abi::Proto;
use gateway_common::ir::PortProtocol;

use super::condition::{Problem, Reason};
use super::hostname;
use super::listener::{Listener, Protocol};

/// Marks every listener that conflicts: the API forbids to pick a winner.
pub(super) fn mark(listeners: &mut [Listener]) {
    let marks: Vec<_> =
        (0..listeners.len()).map(|index| (conflict(listeners, index), overlap(listeners, index))).collect();
    for (listener, (conflict, overlap)) in listeners.iter_mut().zip(marks) {
        listener.conflict = conflict;
        listener.overlap = overlap;
    }
}

fn conflict(listeners: &[Listener], index: usize) -> Option<Problem> {
    let me = &listeners[index];
    let my = contender(me)?;
    let rivals = |clash: fn(&Listener, Protocol, &Listener, Protocol) -> bool| {
        let names: Vec<_> = others(listeners, index)
            .filter(|other| contender(other).is_some_and(|theirs| clash(me, my, other, theirs)))
            .map(|other| format!("{:?}", other.name))
            .collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    if let Some(names) = rivals(protocols_clash) {
        return Some(Problem::new(
            Reason::ProtocolConflict,
            format!(
                "port {} with protocol {} cannot be shared with listener {names}; use another port",
                me.port,
                my.name()
            ),
        ));
    }
    let names = rivals(names_clash)?;
    let hostname = me.hostname.as_ref().map_or("no hostname".to_owned(), |name| format!("hostname {name}"));
    Some(Problem::new(
        Reason::HostnameConflict,
        format!("listener {names} has the same port {} and {hostname}; change one of the two", me.port),
    ))
}

/// A listener that would be served but for conflicts. TLS termination counts, although it is refused: the API wants
/// both modes on one port to be called a conflict.
fn contender(listener: &Listener) -> Option<Protocol> {
    let protocol = listener.protocol?;
    (listener.refused.is_none() || (protocol == Protocol::TlsTerminate && listener.port != 0))
        .then_some(protocol)
}

fn others(listeners: &[Listener], index: usize) -> impl Iterator<Item = &Listener> {
    listeners.iter().enumerate().filter(move |(other, _)| *other != index).map(|(_, listener)| listener)
}

fn protocols_clash(me: &Listener, my: Protocol, other: &Listener, theirs: Protocol) -> bool {
    if me.port != other.port || my.proto() != theirs.proto() {
        return false;
    }
    my.family() != theirs.family()
        || matches!(my.family(), PortProtocol::Tcp | PortProtocol::Udp)
        || matches!(
            (my, theirs),
            (Protocol::TlsTerminate, Protocol::TlsPassthrough)
                | (Protocol::TlsPassthrough, Protocol::TlsTerminate)
        )
}

fn names_clash(me: &Listener, my: Protocol, other: &Listener, theirs: Protocol) -> bool {
    me.port == other.port
        && my.proto() == Proto::Tcp
        && my.family() == theirs.family()
        && me.hostname == other.hostname
}

/// `OverlappingTLSConfig`: a client may reuse a connection of one listener for a name of the other.
fn overlap(listeners: &[Listener], index: usize) -> Option<String> {
    let me = &listeners[index];
    if me.protocol != Some(Protocol::Https) {
        return None;
    }
    let names: Vec<_> = others(listeners, index)
        .filter(|other| {
            other.protocol == Some(Protocol::Https)
                && other.port == me.port
                && hostname::overlap(me.hostname.as_ref(), other.hostname.as_ref())
        })
        .map(|other| format!("{:?}", other.name))
        .collect();
    (!names.is_empty()).then(|| {
        format!(
            "hostnames overlap with listener {} on port {}; requests on a connection that belongs to the other listener are answered with 421",
            names.join(", "),
            me.port
        )
    })
}
