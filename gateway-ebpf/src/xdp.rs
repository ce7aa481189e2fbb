//! XDP: drops early what nobody should spend more time on. Fails open: what it does not understand, it passes.

use aya_ebpf::programs::XdpContext;
use gateway_common::abi::{Proto, Reason};

use crate::packet::Frame;
use crate::parse::{Segment, is_connection_attempt, network, plain_segment, source};
use crate::{Action, maps};

#[inline(always)]
pub(crate) fn try_xdp(ctx: &XdpContext) -> Result<Action, Reason> {
    let frame = Frame(ctx);
    let Some(network) = network(&frame) else { return Ok(Action::Pass) };
    if maps::vip(network.destination).is_none() {
        return Ok(Action::Pass);
    }
    if source(&frame, &network).is_some_and(maps::is_denied) {
        return Err(Reason::Denied);
    }
    let Some(segment) = plain_segment(&frame, &network) else { return Ok(Action::Pass) };
    if segment.fragment || !opens(&frame, &segment) {
        return Ok(Action::Pass);
    }
    let [_, port] = segment.ports;
    maps::port(network.destination, port, segment.proto as u8)
        .map(|_| Action::Pass)
        .ok_or(Reason::XdpNoListener)
}

/// A connection may outlive its listener, so only attempts to open one are refused.
#[inline(always)]
fn opens(frame: &Frame<'_>, segment: &Segment) -> bool {
    match segment.proto {
        Proto::Tcp => is_connection_attempt(frame, segment).unwrap_or(false),
        Proto::Udp => true,
    }
}
