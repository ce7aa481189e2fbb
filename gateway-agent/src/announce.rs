//! The network edge, the only user of rtnetlink: the routes that make VIPs local, and the devices of the node.
//!
//! Nothing here is undone at shutdown: a VIP's route goes when its Gateway goes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

use rtnetlink::Handle;

use crate::device::Device;

mod devices;
mod filters;
pub mod route;
mod toward;
mod watch;

pub use route::{Outcome, PROTOCOL};
pub use watch::{Changed, Watch};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("open a netlink socket: {0}")]
    Open(#[source] io::Error),
    #[error("netlink: list {what}: {source}")]
    List { what: &'static str, source: rtnetlink::Error },
    #[error("this network namespace has no loopback device")]
    NoLoopback,
    #[error("netlink: the connection for device changes ended")]
    Ended,
}

/// A netlink connection to this network namespace.
#[derive(Clone)]
pub struct Announcer {
    handle: Handle,
}

impl Announcer {
    /// Needs a tokio runtime, whose threads are in the namespace that is meant.
    pub fn open() -> Result<Self, Error> {
        let (announcer, connection) = Self::connect()?;
        tokio::spawn(connection);
        Ok(announcer)
    }

    /// Also what moves its messages, to be run while it is used; it ends when the connection does.
    pub fn connect() -> Result<(Self, impl Future<Output = ()> + Send + 'static), Error> {
        // Strict: the kernel honours what a dump asks for, and sends no other routes.
        let (connection, handle, _) = rtnetlink::new_connection_with_strict_check().map_err(Error::Open)?;
        Ok((Self { handle }, connection))
    }

    /// The devices of the node with their addresses, in the order of their indexes.
    pub async fn devices(&self) -> Result<Vec<Device>, Error> {
        self.devices_with(&self.default_routes().await?).await
    }

    /// The same, when it is known which devices have default routes.
    pub async fn devices_with(&self, default_routes: &BTreeSet<u32>) -> Result<Vec<Device>, Error> {
        devices::list(&self.handle, default_routes).await
    }

    /// The indexes of devices with a default route in the main table. Reads every route of that table.
    pub async fn default_routes(&self) -> Result<BTreeSet<u32>, Error> {
        devices::default_routes(&self.handle).await
    }

    /// Ids of the programs that filters at the ingress of these devices run, by device index; devices without any are left
    /// out.
    pub async fn filters(&self, devices: &[Device]) -> Result<BTreeMap<u32, Vec<u32>>, Error> {
        let mut found = BTreeMap::new();
        for device in devices {
            let programs = filters::list(&self.handle, device.index).await?;
            if !programs.is_empty() {
                found.insert(device.index, programs);
            }
        }
        Ok(found)
    }

    /// Whether the node takes packets for this address itself, by whatever route.
    pub async fn is_local(&self, ip: IpAddr) -> Result<bool, Error> {
        toward::is_local(&self.handle, ip).await
    }

    /// The index of the device that leads to an address; None: it is this node's own, or unreachable.
    pub async fn device_toward(&self, ip: IpAddr) -> Result<Option<u32>, Error> {
        toward::device(&self.handle, ip).await
    }

    /// The VIPs that have a route of ours.
    pub async fn routes(&self) -> Result<BTreeSet<IpAddr>, Error> {
        route::list(&self.handle).await
    }

    /// Adds the routes that are missing. Call it when the datapath takes the VIPs.
    pub async fn install(&self, vips: &BTreeSet<IpAddr>) -> Result<Outcome, Error> {
        route::install(&self.handle, vips).await
    }

    /// Removes our routes for all other addresses. Call it before the datapath lets go of them.
    pub async fn withdraw(&self, vips: &BTreeSet<IpAddr>) -> Result<Outcome, Error> {
        route::withdraw(&self.handle, vips).await
    }
}
