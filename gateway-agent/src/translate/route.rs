//! Routes of every kind: where they attach, what the proxy gets, and what to say about it.

use std::collections::BTreeSet;

use gateway_common::ir::{self, Attachment, Hostname, RouteId, RouteRules};
use kube::Resource;

use super::attach::{self, Subject};
use super::backend::BackendKey;
use super::backend_ref::Target;
use super::condition::{Condition, Problem, Reason, Type};
use super::gateway::Plan;
use super::lookup::Lookup;
use super::parent::ParentRef;
use super::rules::Rules;
use super::verdict::{ParentVerdict, RouteVerdict};
use super::{hostname, http, layer4, time};
use crate::api::httproutes::HttpRoute;
use crate::api::tcproutes::TcpRoute;
use crate::api::tlsroutes::TlsRoute;
use crate::api::udproutes::UdpRoute;
use crate::object::{Kind, NsName, ObjectKey};

/// What the kinds of routes have in common.
pub(super) trait Route: Resource {
    const KIND: Kind;
    fn parents(&self) -> Vec<ParentRef>;
    fn hostnames(&self) -> &[String];
    /// Rules of the spec, the default one included.
    fn rule_count(&self) -> usize;
    fn rules(&self, rules: &mut Rules<'_, '_>) -> RouteRules;
}

impl Route for HttpRoute {
    const KIND: Kind = Kind::HttpRoute;

    fn parents(&self) -> Vec<ParentRef> {
        self.spec.parent_refs.iter().flatten().map(ParentRef::from).collect()
    }

    fn hostnames(&self) -> &[String] {
        self.spec.hostnames.as_deref().unwrap_or_default()
    }

    fn rule_count(&self) -> usize {
        self.spec.rules.as_ref().map_or(1, |rules| rules.len().max(1))
    }

    fn rules(&self, rules: &mut Rules<'_, '_>) -> RouteRules {
        http::rules(rules, self)
    }
}

macro_rules! layer4 {
    ($route:ident, $variant:ident, |$spec:ident| $hostnames:expr) => {
        impl Route for $route {
            const KIND: Kind = Kind::$route;

            fn parents(&self) -> Vec<ParentRef> {
                self.spec.parent_refs.iter().flatten().map(ParentRef::from).collect()
            }

            fn hostnames(&self) -> &[String] {
                let $spec = &self.spec;
                $hostnames
            }

            fn rule_count(&self) -> usize {
                1
            }

            fn rules(&self, rules: &mut Rules<'_, '_>) -> RouteRules {
                let refs = self.spec.rules.iter().map(|rule| {
                    rule.backend_refs
                        .iter()
                        .map(|reference| (Target::from(reference), reference.weight))
                        .collect()
                });
                RouteRules::$variant(layer4::rule(rules, refs.collect()))
            }
        }
    };
}

layer4!(TlsRoute, Tls, |spec| &spec.hostnames);
layer4!(TcpRoute, Tcp, |_spec| &[]);
layer4!(UdpRoute, Udp, |_spec| &[]);

/// One route, translated.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Translated {
    /// None: no listener serves it.
    pub(super) route: Option<ir::Route>,
    /// Gateway and listener that count it as attached.
    pub(super) attached: BTreeSet<(NsName, String)>,
    pub(super) backends: BTreeSet<BackendKey>,
    pub(super) verdict: RouteVerdict,
}

pub(super) fn id(kind: Kind, name: &NsName) -> RouteId {
    RouteId::new(format!("{kind}/{name}"))
}

/// The object that [`id`] named.
pub(super) fn key(id: &RouteId) -> Option<ObjectKey> {
    let (kind, name) = id.as_str().split_once('/')?;
    let (namespace, name) = name.split_once('/')?;
    let kind = Kind::ALL.into_iter().find(|known| known.name() == kind)?;
    Some(ObjectKey { kind, name: NsName::new(namespace, name) })
}

pub(super) fn translate<R: Route>(lookup: &mut Lookup<'_>, name: &NsName, object: &R) -> Translated {
    let mut invalid_name = None;
    let mut hostnames = Vec::new();
    for (index, text) in object.hostnames().iter().enumerate() {
        match hostname::parse(text) {
            Some(hostname) => hostnames.push(hostname),
            None => {
                let message = format!(
                    "spec.hostnames[{index}] {text:?} is no DNS name, with or without a leading \"*.\""
                );
                invalid_name.get_or_insert(Problem::new(Reason::UnsupportedValue, message));
            }
        }
    }
    let subject = Subject { kind: R::KIND, namespace: &name.namespace, hostnames: &hostnames };
    let parents = parents(lookup, object, &subject);
    let parameters = parents.iter().filter(|p| p.result.is_ok()).map(|p| &p.plan.parameters).collect();
    let mut rules = Rules::new(lookup, R::KIND, &name.namespace, parameters);
    // A route without a Gateway of ours costs nothing more.
    let body = (!parents.is_empty()).then(|| object.rules(&mut rules));
    let Rules { backends, unresolved, invalid, unfiltered, notes, .. } = rules;
    // Where a filter may guard a rule, its requests get 500 and do not fall to a wider route.
    let guards = unfiltered && invalid_name.is_none();
    let outcome = Outcome::new(invalid_name, invalid, object.rule_count(), Problem::join(unresolved), &notes);
    finish(name, object, body, &parents, backends, &Outcome { guards, ..outcome })
}

