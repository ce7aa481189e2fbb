//! What others removed is put back: maps and programs are in our hands whatever becomes of their pins.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use gateway_common::abi::names::{DENY, PINNED_MAPS, PROGRAM_LOOKUP, PROGRAMS, SOCKS};

use super::sockets::{Group, Sockets};
use super::{Carrier, Datapath, Error, TcKind, links};

impl Datapath {
    /// Pins the maps and attaches `gh_lookup` where that is gone. Devices follow in [`Self::set_devices`].
    pub fn repair(&mut self) -> Result<(), Error> {
        let maps: Vec<_> = PINNED_MAPS.iter().copied().filter(|name| !self.pins.map(name).exists()).collect();
        let lookup = links::lookup_serves(&mut self.ebpf, &self.pins)?;
        let mut missing: Vec<String> = maps.iter().map(|name| format!("map {name}")).collect();
        let programs = PROGRAMS.into_iter().filter(|name| !self.pins.program(name).exists());
        let programs: Vec<_> = programs.collect();
        missing.extend(programs.iter().map(|name| format!("program {name}")));
        if !lookup {
            missing.push(format!("link of {PROGRAM_LOOKUP}"));
        }
        missing.extend(self.missing_links());
        let denied = self.restore_deny()?;
        if denied > 0 {
            missing.push(format!("{denied} entries of {DENY}"));
        }
        if missing.is_empty() {
            return Ok(());
        }
        let (pins, missing) = (self.pins.maps(), missing.join(", "));
        tracing::warn!(pins = %pins.display(), missing, "somebody removed parts of the datapath; putting them back");
        self.pins.prepare(self.mount_bpffs)?;
        for name in maps {
            let map = self.ebpf.map(name).ok_or(Error::Missing { what: "map", name })?;
            let path = self.pins.map(name);
            map.pin(&path).map_err(|e| Error::pin(&path, e))?;
        }
        for name in programs {
            links::pin_program(&mut self.ebpf, &self.pins, name)?;
        }
        if lookup { Ok(()) } else { links::attach_lookup(&mut self.ebpf, &self.pins) }
    }

    /// Devices that carried our programs when we last looked, and whose links have no pin any more.
    fn missing_links(&self) -> Vec<String> {
        let tc = links::tc_pins(&self.pins);
        let xdp = links::xdp_pins(&self.pins);
        let lost = |index: &u32, carrier: &Carrier| {
            let tc = self.tc == TcKind::Tcx && tc.iter().all(|(there, _)| there != index);
            let kind = self.xdp.filter(|_| carrier.xdp);
            tc || kind.is_some_and(|kind| xdp.iter().all(|(there, of, _)| (*there, *of) != (*index, kind)))
        };
        let devices = self.devices.iter().filter(|(index, carrier)| lost(index, carrier));
        devices.map(|(_, carrier)| format!("link of {}", carrier.name)).collect()
    }

    /// Puts sockets back into slots that somebody emptied. User space cannot read `SOCKS`, but it can write to an empty
    /// slot only.
    pub(super) fn refill(&mut self, sockets: &Sockets) {
        let by_cookie: BTreeMap<u64, BorrowedFd<'_>> =
            sockets.values().map(|group: &Group| (group.cookie(), group.first())).collect();
        for (slot, cookie) in &self.slots {
            let Some(socket) = by_cookie.get(cookie) else { continue };
            match self.maps.fill_socket(*slot, *socket) {
                Ok(false) => {}
                Ok(true) => {
                    tracing::warn!(slot, "somebody emptied a slot of {SOCKS}; its socket is back");
                }
                Err(error) => tracing::warn!(slot, %error, "slot of {SOCKS} not checked"),
            }
        }
    }
}
