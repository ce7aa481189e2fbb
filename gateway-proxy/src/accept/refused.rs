//! Connections that end before anything was asked for: counted, and a line of the access log each.

use std::net::SocketAddr;

use gateway_common::ir::AccessLog;

use super::Accepted;
use crate::access_log::{Reason, Record};
use crate::connections::Handle;
use crate::snapshot::Gateway;
use crate::worker::Worker;

/// What is known of such a connection.
#[derive(Clone, Copy)]
pub(super) struct Refused<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) entry: &'a Handle,
    pub(super) client: SocketAddr,
    pub(super) vip: SocketAddr,
    pub(super) sni: Option<&'a str>,
}

impl<'a> Refused<'a> {
    pub(super) fn of(accepted: &'a Accepted) -> Self {
        let Accepted { gateway, handle, client, vip, .. } = accepted;
        Self { gateway, entry: handle, client: *client, vip: *vip, sni: None }
    }

    pub(super) fn end(self, worker: &Worker, reason: Reason, detail: Option<&str>) {
        let Self { gateway, entry, client, vip, sni } = self;
        entry.end(reason);
        if gateway.settings.access_log != AccessLog::Json {
            return;
        }
        worker.log.write(&Record {
            gateway: &gateway.id,
            listener: None,
            protocol: entry.protocol.get().as_str(),
            client,
            vip,
            sni,
            request: None,
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
