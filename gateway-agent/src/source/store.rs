//! What all files together say. Pure: files in, events out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::defaults;
use super::parse::{Found, Parsed};
use super::{Origin, SourceError};
use crate::object::{Kind, NsName, Object, ObjectKey};
use crate::world::Event;

#[derive(Default)]
pub(super) struct Store {
    files: BTreeMap<PathBuf, File>,
    /// The files that hold an object; the first one's is used.
    holders: BTreeMap<ObjectKey, BTreeSet<PathBuf>>,
    /// What was told last.
    told: BTreeMap<ObjectKey, Told>,
    /// Objects by namespace, for namespaces that no file declares.
    population: BTreeMap<String, usize>,
    touched: BTreeSet<ObjectKey>,
    /// Objects in more than one file.
    contested: BTreeSet<ObjectKey>,
}

#[derive(Default)]
struct File {
    objects: BTreeMap<ObjectKey, Found>,
    errors: Vec<SourceError>,
}

struct Told {
    object: Object,
    origin: Option<Origin>,
}

/// What to tell.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) events: Vec<Event>,
    pub(super) origins: Vec<(ObjectKey, Option<Origin>)>,
}

impl Store {
    /// Takes in what a file says now. What it said before stays for objects that it still has but that are broken.
    pub(super) fn replace(&mut self, path: &Path, parsed: Parsed) {
        let mut old = self.files.remove(path).unwrap_or_default().objects;
        let mut objects: BTreeMap<ObjectKey, Found> = BTreeMap::new();
        for found in parsed.objects {
            old.remove(&found.key);
            objects.insert(found.key.clone(), found);
        }
        let (kept, gone): (BTreeMap<_, _>, BTreeMap<_, _>) =
            old.into_iter().partition(|(key, _)| parsed.partial || parsed.broken.contains(key));
        objects.extend(kept);
        for key in gone.into_keys() {
            self.release(&key, path);
        }
        for key in objects.keys() {
            let holders = self.holders.entry(key.clone()).or_default();
            holders.insert(path.to_owned());
            if holders.len() > 1 {
                self.contested.insert(key.clone());
            }
            self.touched.insert(key.clone());
        }
        self.files.insert(path.to_owned(), File { objects, errors: parsed.errors });
    }

    /// Keeps what a file said, because it cannot be read now.
    pub(super) fn keep(&mut self, path: &Path, error: SourceError) {
        self.files.entry(path.to_owned()).or_default().errors = vec![error];
    }

    pub(super) fn remove(&mut self, path: &Path) {
        for key in self.files.remove(path).unwrap_or_default().objects.into_keys() {
            self.release(&key, path);
        }
    }

    /// The events that bring the world from what was told last to what the files say now.
    pub(super) fn settle(&mut self) -> Changes {
        let mut changes = Changes::default();
        let touched = std::mem::take(&mut self.touched);
        for key in touched {
            let wanted = self.wanted(&key);
            let had = self.told.contains_key(&key);
            self.count(&key, had, wanted.is_some());
            self.tell(key, wanted, &mut changes);
        }
        // Counting may have touched namespaces.
        for key in std::mem::take(&mut self.touched) {
            let wanted = self.wanted(&key);
            self.tell(key, wanted, &mut changes);
        }
        changes.events.sort_by_key(event_key);
        changes
    }

    /// Everything that is wrong now.
    pub(super) fn errors(&self) -> Arc<[SourceError]> {
        let mut errors: Vec<_> = self.files.values().flat_map(|file| file.errors.iter().cloned()).collect();
        errors.extend(self.contested.iter().flat_map(|key| self.losers(key)));
        errors.sort();
        errors.into()
    }

    /// Says to every file but the first that it is not used.
    fn losers(&self, key: &ObjectKey) -> Vec<SourceError> {
        let mut paths = self.holders.get(key).into_iter().flatten();
        let Some(first) = paths.next() else { return Vec::new() };
        let error = |path: &PathBuf| SourceError {
            path: path.clone(),
            line: self.files.get(path).and_then(|file| file.objects.get(key)).map(|found| found.line),
            document: None,
            object: Some(key.to_string()),
            field: None,
            message: format!("is in {} too, which is used; remove one of the two", first.display()),
        };
        paths.map(error).collect()
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.files.keys()
    }

