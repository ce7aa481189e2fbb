//! Connections that end for what was not understood of them: counted, and a line of the access log each.

use std::net::SocketAddr;

use gateway_common::ir::AccessLog;

use crate::accept::Accepted;
use crate::access_log::{Reason, Record, Request};
use crate::connections::Handle;
use crate::snapshot::Gateway;
use crate::worker::Worker;

/// What is known of such a connection.
#[derive(Clone, Copy)]
pub(crate) struct Refused<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) entry: &'a Handle,
    pub(crate) client: SocketAddr,
    pub(crate) vip: SocketAddr,
    pub(crate) sni: Option<&'a str>,
    /// That the handshake spoke for.
    pub(crate) listener: Option<&'a str>,
    /// What there is of a request.
    pub(crate) request: Option<Request<'a>>,
}

impl<'a> Refused<'a> {
    pub(crate) fn of(accepted: &'a Accepted) -> Self {
        let Accepted { gateway, handle, client, vip, .. } = accepted;
        Self { gateway, entry: handle, client: *client, vip: *vip, sni: None, listener: None, request: None }
    }

    pub(crate) fn end(self, worker: &Worker, reason: Reason, detail: Option<&str>) {
        let Self { gateway, entry, client, vip, sni, listener, request } = self;
        entry.end(reason);
        if gateway.settings.access_log != AccessLog::Json {
            return;
        }
        worker.log.write(&Record {
            gateway: &gateway.id,
            listener,
            protocol: entry.protocol.get().as_str(),
            client,
            vip,
            sni,
            request,
            route: None,
            backend: None,
            endpoint: None,
            reason,
            detail,
            duration: entry.opened.elapsed(),
            bytes_in: 0,
            bytes_out: 0,
        });
    }
}
