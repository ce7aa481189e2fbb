//! Tells the outside what is so: status of objects, the admin socket's view, and what `gatectl get` reads when we are dead.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use gateway_common::admin::{AgentStatus, ObjectStatus, ProxyPeer};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;
use tokio::sync::watch;

use super::held::replace;
use crate::admin::View;
use crate::desired::Outcomes;
use crate::object::ObjectKey;
use crate::source::{Origins, SourceError};
use crate::status_dir::StatusDir;
use crate::translate::{self, Verdicts};
use crate::world::World;

pub struct Publisher {
    pub node: String,
    pub source: String,
    pub origins: Origins,
    pub objects_file: PathBuf,
    pub status_dir: Option<StatusDir>,
    pub view: watch::Sender<View>,
    pub started: Instant,
    pub objects: Arc<Vec<ObjectStatus>>,
    pub statuses: BTreeMap<ObjectKey, Value>,
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

impl Publisher {
    pub fn publish(&mut self, world: &mut World, facts: Facts<'_>) {
        let now = Time(k8s_openapi::jiff::Timestamp::now());
        for (key, status) in translate::status(world, facts.verdicts, facts.outcomes, &now) {
            world.set_status(&key, &status);
            self.statuses.insert(key, status);
        }
        let mut errors = facts.errors;
        let objects = self.list(world);
        if *self.objects != objects {
            self.objects = Arc::new(objects);
            errors.extend(self.write());
        }
        let status = AgentStatus {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: self.started.elapsed().as_secs(),
            node: self.node.clone(),
            source: self.source.clone(),
            generation: facts.generation,
            proxies: facts.proxies,
            source_errors: facts.source_errors.iter().map(ToString::to_string).collect(),
            errors,
        };
        self.view.send_replace(View { status, objects: self.objects.clone() });
    }

    fn list(&mut self, world: &World) -> Vec<ObjectStatus> {
        let there: BTreeSet<ObjectKey> = world.objects().map(|(key, _)| key).collect();
        self.statuses.retain(|key, _| there.contains(key));
        let one = |(key, generation): (ObjectKey, i64)| {
            let status = self.statuses.get(&key).cloned().unwrap_or(Value::Null);
            let origin = self.origins.of(&key).map(|origin| origin.to_string());
            let ObjectKey { kind, name } = key;
            ObjectStatus {
                api_version: kind.api_version().to_owned(),
                kind: kind.name().to_owned(),
                namespace: Some(name.namespace).filter(|namespace| !namespace.is_empty()),
                name: name.name,
                generation,
                origin,
                status,
            }
        };
        world.objects().map(one).collect()
    }

    fn write(&mut self) -> Option<String> {
        let written = serde_json::to_vec(&*self.objects)
            .map_err(anyhow::Error::from)
            .and_then(|json| replace(&self.objects_file, &json));
        let shown = self.status_dir.as_mut().map_or(Ok(()), |dir| dir.write(&self.objects));
        let problem = written.and(shown).err().map(|error| format!("status not written: {error:#}"));
        if let Some(problem) = &problem {
            tracing::error!(problem, "publish");
        }
        problem
    }
}
