//! Tells the outside what is so: status of objects, the admin socket's view, and what `gatectl get` reads when we are dead.
//! A change costs what it touches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use gateway_common::admin::{ObjectStatus, ProxyPeer};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;
use tokio::sync::watch;

use crate::admin::View;
use crate::desired::Outcomes;
use crate::object::ObjectKey;
use crate::objects_file::ObjectsFile;
use crate::source::{Origins, SourceError};
use crate::status_dir::StatusDir;
use crate::translate::{Due, Verdicts, status_of};
use crate::world::World;

/// Where to tell it.
pub struct Publisher {
    pub origins: Origins,
    pub objects_file: ObjectsFile,
    pub status_dir: Option<StatusDir>,
    /// Its status is the agent's from the start, but for what [`Facts`] say.
    pub view: watch::Sender<View>,
    pub started: Instant,
    pub news: News,
}

/// What was not told yet.
#[derive(Default)]
pub struct News {
    due: Due,
    objects: BTreeSet<ObjectKey>,
    statuses: BTreeMap<ObjectKey, Value>,
}

/// What is so after a reconcile.
pub struct Facts<'a> {
    pub verdicts: &'a Verdicts,
    pub outcomes: &'a Outcomes,
    pub generation: u64,
    pub proxies: Vec<ProxyPeer>,
    pub source_errors: &'a [SourceError],
    pub errors: Vec<String>,
}

/// How much was done to tell it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Work {
    /// Statuses that were computed.
    pub statuses: usize,
    /// Objects that were put into the view anew.
    pub shown: usize,
    /// Lines of the objects file.
    pub lines: usize,
}

impl Publisher {
    /// These objects, their places or their verdicts are others now.
    pub fn note(&mut self, keys: impl IntoIterator<Item = ObjectKey>) {
        let News { due, objects, .. } = &mut self.news;
        let keys: BTreeSet<_> = keys.into_iter().collect();
        due.note(keys.iter().cloned());
        objects.extend(keys);
    }

    pub fn publish(&mut self, world: &mut World, facts: Facts<'_>) -> Work {
        let mut work = Work::default();
        let now = Time(k8s_openapi::jiff::Timestamp::now());
        for key in self.news.due.take(facts.verdicts, facts.outcomes) {
            work.statuses += 1;
            if let Some(status) = status_of(world, facts.verdicts, facts.outcomes, &key, &now) {
                world.set_status(&key, &status);
                self.news.statuses.insert(key.clone(), status);
                self.news.objects.insert(key);
            } else if !facts.verdicts.judge(&key) && self.news.statuses.remove(&key).is_some() {
                // Not ours any more: what we said of it is no longer so.
                world.set_status(&key, &Value::Null);
                self.news.objects.insert(key);
            }
        }
        let changed = self.show(world, &mut work);
        let mut errors = facts.errors;
        errors.extend(self.write(&changed, &mut work));
        let uptime = self.started.elapsed();
        self.view.send_modify(|View { status, .. }| {
            status.uptime_seconds = uptime.as_secs();
            status.generation = facts.generation;
            status.proxies = facts.proxies;
            status.source_errors = facts.source_errors.iter().map(ToString::to_string).collect();
            status.errors = errors;
        });
        work
    }

    /// Brings the view up to date; the objects that it shows differently now.
    fn show(&mut self, world: &World, work: &mut Work) -> BTreeSet<ObjectKey> {
        let mut changed = std::mem::take(&mut self.news.objects);
        work.shown = changed.len();
        let statuses = &mut self.news.statuses;
        let origins = &self.origins;
        self.view.send_if_modified(|view| {
            changed.retain(|key| {
                let Some(generation) = world.generation(key) else {
                    statuses.remove(key);
                    return view.objects.remove(key).is_some();
                };
                let object = object(key, generation, statuses.get(key), origins);
                if view.objects.get(key).is_some_and(|old| **old == object) {
                    return false;
                }
                view.objects.insert(key.clone(), Arc::new(object));
                true
            });
            !changed.is_empty()
        });
        changed
    }

    fn write(&mut self, changed: &BTreeSet<ObjectKey>, work: &mut Work) -> Option<String> {
        let view = self.view.borrow();
        let listed = self.objects_file.write(changed, &view.objects).map(|lines| work.lines = lines);
        let shown = self.status_dir.as_mut().map_or(Ok(()), |dir| dir.write(changed, &view.objects));
        let problem = listed.and(shown).err().map(|error| format!("status not written: {error:#}"));
        if let Some(problem) = &problem {
            tracing::error!(problem, "publish");
        }
        problem
    }
}

fn object(key: &ObjectKey, generation: i64, status: Option<&Value>, origins: &Origins) -> ObjectStatus {
    let ObjectKey { kind, name } = key;
    ObjectStatus {
        api_version: kind.api_version().to_owned(),
        kind: kind.name().to_owned(),
        namespace: Some(name.namespace.clone()).filter(|namespace| !namespace.is_empty()),
        name: name.name.clone(),
        generation,
        origin: origins.of(key).map(|origin| origin.to_string()),
        status: status.cloned().unwrap_or(Value::Null),
    }
}
