//! Which Gateway has which addresses: what was given stays, then the older Gateway comes first.

mod pool;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use gateway_common::abi::Proto;
use ipnet::IpNet;

use super::Params;
use super::condition::{Problem, Reason};
use super::gateway::Plan;
use super::listener::{Listener, Protocol};
use crate::api::gateways::Gateway;
use crate::object::NsName;

/// What a Gateway asks for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Request {
    want: Want,
    /// Two Gateways that name the same address share it when these differ.
    ports: BTreeSet<(Proto, u16)>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
enum Want {
    /// No `spec.addresses`: one address of each family that has a pool.
    #[default]
    Default,
    Listed {
        fixed: Vec<IpAddr>,
        /// Entries without a value: any address.
        any: usize,
        /// Entries that are no IP address.
        malformed: Vec<String>,
    },
}

impl Request {
    /// An address type that we do not have refuses the whole Gateway.
    pub(super) fn read(gateway: &Gateway, listeners: &[Listener]) -> Result<Self, Problem> {
        let ports = listeners
            .iter()
            .filter(|l| l.refused.is_none() && l.conflict.is_none())
            .filter_map(|l| l.protocol.map(|protocol| (Protocol::proto(protocol), l.port)))
            .collect();
        let Some(entries) = gateway.spec.addresses.as_ref().filter(|entries| !entries.is_empty()) else {
            return Ok(Self { want: Want::Default, ports });
        };
        let (mut fixed, mut any, mut malformed) = (Vec::new(), 0, Vec::new());
        for (index, entry) in entries.iter().enumerate() {
            let kind = entry.r#type.as_deref().unwrap_or("IPAddress");
            if kind != "IPAddress" {
                return Err(Problem::new(
                    Reason::UnsupportedAddress,
                    format!("spec.addresses[{index}].type {kind:?} is not supported; use IPAddress"),
                ));
            }
            match entry.value.as_deref().unwrap_or_default() {
                "" => any += 1,
                text => match text.parse::<IpAddr>() {
                    Ok(address) if fixed.contains(&address) => {}
                    Ok(address) => fixed.push(address),
                    Err(_) => {
                        malformed.push(format!("spec.addresses[{index}].value {text:?} is no IP address"))
                    }
                },
            }
        }
        Ok(Self { want: Want::Listed { fixed, any, malformed }, ports })
    }
}

/// What a Gateway has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Assigned {
    /// In the order of the spec; otherwise IPv4 first.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) problem: Option<Problem>,
    /// What it does without.
    pub(super) note: Option<String>,
}

/// Gives every Gateway what it can have. The same answer comes out when it is asked again with what it said.
pub(super) fn assign<'a>(
    plans: impl Iterator<Item = &'a Plan>,
    params: &Params,
) -> BTreeMap<NsName, Assigned> {
    let Params { pools, devices, held, .. } = params;
    let mut claims: Vec<_> = plans.map(|plan| Claim::new(plan, pools)).collect();
    claims.sort_by(|a, b| (a.plan.created, &a.plan.name).cmp(&(b.plan.created, &b.plan.name)));
    let known: BTreeSet<_> = claims.iter().map(|claim| &claim.plan.id).collect();
    let absent = held.iter().filter(|(id, _)| !known.contains(id));
    let reserved: BTreeSet<IpAddr> = absent.flat_map(|(_, addresses)| addresses).copied().collect();
    let mut book = Book::default();
    for claim in &mut claims {
        claim.keep(held.get(&claim.plan.id).map_or(&[][..], Vec::as_slice), &mut book);
    }
    // What is not served gets nothing new.
    for claim in claims.iter_mut().filter(|claim| claim.plan.refused.is_none()) {
        claim.take_fixed(pools, &mut book);
    }
    for claim in claims.iter_mut().filter(|claim| claim.plan.refused.is_none()) {
        claim.take_any(pools, &reserved, &mut book);
    }
    claims.into_iter().map(|claim| (claim.plan.name.clone(), claim.assigned(devices))).collect()
}

/// Who has an address; several when they named it themselves and their ports differ.
type Book<'a> = BTreeMap<IpAddr, Vec<Holder<'a>>>;

#[derive(Debug)]
struct Holder<'a> {
    plan: &'a Plan,
    named: bool,
}

struct Claim<'a> {
    plan: &'a Plan,
    fixed: Vec<IpAddr>,
    /// How many more, whichever they are.
    any: usize,
    /// Whether [`Want::Default`] still lacks one of the family.
    v4: bool,
    v6: bool,
    got: Vec<IpAddr>,
    /// How many of these it had before.
    kept: usize,
    unusable: Vec<String>,
    missing: Vec<String>,
    /// The family of which none is left, where it has one of the other.
    lacking: Option<&'static str>,
}

