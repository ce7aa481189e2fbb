//! What to change in the kernel's maps, decided from what is in them: pure.
//!
//! Slots of `SOCKS` and counters of `PORT_STATS` are given out here and remembered only by the kernel's `PORTS`, so a
//! restarted agent keeps them. Order: a socket is in its slot before a port names it, a port is there before its address
//! is; removal is the reverse. A port whose socket is not held (yet) keeps what the kernel has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use gateway_common::abi::limits::{MAX_PORTS, MAX_SOCKETS};
use gateway_common::abi::{Addr, Port, PortKey, Vip};
use gateway_common::ir::{GatewayId, SocketId};

use crate::desired::{self, VipPort};

/// What is in the maps.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Observed {
    pub vips: BTreeMap<Addr, Vip>,
    pub ports: BTreeMap<PortKey, Port>,
    /// The cookie of the socket in each slot, as far as this process put it there: user space cannot read `SOCKS` back, so
    /// a new process sets each slot once more, which changes nothing. Whether they are empty is checked before.
    pub slots: BTreeMap<u32, u64>,
}

/// One write to one map.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// Puts a member of the group into the slot; replaces what is there in one step.
    SetSocket {
        slot: u32,
        id: SocketId,
    },
    /// Counters of a port that is new must not start with its predecessor's figures.
    ResetCounter {
        counter: u32,
    },
    PutPort {
        key: PortKey,
        port: Port,
    },
    PutVip {
        addr: Addr,
        vip: Vip,
    },
    RemoveVip {
        addr: Addr,
    },
    RemovePort {
        key: PortKey,
    },
    ClearSocket {
        slot: u32,
    },
}

/// Writes in the order in which they must happen, and what cannot be done.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    pub ops: Vec<Op>,
    /// Ports that cannot be installed, and why.
    pub refused: BTreeMap<VipPort, Refusal>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error)]
pub enum Refusal {
    #[error("no listening socket is open for it")]
    NoSocket,
    #[error("all {MAX_SOCKETS} socket slots of this node are in use; remove Gateways")]
    NoSlot,
    #[error("all {MAX_PORTS} port counters of this node are in use; remove listeners")]
    NoCounter,
}

/// From what is to what is wanted. `sockets`: the groups that are held, by the cookie of the member that stands for them.
pub fn plan(observed: &Observed, desired: &desired::Datapath, sockets: &BTreeMap<SocketId, u64>) -> Plan {
    let wanted: BTreeMap<PortKey, (VipPort, &SocketId)> =
        desired.ports.iter().map(|(port, id)| (key_of(port), (*port, id))).collect();
    let mut plan = Plan::default();
    let slots = give_slots(observed, &wanted, sockets);
    for (id, slot) in &slots {
        if sockets.get(*id) != observed.slots.get(slot) {
            plan.ops.push(Op::SetSocket { slot: *slot, id: (*id).clone() });
        }
    }
    put_ports(observed, &wanted, &slots, sockets, &mut plan);
    put_vips(observed, &desired.vips, &mut plan);
    remove(observed, &wanted, desired, &slots, &mut plan);
    plan
}

pub(super) const fn key_of(port: &VipPort) -> PortKey {
    PortKey::new(Addr::from_ip(port.address), port.port, port.proto)
}

/// A slot for each socket that is held: the one its ports already name, or else the lowest free one.
fn give_slots<'a>(
    observed: &Observed,
    wanted: &BTreeMap<PortKey, (VipPort, &'a SocketId)>,
    sockets: &BTreeMap<SocketId, u64>,
) -> BTreeMap<&'a SocketId, u32> {
    let mut slots = BTreeMap::new();
    for (slot, ids) in users_of_slots(observed, wanted) {
        if let Some(id) = heir(slot, &ids, observed, sockets) {
            slots.entry(id).or_insert(slot);
        }
    }
    // Slots of ports that go away are still looked up until the ports are gone.
    let taken: BTreeSet<u32> =
        observed.ports.values().map(|port| port.slot).chain(observed.slots.keys().copied()).collect();
    let mut free = (0..MAX_SOCKETS).filter(|slot| !taken.contains(slot));
    for (_, id) in wanted.values() {
        if sockets.contains_key(*id) && !slots.contains_key(id) {
            let Some(slot) = free.next() else { break };
            slots.insert(*id, slot);
        }
    }
    slots
}

/// The sockets that the ports of each slot want from now on.
fn users_of_slots<'a>(
    observed: &Observed,
    wanted: &BTreeMap<PortKey, (VipPort, &'a SocketId)>,
) -> BTreeMap<u32, BTreeSet<&'a SocketId>> {
    let mut users: BTreeMap<u32, BTreeSet<&SocketId>> = BTreeMap::new();
    for (key, (_, id)) in wanted {
        if let Some(port) = observed.ports.get(key).filter(|port| port.slot < MAX_SOCKETS) {
            users.entry(port.slot).or_default().insert(id);
        }
    }
    users
}