/// A parentRef that is a Gateway of ours.
struct Parent<'a> {
    reference: ParentRef,
    plan: &'a Plan,
    result: Result<Vec<attach::Place>, Problem>,
}

fn parents<'a, R: Route>(lookup: &mut Lookup<'a>, object: &R, subject: &Subject<'_>) -> Vec<Parent<'a>> {
    let mut parents = Vec::new();
    for reference in object.parents() {
        let Some(gateway) = reference.gateway(subject.namespace) else { continue };
        let Some(plan) = lookup.plan(gateway) else { continue };
        let result = attach::attach(lookup, plan, &reference, subject);
        parents.push(Parent { reference, plan, result });
    }
    parents
}

/// What holds for the route at every parent.
struct Outcome {
    refused: Option<Problem>,
    /// Although it is refused, its rules answer.
    guards: bool,
    partial: Option<Problem>,
    unresolved: Option<Problem>,
    accepted: String,
}

impl Outcome {
    fn new(
        name: Option<Problem>,
        invalid: Vec<(usize, Problem)>,
        rule_count: usize,
        unresolved: Option<Problem>,
        notes: &[String],
    ) -> Self {
        let dropped: BTreeSet<usize> = invalid.iter().map(|(index, _)| *index).collect();
        let numbers: Vec<_> = dropped.iter().map(ToString::to_string).collect();
        let problem = Problem::join(invalid.into_iter().map(|(_, problem)| problem));
        let (refused, partial) = match (name, problem) {
            (Some(name), _) => (Some(name), None),
            (None, Some(problem)) if dropped.len() >= rule_count => (Some(problem), None),
            (None, problem) => (None, problem),
        };
        let partial = partial
            .map(|p| Problem::new(p.reason, format!("Dropped Rule {}: {}", numbers.join(", "), p.message)));
        let mut accepted = "the route is accepted".to_owned();
        for note in notes {
            accepted.push_str("; ");
            accepted.push_str(note);
        }
        Self { refused, guards: false, partial, unresolved, accepted }
    }

    fn conditions(&self, result: &Result<Vec<attach::Place>, Problem>) -> Vec<Condition> {
        let problem = result.as_ref().err().or(self.refused.as_ref());
        let mut conditions = vec![
            Condition::unless(Type::Accepted, problem, Reason::Accepted, &*self.accepted),
            Condition::unless(
                Type::ResolvedRefs,
                self.unresolved.as_ref(),
                Reason::ResolvedRefs,
                "all references are resolved",
            ),
        ];
        if let (None, Some(partial)) = (problem, &self.partial) {
            conditions.push(Condition::truth(Type::PartiallyInvalid, partial.reason, &*partial.message));
        }
        conditions
    }
}

fn finish<R: Route>(
    name: &NsName,
    object: &R,
    body: Option<RouteRules>,
    parents: &[Parent<'_>],
    backends: BTreeSet<BackendKey>,
    outcome: &Outcome,
) -> Translated {
    let mut attached = BTreeSet::new();
    let mut attachments: Vec<Attachment> = Vec::new();
    if outcome.refused.is_none() || outcome.guards {
        for (plan, place) in
            parents.iter().flat_map(|p| p.result.iter().flatten().map(|place| (p.plan, place)))
        {
            if outcome.refused.is_none() {
                attached.insert((plan.name.clone(), place.listener.clone()));
            }
            if place.serves {
                attachments.push(attachment(plan, place));
            }
        }
    }
    attachments.sort_by(|a, b| (&a.gateway, a.port, &a.listener).cmp(&(&b.gateway, b.port, &b.listener)));
    attachments.dedup_by(|a, b| (&a.gateway, &a.listener) == (&b.gateway, &b.listener));
    let verdict = RouteVerdict {
        generation: object.meta().generation.unwrap_or_default(),
        parents: parents
            .iter()
            .map(|p| ParentVerdict { parent: p.reference.clone(), conditions: outcome.conditions(&p.result) })
            .collect(),
    };
    let route = body.filter(|_| !attachments.is_empty()).map(|rules| ir::Route {
        id: id(R::KIND, name),
        created: time::created(object.meta()),
        attachments,
        rules,
    });
    let backends = if route.is_some() { backends } else { BTreeSet::new() };
    Translated { route, attached, backends, verdict }
}

fn attachment(plan: &Plan, place: &attach::Place) -> Attachment {
    let hostnames: Vec<Hostname> = place.hostnames.clone();
    Attachment { gateway: plan.id.clone(), port: place.port, listener: place.listener.clone(), hostnames }
}