impl<'a> Claim<'a> {
    fn new(plan: &'a Plan, pools: &[IpNet]) -> Self {
        let (fixed, any, unusable) = match &plan.request.want {
            Want::Default => (Vec::new(), 0, Vec::new()),
            Want::Listed { fixed, any, malformed } => (fixed.clone(), *any, malformed.clone()),
        };
        let default = plan.request.want == Want::Default;
        let has = |v4: bool| default && pools.iter().any(|pool| pool.addr().is_ipv4() == v4);
        let (v4, v6) = (has(true), has(false));
        let (got, missing) = (Vec::new(), Vec::new());
        Self { plan, fixed, any, v4, v6, got, kept: 0, unusable, missing, lacking: None }
    }

    /// Addresses of before that the spec still wants, whatever the pools say now.
    fn keep(&mut self, held: &[IpAddr], book: &mut Book<'a>) {
        let default = self.plan.request.want == Want::Default;
        for address in held.iter().copied() {
            let named = self.fixed.contains(&address);
            let unnamed_wanted = if default {
                !self.got.iter().any(|got| got.is_ipv4() == address.is_ipv4())
            } else {
                self.any > 0
            };
            if self.got.contains(&address) || !(named || unnamed_wanted) {
                continue;
            }
            if self.enter(address, named, book).is_ok() && !named {
                self.any = self.any.saturating_sub(1);
            }
        }
        self.kept = self.got.len();
        self.v4 &= !self.got.iter().any(IpAddr::is_ipv4);
        self.v6 &= !self.got.iter().any(IpAddr::is_ipv6);
    }

    fn take_fixed(&mut self, pools: &[IpNet], book: &mut Book<'a>) {
        for address in self.fixed.clone() {
            if self.got.contains(&address) {
                continue;
            }
            let result = pool::usable(address, pools).and_then(|()| self.enter(address, true, book));
            if let Err(reason) = result {
                self.unusable.push(reason);
            }
        }
    }

    fn take_any(&mut self, pools: &[IpNet], reserved: &BTreeSet<IpAddr>, book: &mut Book<'a>) {
        if self.plan.request.want == Want::Default {
            for v4 in [true, false] {
                let (lacks, family) = if v4 { (self.v4, "IPv4") } else { (self.v6, "IPv6") };
                if lacks && !self.take_free(v4, pools, reserved, book) {
                    self.lacking = Some(family);
                }
            }
            if self.got.is_empty() {
                self.lacking = None;
                self.missing.push(pool::none_left(pools));
            }
            return;
        }
        for _ in 0..self.any {
            // The family of which it has less.
            let v4 = self.got.iter().filter(|address| address.is_ipv4()).count();
            let v4_first = v4 <= self.got.len() - v4;
            if !(self.take_free(v4_first, pools, reserved, book)
                || self.take_free(!v4_first, pools, reserved, book))
            {
                self.missing.push(pool::none_left(pools));
            }
        }
    }

    fn take_free(
        &mut self,
        v4: bool,
        pools: &[IpNet],
        reserved: &BTreeSet<IpAddr>,
        book: &mut Book<'a>,
    ) -> bool {
        let free =
            pool::free(pools, v4, |address| book.contains_key(&address) || reserved.contains(&address));
        free.is_some_and(|address| self.enter(address, false, book).is_ok())
    }

    fn enter(&mut self, address: IpAddr, named: bool, book: &mut Book<'a>) -> Result<(), String> {
        let holders = book.entry(address).or_default();
        for holder in holders.iter() {
            let other = &holder.plan.name;
            if !(named && holder.named) {
                return Err(format!("{address} belongs to Gateway {other}; choose another address"));
            }
            if let Some((_, port)) = self.plan.request.ports.intersection(&holder.plan.request.ports).next() {
                return Err(format!(
                    "{address} belongs to Gateway {other}, which also has a listener on port {port}; choose another address or port"
                ));
            }
        }
        holders.push(Holder { plan: self.plan, named });
        self.got.push(address);
        Ok(())
    }

    /// A device's address is given out and then refused, not passed over: the nodes, which have the same objects and
    /// pools, must give each Gateway the same addresses. One that is served already goes on.
    fn refuse_device_addresses(&mut self, devices: &BTreeMap<IpAddr, String>) {
        for address in self.got.split_off(self.kept) {
            match devices.get(&address) {
                None => self.got.push(address),
                Some(device) => self.unusable.push(format!(
                    "{address} is an address of {device} on this node: its other ports would stop answering; use one that no device has, or take it out of the pool"
                )),
            }
        }
    }

    fn assigned(mut self, devices: &BTreeMap<IpAddr, String>) -> Assigned {
        self.refuse_device_addresses(devices);
        let rank = |address: &IpAddr| self.fixed.iter().position(|f| f == address).unwrap_or(usize::MAX);
        self.got.sort_by_key(|address| (rank(address), *address));
        let problem =
            |reason, messages: Vec<String>| messages.into_iter().map(move |m| Problem::new(reason, m));
        let problems = problem(Reason::AddressNotUsable, self.unusable)
            .chain(problem(Reason::AddressNotAssigned, self.missing));
        let note =
            self.lacking.map(|family| format!("no {family} address is left in the pools, so it has none"));
        Assigned { addresses: self.got, problem: Problem::join(problems), note }
    }
}