/// Who may keep a slot: the socket that is in it, or the only one that its ports want. When ports of one slot part ways and
/// its content is unknown, all move, so that none reaches another's socket in between.
fn heir<'a>(
    slot: u32,
    ids: &BTreeSet<&'a SocketId>,
    observed: &Observed,
    sockets: &BTreeMap<SocketId, u64>,
) -> Option<&'a SocketId> {
    let content = observed.slots.get(&slot);
    let there = ids.iter().find(|id| content.is_some() && sockets.get(**id) == content);
    let only = || {
        let foreign = content.is_some_and(|cookie| sockets.values().any(|held| held == cookie));
        ids.first().filter(|id| ids.len() == 1 && !foreign && sockets.contains_key(**id))
    };
    there.or_else(only).copied()
}

fn put_ports(
    observed: &Observed,
    wanted: &BTreeMap<PortKey, (VipPort, &SocketId)>,
    slots: &BTreeMap<&SocketId, u32>,
    sockets: &BTreeMap<SocketId, u64>,
    plan: &mut Plan,
) {
    let mut counters = give_counters(observed, wanted);
    let taken: BTreeSet<u32> = observed.ports.values().map(|port| port.counter).collect();
    let mut free = (0..MAX_PORTS).filter(|counter| !taken.contains(counter));
    for (key, (port, id)) in wanted {
        let Some(slot) = slots.get(id) else {
            let refusal = if sockets.contains_key(*id) { Refusal::NoSlot } else { Refusal::NoSocket };
            plan.refused.insert(*port, refusal);
            continue;
        };
        let counter = match counters.remove(key) {
            Some(counter) => counter,
            None => {
                let Some(counter) = free.next() else {
                    plan.refused.insert(*port, Refusal::NoCounter);
                    continue;
                };
                plan.ops.push(Op::ResetCounter { counter });
                counter
            }
        };
        let value = Port { slot: *slot, counter };
        if observed.ports.get(key) != Some(&value) {
            plan.ops.push(Op::PutPort { key: *key, port: value });
        }
    }
}

/// The counters that wanted ports have already, each claimed once.
fn give_counters(
    observed: &Observed,
    wanted: &BTreeMap<PortKey, (VipPort, &SocketId)>,
) -> BTreeMap<PortKey, u32> {
    let mut claimed = BTreeSet::new();
    wanted
        .keys()
        .filter_map(|key| {
            let counter = observed.ports.get(key)?.counter;
            (counter < MAX_PORTS && claimed.insert(counter)).then_some((*key, counter))
        })
        .collect()
}

fn put_vips(observed: &Observed, desired: &BTreeMap<IpAddr, desired::Vip>, plan: &mut Plan) {
    let numbers = number_gateways(observed, desired);
    for (ip, vip) in desired {
        let addr = Addr::from_ip(*ip);
        let value = Vip::new(numbers[&vip.gateway], vip.no_listener);
        if observed.vips.get(&addr) != Some(&value) {
            plan.ops.push(Op::PutVip { addr, vip: value });
        }
    }
}

/// A number for each Gateway: the one that its addresses carry already, or else the lowest free one.
fn number_gateways<'a>(
    observed: &Observed,
    desired: &'a BTreeMap<IpAddr, desired::Vip>,
) -> BTreeMap<&'a GatewayId, u32> {
    let mut numbers: BTreeMap<&GatewayId, u32> = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for (ip, vip) in desired {
        let Some(old) = observed.vips.get(&Addr::from_ip(*ip)) else { continue };
        if !numbers.contains_key(&vip.gateway) && taken.insert(old.gateway) {
            numbers.insert(&vip.gateway, old.gateway);
        }
    }
    let mut free = (1..=u32::MAX).filter(|number| !taken.contains(number));
    for vip in desired.values() {
        numbers.entry(&vip.gateway).or_insert_with(|| free.next().unwrap_or(0));
    }
    numbers
}

