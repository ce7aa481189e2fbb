//! The devices on which our programs run, made those that are wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Datapath, Error, Pins, TcKind, links};
use crate::device::Device;

/// A device that carries our programs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Carrier {
    pub(super) name: String,
    /// Its XDP program too.
    pub(super) xdp: bool,
}

/// Takes every program of ours off these devices and off the network namespace, and removes all pins.
pub fn uninstall(pin_root: &Path, devices: &[Device]) -> Result<(), Error> {
    // Filters have no pin that would end them.
    for device in devices.iter().filter(|device| !device.loopback) {
        links::detach_netlink(&device.name)?;
    }
    Pins::at(pin_root).remove_all()
}

impl Datapath {
    /// Makes the programs run on these devices and on no others. Problems by device name.
    pub fn set_devices<'a>(
        &mut self,
        wanted: impl IntoIterator<Item = &'a Device>,
    ) -> BTreeMap<String, String> {
        let wanted: BTreeMap<u32, &str> =
            wanted.into_iter().map(|device| (device.index, device.name.as_str())).collect();
        let mut problems = BTreeMap::new();
        if !self.settled {
            self.clear_filters(&wanted);
        }
        for (index, name) in &wanted {
            match self.attach(*index, name) {
                Ok(true) => tracing::info!(device = name, tc = ?self.tc, xdp = ?self.xdp, "attached"),
                Ok(false) => {}
                Err(error) => drop(problems.insert((*name).to_owned(), error.with_causes())),
            }
        }
        let gone: BTreeSet<u32> =
            self.attached().into_iter().filter(|index| !wanted.contains_key(index)).collect();
        for index in gone {
            let name = self.devices.remove(&index).map(|carrier| carrier.name);
            let label = name.clone().unwrap_or_else(|| format!("index {index}"));
            // Another device may have its name by now; its own filter went with it.
            let name = name.filter(|name| !wanted.values().any(|other| other == name));
            match self.detach(index, name.as_deref()) {
                Ok(()) => tracing::info!(device = label, "detached"),
                Err(error) => drop(problems.insert(label, error.with_causes())),
            }
        }
        self.settled = true;
        problems
    }

    /// Filters have no pins: those that a predecessor left on devices that are not wanted any more, or that TCX links take
    /// the place of, are found by looking everywhere once.
    fn clear_filters(&self, wanted: &BTreeMap<u32, &str>) {
        for name in super::pins::names_in("/sys/class/net".as_ref()) {
            let keep = self.tc == TcKind::Netlink && wanted.values().any(|wanted| *wanted == name);
            if let Some(error) = (!keep).then(|| links::detach_netlink(&name)).and_then(Result::err) {
                tracing::debug!(device = name, %error, "filters of the device not listed");
            }
        }
    }

    /// Whether the device carries something that it did not before.
    fn attach(&mut self, index: u32, name: &str) -> Result<bool, Error> {
        links::ensure_tc(&mut self.ebpf, &self.pins, name, index, self.tc)?;
        if self.tc == TcKind::Netlink {
            links::detach_tc(&self.pins, index)?;
        }
        // Known from here on, so that the TC program is taken off again wherever XDP fails.
        let carries = |xdp| Carrier { name: name.to_owned(), xdp };
        let before = self.devices.insert(index, carries(false));
        links::ensure_xdp(&mut self.ebpf, &self.pins, index, self.xdp)?;
        let now = carries(self.xdp.is_some());
        self.devices.insert(index, now.clone());
        Ok(before != Some(now))
    }

    fn detach(&mut self, index: u32, name: Option<&str>) -> Result<(), Error> {
        links::detach_tc(&self.pins, index)?;
        links::ensure_xdp(&mut self.ebpf, &self.pins, index, None)?;
        match name {
            Some(name) if self.tc == TcKind::Netlink => links::detach_netlink(name),
            _ => Ok(()),
        }
    }

    /// Indexes of all devices with a link of ours, of a predecessor's too.
    fn attached(&self) -> BTreeSet<u32> {
        let tc = links::tc_pins(&self.pins).into_iter().map(|(index, _)| index);
        let xdp = links::xdp_pins(&self.pins).into_iter().map(|(index, ..)| index);
        tc.chain(xdp).chain(self.devices.keys().copied()).collect()
    }
}