    pub(super) fn knows(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    /// What a file stands for, and whether all of that is in it now.
    pub(super) fn says(&self, path: &Path) -> Option<(impl Iterator<Item = &Found>, bool)> {
        self.files.get(path).map(|file| (file.objects.values(), file.errors.is_empty()))
    }

    /// Whether a file could not be read in full.
    pub(super) fn broken(&self) -> bool {
        self.files.values().any(|file| !file.errors.is_empty())
    }

    fn release(&mut self, key: &ObjectKey, path: &Path) {
        if let Some(paths) = self.holders.get_mut(key) {
            paths.remove(path);
            if paths.len() < 2 {
                self.contested.remove(key);
            }
            if paths.is_empty() {
                self.holders.remove(key);
            }
        }
        self.touched.insert(key.clone());
    }

    fn wanted(&self, key: &ObjectKey) -> Option<Told> {
        let first = self.holders.get(key).and_then(|paths| paths.first());
        if let Some(found) = first.and_then(|path| Some((path, self.files.get(path)?.objects.get(key)?))) {
            let (path, found) = found;
            let origin = Origin { path: Arc::from(path.as_path()), line: found.line };
            return Some(Told { object: found.object.clone(), origin: Some(origin) });
        }
        (key.kind == Kind::Namespace && self.population.contains_key(&key.name.name)).then(|| Told {
            object: Object::Namespace(Box::new(undeclared_namespace(&key.name.name))),
            origin: None,
        })
    }

    /// In a cluster an object cannot be without its namespace; here it can, and gets one.
    fn count(&mut self, key: &ObjectKey, had: bool, has: bool) {
        if !key.kind.namespaced() || had == has {
            return;
        }
        let namespace = &key.name.namespace;
        let population = self.population.entry(namespace.clone()).or_default();
        *population = if has { *population + 1 } else { population.saturating_sub(1) };
        let changed = if *population == 0 {
            self.population.remove(namespace);
            true
        } else {
            has && *population == 1
        };
        if changed {
            self.touched.insert(ObjectKey { kind: Kind::Namespace, name: NsName::new("", namespace) });
        }
    }

    fn tell(&mut self, key: ObjectKey, wanted: Option<Told>, changes: &mut Changes) {
        let Some(mut wanted) = wanted else {
            if self.told.remove(&key).is_some() {
                changes.origins.push((key.clone(), None));
                changes.events.push(Event::Delete(key));
            }
            return;
        };
        let old = self.told.get(&key);
        number(&mut wanted.object, old.map(|told| &told.object));
        if old.is_none_or(|old| old.origin != wanted.origin) {
            changes.origins.push((key.clone(), wanted.origin.clone()));
        }
        if old.is_none_or(|old| old.object != wanted.object) {
            changes.events.push(Event::Apply(wanted.object.clone()));
        }
        self.told.insert(key, wanted);
    }
}

fn undeclared_namespace(name: &str) -> Namespace {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    let mut namespace = Namespace { metadata, ..Namespace::default() };
    defaults::name_label(&mut namespace);
    namespace
}

fn event_key(event: &Event) -> ObjectKey {
    match event {
        Event::Apply(object) => crate::world::key_of(object),
        Event::Delete(key) => key.clone(),
    }
}

/// Counts the generation as the API server would, unless the file says one.
fn number(object: &mut Object, old: Option<&Object>) {
    let same_spec = old.is_some_and(|old| same_spec(old, object));
    let before = old.and_then(|old| metadata(old).generation);
    let generation = &mut metadata_mut(object).generation;
    if generation.is_none() {
        *generation = Some(match before {
            None => 1,
            Some(before) if same_spec => before,
            Some(before) => before + 1,
        });
    }
}

fn same_spec(old: &Object, new: &Object) -> bool {
    match (old, new) {
        (Object::GatewayClass(a), Object::GatewayClass(b)) => a.spec == b.spec,
        (Object::GatewayParameters(a), Object::GatewayParameters(b)) => a.spec == b.spec,
        (Object::Gateway(a), Object::Gateway(b)) => a.spec == b.spec,
        (Object::HttpRoute(a), Object::HttpRoute(b)) => a.spec == b.spec,
        (Object::TlsRoute(a), Object::TlsRoute(b)) => a.spec == b.spec,
        (Object::TcpRoute(a), Object::TcpRoute(b)) => a.spec == b.spec,
        (Object::UdpRoute(a), Object::UdpRoute(b)) => a.spec == b.spec,
        (Object::ReferenceGrant(a), Object::ReferenceGrant(b)) => a.spec == b.spec,
        (Object::Namespace(a), Object::Namespace(b)) => a.spec == b.spec,
        (Object::Service(a), Object::Service(b)) => a.spec == b.spec,
        (Object::EndpointSlice(a), Object::EndpointSlice(b)) => {
            a.endpoints == b.endpoints && a.ports == b.ports
        }
        (Object::Secret(a), Object::Secret(b)) => a.data == b.data,
        _ => false,
    }
}

fn metadata(object: &Object) -> &ObjectMeta {
    match object {
        Object::GatewayClass(o) => &o.metadata,
        Object::GatewayParameters(o) => &o.metadata,
        Object::Gateway(o) => &o.metadata,
        Object::HttpRoute(o) => &o.metadata,
        Object::TlsRoute(o) => &o.metadata,
        Object::TcpRoute(o) => &o.metadata,
        Object::UdpRoute(o) => &o.metadata,
        Object::ReferenceGrant(o) => &o.metadata,
        Object::Namespace(o) => &o.metadata,
        Object::Service(o) => &o.metadata,
        Object::EndpointSlice(o) => &o.metadata,
        Object::Secret(o) => &o.metadata,
    }
}

fn metadata_mut(object: &mut Object) -> &mut ObjectMeta {
    match object {
        Object::GatewayClass(o) => &mut o.metadata,
        Object::GatewayParameters(o) => &mut o.metadata,
        Object::Gateway(o) => &mut o.metadata,
        Object::HttpRoute(o) => &mut o.metadata,
        Object::TlsRoute(o) => &mut o.metadata,
        Object::TcpRoute(o) => &mut o.metadata,
        Object::UdpRoute(o) => &mut o.metadata,
        Object::ReferenceGrant(o) => &mut o.metadata,
        Object::Namespace(o) => &mut o.metadata,
        Object::Service(o) => &mut o.metadata,
        Object::EndpointSlice(o) => &mut o.metadata,
        Object::Secret(o) => &mut o.metadata,
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn gateway(name: &str, namespace: &str, port: u16) -> String {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
             spec: {{gatewayClassName: g, listeners: [{{name: a, port: {port}, protocol: HTTP}}]}}\n---\n"
        )
    }

    impl Store {
        fn file(&mut self, path: &str, text: &str) -> Vec<String> {
            self.replace(Path::new(path), parse(Path::new(path), text.as_bytes()));
            self.news()
        }

        fn news(&mut self) -> Vec<String> {
            let line = |event: &Event| match event {
                Event::Apply(Object::Gateway(gateway)) => {
                    let generation = gateway.metadata.generation.unwrap_or(0);
                    let port = gateway.spec.listeners[0].port;
                    format!("+{} port {port} generation {generation}", event_key(event).name)
                }
                Event::Apply(_) => format!("+{}", event_key(event)),
                Event::Delete(key) => format!("-{key}"),
            };
            self.settle().events.iter().map(line).collect()
        }

        fn complaints(&self) -> Vec<String> {
            self.errors().iter().map(ToString::to_string).collect()
        }
    }

    #[test]
    fn a_namespace_is_there_while_anything_is_in_it() {
        let mut store = Store::default();
        assert_eq!(
            store.file("a", &gateway("x", "shop", 1)),
            ["+shop/x port 1 generation 1", "+Namespace shop"]
        );
        assert_eq!(store.file("b", &gateway("y", "shop", 1)), ["+shop/y port 1 generation 1"]);
        let declared = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: a}}\n";
        assert_eq!(store.file("n", declared), ["+Namespace shop"]);
        assert_eq!(store.file("n", ""), ["+Namespace shop"]);
        store.remove(Path::new("a"));
        assert_eq!(store.news(), ["-Gateway shop/x"]);
        store.remove(Path::new("b"));
        assert_eq!(store.news(), ["-Gateway shop/y", "-Namespace shop"]);
        assert!(store.population.is_empty() && store.holders.is_empty() && store.told.is_empty());
    }

    #[test]
    fn a_generation_counts_changes_of_the_spec() {
        let mut store = Store::default();
        store.file("a", &gateway("x", "shop", 1));
        assert_eq!(store.file("a", &gateway("x", "shop", 1)), Vec::<String>::new());
        assert_eq!(store.file("a", &gateway("x", "shop", 2)), ["+shop/x port 2 generation 2"]);
        let labelled = gateway("x", "shop", 2).replace("name: x", "name: x, labels: {a: b}");
        assert_eq!(store.file("a", &labelled), ["+shop/x port 2 generation 2"]);
        let numbered = gateway("x", "shop", 3).replace("name: x", "name: x, generation: 40");
        assert_eq!(store.file("a", &numbered), ["+shop/x port 3 generation 40"]);
    }

    #[test]
    fn the_first_file_keeps_an_object_that_is_in_two() {
        let mut store = Store::default();
        store.file("b", &gateway("x", "shop", 1));
        assert_eq!(store.file("c", &gateway("x", "shop", 2)), Vec::<String>::new());
        let complaint = |loser: &str, winner: &str| {
            format!("{loser}:1: Gateway shop/x: is in {winner} too, which is used; remove one of the two")
        };
        assert_eq!(store.complaints(), [complaint("c", "b")]);
        assert_eq!(store.file("a", &gateway("x", "shop", 3)), ["+shop/x port 3 generation 2"]);
        assert_eq!(store.complaints(), [complaint("b", "a"), complaint("c", "a")]);
        store.remove(Path::new("a"));
        store.remove(Path::new("b"));
        assert_eq!(store.news(), ["+shop/x port 2 generation 3"]);
        assert_eq!(store.complaints(), Vec::<String>::new());
    }

    #[test]
    fn what_is_broken_stays_as_it_was() {
        let mut store = Store::default();
        let two = gateway("x", "shop", 1) + &gateway("y", "shop", 1);
        store.file("a", &two);
        // One object is wrong: it stays, the other changes.
        let half = gateway("x", "shop", 0) + &gateway("y", "shop", 2);
        assert_eq!(store.file("a", &half), ["+shop/y port 2 generation 2"]);
        assert_eq!(store.complaints().len(), 1);
        // One cannot be named: what is missing may be that one.
        let nameless = gateway("x", "shop", 1).replace("name: x, ", "") + &gateway("y", "shop", 3);
        assert_eq!(store.file("a", &nameless), ["+shop/y port 3 generation 3"]);
        // The file says nothing at all, then something again.
        assert_eq!(store.file("a", "{"), Vec::<String>::new());
        assert_eq!(store.file("a", &gateway("y", "shop", 3)), ["-Gateway shop/x"]);
        assert_eq!(store.complaints(), Vec::<String>::new());
    }

    #[test]
    fn a_file_that_cannot_be_read_keeps_its_objects() {
        let mut store = Store::default();
        store.file("a", &gateway("x", "shop", 1));
        let message = "is on a broken disk".to_owned();
        let error =
            SourceError { path: "a".into(), line: None, document: None, object: None, field: None, message };
        store.keep(Path::new("a"), error);
        assert_eq!(store.news(), Vec::<String>::new());
        assert_eq!(store.complaints(), ["a: is on a broken disk"]);
    }

    #[test]
    fn the_examples_are_right() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/examples");
        let mut count = 0;
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let parsed = parse(&path, &std::fs::read(&path).unwrap());
            let errors: Vec<_> = parsed.errors.iter().map(ToString::to_string).collect();
            assert_eq!(errors, Vec::<String>::new());
            count += parsed.objects.len();
        }
        assert!(count > 5);
    }
}
