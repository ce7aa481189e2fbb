//! Asks the kernel's own programs which way a connection would go: a dry run of `sk_lookup` in this network namespace.
//!
//! The run counts in the port's `lookup` counter, or by its reason, as the connection itself would.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use aya::programs::links::{FdLink, PinnedLink};
use gateway_common::abi::Proto;
use gateway_common::abi::names::PROGRAM_LOOKUP;
use serde::{Deserialize, Serialize};

use super::pins::Pins;
use super::syscall::{LookupContext, run_lookup};
use super::{Error, programs};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Selection {
    /// A listening socket takes it.
    Listener,
    /// The stack refuses it.
    Rejected,
    /// Not ours: the stack looks for a socket as usual.
    Passed,
}

/// What our pinned program does with a new connection or datagram.
pub fn select(pins: &Pins, proto: Proto, from: SocketAddr, to: SocketAddr) -> Result<Selection, Error> {
    let path = pins.links().join(PROGRAM_LOOKUP);
    let link = PinnedLink::from_pin(&path).map(FdLink::from).map_err(|e| Error::link("open", &path, e))?;
    let id = link.info().map_err(|e| Error::link("read", &path, e))?.program_id();
    let failed = |e| Error::program("open", PROGRAM_LOOKUP, e);
    let Some(program) = programs::by_id(id) else {
        return Err(Error::Missing { what: "loaded program", name: PROGRAM_LOOKUP });
    };
    let program = program.fd().map_err(failed)?;
    let mut context = context(proto, from, to);
    match run_lookup(program.as_fd(), &mut context) {
        Ok(0) => Ok(Selection::Rejected),
        Ok(_) if context.cookie != 0 => Ok(Selection::Listener),
        Ok(_) => Ok(Selection::Passed),
        // The dry run does not go on into a reuseport group, which is what our listeners are
        // (bpf_prog_test_run_sk_lookup in net/bpf/test_run.c).
        Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(Selection::Listener),
        Err(e) => Err(Error::io("BPF_PROG_TEST_RUN", &path, named(e))),
    }
}

fn named(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{PROGRAM_LOOKUP}: {error}"))
}

fn context(proto: Proto, from: SocketAddr, to: SocketAddr) -> LookupContext {
    let mut context = LookupContext {
        family: if to.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }.cast_unsigned(),
        protocol: u32::from(proto as u8),
        remote_port: from.port().to_be_bytes(),
        local_port: u32::from(to.port()),
        ..LookupContext::default()
    };
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            context.remote_ip4 = from.octets();
            context.local_ip4 = to.octets();
        }
        (from, to) => {
            context.remote_ip6 = octets(from);
            context.local_ip6 = octets(to);
        }
    }
    context
}

fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}