fn remove(
    observed: &Observed,
    wanted: &BTreeMap<PortKey, (VipPort, &SocketId)>,
    desired: &desired::Datapath,
    slots: &BTreeMap<&SocketId, u32>,
    plan: &mut Plan,
) {
    let addrs: BTreeSet<Addr> = desired.vips.keys().copied().map(Addr::from_ip).collect();
    let gone = observed.vips.keys().filter(|addr| !addrs.contains(addr));
    plan.ops.extend(gone.map(|addr| Op::RemoveVip { addr: *addr }));
    let gone = observed.ports.keys().filter(|key| !wanted.contains_key(key));
    plan.ops.extend(gone.map(|key| Op::RemovePort { key: *key }));

    let mut used: BTreeSet<u32> = slots.values().copied().collect();
    let waiting = wanted.iter().filter(|(_, (port, _))| plan.refused.contains_key(port));
    used.extend(waiting.filter_map(|(key, _)| observed.ports.get(key)).map(|port| port.slot));
    let known: BTreeSet<u32> =
        observed.ports.values().map(|port| port.slot).chain(observed.slots.keys().copied()).collect();
    let idle = known.into_iter().filter(|slot| *slot < MAX_SOCKETS && !used.contains(slot));
    plan.ops.extend(idle.map(|slot| Op::ClearSocket { slot }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_common::abi::{NoListener, Proto};
    use gateway_common::ir::Family;
    use proptest::prelude::*;

    /// The kernel, as far as the plan can see it, in vectors.
    #[derive(Clone, Default, Debug)]
    struct Kernel {
        observed: Observed,
        resets: Vec<u32>,
    }

    impl Kernel {
        fn apply(&mut self, op: &Op, sockets: &BTreeMap<SocketId, u64>) {
            let Observed { vips, ports, slots } = &mut self.observed;
            match op {
                Op::SetSocket { slot, id } => drop(slots.insert(*slot, sockets[id])),
                Op::ResetCounter { counter } => {
                    assert!(ports.values().all(|port| port.counter != *counter), "counter in use");
                    self.resets.push(*counter);
                }
                Op::PutPort { key, port } => drop(ports.insert(*key, *port)),
                Op::PutVip { addr, vip } => drop(vips.insert(*addr, *vip)),
                Op::RemoveVip { addr } => assert!(vips.remove(addr).is_some()),
                Op::RemovePort { key } => assert!(ports.remove(key).is_some()),
                Op::ClearSocket { slot } => drop(slots.remove(slot)),
            }
        }

        /// The socket that a connection to this port would reach.
        fn reaches(&self, key: &PortKey) -> Option<u64> {
            let port = self.observed.ports.get(key)?;
            self.observed.vips.get(&key.addr)?;
            self.observed.slots.get(&port.slot).copied()
        }
    }

    fn socket(gateway: u8, family: Family) -> SocketId {
        SocketId::Tcp { gateway: GatewayId::new(format!("ns/g{gateway}")), family }
    }

    fn desired_of(ports: &BTreeMap<(u8, u16), u8>, drop_mask: u8) -> desired::Datapath {
        let mut desired = desired::Datapath::default();
        for ((host, port), gateway) in ports {
            let address = if host % 2 == 0 {
                IpAddr::from([203, 0, 113, *host])
            } else {
                IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(*host)])
            };
            let family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
            let no_listener =
                if drop_mask & (1 << (host % 8)) != 0 { NoListener::Drop } else { NoListener::Reject };
            let id = GatewayId::new(format!("ns/g{gateway}"));
            desired.vips.insert(address, desired::Vip { gateway: id, no_listener });
            let port = VipPort { address, port: *port, proto: Proto::Tcp };
            desired.ports.insert(port, socket(*gateway, family));
        }
        desired
    }

    fn cookies(desired: &desired::Datapath, without: Option<u8>) -> BTreeMap<SocketId, u64> {
        let without = without.map(|gateway| GatewayId::new(format!("ns/g{gateway}")));
        let held = desired.sockets().into_iter().filter(|id| Some(id.gateway()) != without.as_ref());
        held.map(|id| (id.clone(), cookie(&id))).collect()
    }

    /// The same socket has the same cookie in every state.
    fn cookie(id: &SocketId) -> u64 {
        id.to_string().bytes().fold(7, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)))
    }

    fn check_serves(kernel: &Kernel, desired: &desired::Datapath, sockets: &BTreeMap<SocketId, u64>) {
        let mut counters = BTreeSet::new();
        for (port, id) in &desired.ports {
            let key = key_of(port);
            let Some(cookie) = sockets.get(id) else { continue };
            assert_eq!(kernel.reaches(&key), Some(*cookie), "{port:?}");
            assert!(counters.insert(kernel.observed.ports[&key].counter), "counter shared");
        }
        let vips: BTreeSet<Addr> = desired.vips.keys().copied().map(Addr::from_ip).collect();
        assert_eq!(kernel.observed.vips.keys().copied().collect::<BTreeSet<_>>(), vips);
        let mut number_of: BTreeMap<u32, &GatewayId> = BTreeMap::new();
        for (ip, vip) in &desired.vips {
            let value = kernel.observed.vips[&Addr::from_ip(*ip)];
            assert_eq!(value.drops_without_listener(), vip.no_listener == NoListener::Drop);
            assert_eq!(*number_of.entry(value.gateway).or_insert(&vip.gateway), &vip.gateway);
        }
    }

    /// Ports that both states want from the same socket never stop reaching it.
    fn go(
        kernel: &mut Kernel,
        from: &desired::Datapath,
        to: &desired::Datapath,
        sockets: &BTreeMap<SocketId, u64>,
    ) -> Plan {
        let plan = plan(&kernel.observed, to, sockets);
        let kept: Vec<(PortKey, u64)> = to
            .ports
            .iter()
            .filter(|(port, id)| from.ports.get(port) == Some(*id))
            .filter_map(|(port, _)| Some((key_of(port), kernel.reaches(&key_of(port))?)))
            .collect();
        for op in &plan.ops {
            kernel.apply(op, sockets);
            for (key, cookie) in &kept {
                assert_eq!(kernel.reaches(key), Some(*cookie), "{op:?} cut {key:?}");
            }
        }
        plan
    }

    fn ports() -> impl Strategy<Value = BTreeMap<(u8, u16), u8>> {
        // A VIP belongs to one Gateway: the host number decides, shifted so that some addresses change hands.
        (proptest::collection::btree_set((0u8..12, 1u16..5), 0..30), 0u8..3).prop_map(|(keys, shift)| {
            keys.into_iter().map(|(host, port)| ((host, port), (host / 3 + shift) % 5)).collect()
        })
    }

    proptest! {
        #[test]
        fn applied_plans_converge_and_disturb_nothing(
            first in ports(), second in ports(), masks in any::<(u8, u8)>(), restart: bool, lost in proptest::option::of(0u8..5),
        ) {
            let (first, second) = (desired_of(&first, masks.0), desired_of(&second, masks.1));
            let mut kernel = Kernel::default();
            go(&mut kernel, &desired::Datapath::default(), &first, &cookies(&first, None));
            check_serves(&kernel, &first, &cookies(&first, None));

            let truth = kernel.observed.slots.clone();
            let sockets = cookies(&second, lost);
            if restart {
                // The new process does not know what is in the slots; the kernel does.
                let mut blind = kernel.observed.clone();
                blind.slots.clear();
                let plan = plan(&blind, &second, &sockets);
                for op in &plan.ops {
                    kernel.apply(op, &sockets);
                }
            } else {
                go(&mut kernel, &first, &second, &sockets);
            }
            check_serves(&kernel, &second, &sockets);
            let again = plan(&kernel.observed, &second, &sockets);
            prop_assert_eq!(again.ops, vec![]);
            // A socket that is not held yet keeps its port and its slot.
            for (port, id) in second.ports.iter().filter(|(_, id)| !sockets.contains_key(*id)) {
                prop_assert_eq!(again.refused.get(port), Some(&Refusal::NoSocket));
                if first.ports.get(port) == Some(id) {
                    let slot = kernel.observed.ports[&key_of(port)].slot;
                    prop_assert_eq!(kernel.observed.slots.get(&slot), truth.get(&slot));
                }
            }
        }
    }

    #[test]
    fn a_restart_keeps_slots_and_counters() {
        let desired = desired_of(&BTreeMap::from([((2, 80), 1), ((4, 80), 2), ((4, 443), 2)]), 0);
        let sockets = cookies(&desired, None);
        let mut kernel = Kernel::default();
        go(&mut kernel, &desired::Datapath::default(), &desired, &sockets);
        let mut blind = kernel.observed.clone();
        blind.slots.clear();
        let plan = plan(&blind, &desired, &sockets);
        assert!(plan.ops.iter().all(|op| matches!(op, Op::SetSocket { .. })), "{:?}", plan.ops);
        assert_eq!(plan.ops.len(), 2);
    }

    #[test]
    fn adds_by_socket_port_address_and_removes_in_reverse() {
        let desired = desired_of(&BTreeMap::from([((2, 80), 1)]), 0);
        let sockets = cookies(&desired, None);
        let mut kernel = Kernel::default();
        let add = go(&mut kernel, &desired::Datapath::default(), &desired, &sockets);
        assert!(matches!(
            add.ops.as_slice(),
            [Op::SetSocket { .. }, Op::ResetCounter { .. }, Op::PutPort { .. }, Op::PutVip { .. }]
        ));
        let remove = go(&mut kernel, &desired, &desired::Datapath::default(), &sockets);
        assert!(matches!(
            remove.ops.as_slice(),
            [Op::RemoveVip { .. }, Op::RemovePort { .. }, Op::ClearSocket { .. }]
        ));
    }

    #[test]
    fn a_broken_slot_number_is_replaced() {
        let desired = desired_of(&BTreeMap::from([((2, 80), 1)]), 0);
        let sockets = cookies(&desired, None);
        let key = key_of(desired.ports.keys().next().unwrap());
        let mut kernel = Kernel::default();
        kernel.observed.ports.insert(key, Port { slot: u32::MAX, counter: u32::MAX });
        go(&mut kernel, &desired::Datapath::default(), &desired, &sockets);
        check_serves(&kernel, &desired, &sockets);
    }
}
