//! A file's bytes to its objects. Pure: the same bytes give the same answer.

use std::collections::BTreeMap;
use std::path::Path as FilePath;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::identity::{Identity, Problem, identify};
use super::{SourceError, defaults, schema, semantics};
use crate::object::{Kind, Object, ObjectKey};
use crate::yaml::{self, Node, Path};

/// What one file holds.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    /// In the order of the file; no two have the same key.
    pub objects: Vec<Found>,
    pub errors: Vec<SourceError>,
    /// Objects that are in the file but cannot be used.
    pub broken: Vec<ObjectKey>,
    /// True: more may be in the file than could be told.
    pub partial: bool,
    /// Kinds that we do not read, as `apps/v1 Deployment`.
    pub ignored: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Found {
    pub key: ObjectKey,
    pub object: Object,
    pub line: u32,
}

/// Reads the documents of one file; `path` only names it in errors.
pub fn parse(path: &FilePath, bytes: &[u8]) -> Parsed {
    let mut file = File { path, parsed: Parsed::default(), document: 0, lines: BTreeMap::new() };
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let line = bytes[..error.valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
            file.unreadable(u32::try_from(line).ok(), "is not UTF-8".to_owned());
            return file.parsed;
        }
    };
    match yaml::read(text.trim_start_matches('\u{feff}')) {
        Ok(documents) => {
            for document in &documents {
                file.document += 1;
                file.document(document);
            }
        }
        Err(error) => file.unreadable(error.line, format!("is not valid YAML: {}", error.message)),
    }
    file.parsed
}

struct File<'a> {
    path: &'a FilePath,
    parsed: Parsed,
    document: usize,
    /// Of the objects so far.
    lines: BTreeMap<ObjectKey, u32>,
}

impl File<'_> {
    /// The file as a whole says nothing.
    fn unreadable(&mut self, line: Option<u32>, message: String) {
        self.parsed.partial = true;
        self.parsed.errors.push(SourceError {
            path: self.path.to_owned(),
            line,
            document: None,
            object: None,
            field: None,
            message,
        });
    }

    fn error(&mut self, node: &Node, object: Option<String>, path: &Path, message: String) {
        self.parsed.errors.push(SourceError {
            path: self.path.to_owned(),
            line: Some(node.line_of(path)),
            document: Some(self.document),
            object,
            field: Some(path.to_string()).filter(|field| !field.is_empty()),
            message,
        });
    }

    fn document(&mut self, node: &Node) {
        match identify(node) {
            Ok(Identity::Known(key)) => self.object(node, key),
            Ok(Identity::Other(kind)) => self.parsed.ignored.push(kind),
            Ok(Identity::List) => self.list(node),
            Err(problem) => {
                let Problem { object, key, path, message } = *problem;
                self.parsed.partial |= key.is_none();
                self.parsed.broken.extend(key);
                self.error(node, object, &path, message);
            }
        }
    }

    fn list(&mut self, node: &Node) {
        match node.get("items").map(|items| &items.value) {
            Some(yaml::Value::Seq(items)) => items.iter().for_each(|item| self.document(item)),
            Some(yaml::Value::Null) | None => {}
            Some(yaml::Value::Scalar(_) | yaml::Value::Map(_)) => {
                self.parsed.partial = true;
                self.error(node, None, &Path::key("items"), "must be a list".to_owned());
            }
        }
    }

    fn object(&mut self, node: &Node, key: ObjectKey) {
        if let Some(line) = self.lines.get(&key).copied() {
            let message =
                format!("is in this file already, at line {line}; the first is used, remove the other");
            self.error(node, Some(key.to_string()), &Path::default(), message);
            return;
        }
        match read_object(node, &key) {
            Ok(object) => {
                self.lines.insert(key.clone(), node.line);
                self.parsed.objects.push(Found { key, object, line: node.line });
            }
            Err(problems) => {
                for (path, message) in problems {
                    self.error(node, Some(key.to_string()), &path, message);
                }
                self.parsed.broken.push(key);
            }
        }
    }
}

type Problems = Vec<(Path, String)>;

fn read_object(node: &Node, key: &ObjectKey) -> Result<Object, Problems> {
    let mut value = node.to_json();
    let Value::Object(map) = &mut value else {
        return Err(vec![(Path::default(), "must be a mapping".to_owned())]);
    };
    // Status is ours to write, and managedFields is the API server's.
    map.remove("status");
    if let Some(Value::Object(metadata)) = map.get_mut("metadata") {
        metadata.remove("managedFields");
        if key.kind.namespaced() {
            metadata.insert("namespace".to_owned(), key.name.namespace.clone().into());
        } else {
            metadata.remove("namespace");
        }
    }
    if schema::has(key.kind) {
        let spec = map.entry("spec").or_insert_with(|| Value::Object(serde_json::Map::new()));
        let mut problems = schema::apply(key.kind, spec);
        if problems.is_empty() {
            problems = semantics::check(key.kind, spec);
        }
        if !problems.is_empty() {
            return Err(problems);
        }
    }
    let mut object = typed(key.kind, value)?;
    let problems = defaults::complete(&mut object);
    if problems.is_empty() { Ok(object) } else { Err(problems) }
}

pub(super) fn typed(kind: Kind, value: Value) -> Result<Object, Problems> {
    Ok(match kind {
        Kind::GatewayClass => Object::GatewayClass(boxed(kind, value)?),
        Kind::GatewayParameters => Object::GatewayParameters(boxed(kind, value)?),
        Kind::Gateway => Object::Gateway(boxed(kind, value)?),
        Kind::HttpRoute => Object::HttpRoute(boxed(kind, value)?),
        Kind::TlsRoute => Object::TlsRoute(boxed(kind, value)?),
        Kind::TcpRoute => Object::TcpRoute(boxed(kind, value)?),
        Kind::UdpRoute => Object::UdpRoute(boxed(kind, value)?),
        Kind::ReferenceGrant => Object::ReferenceGrant(boxed(kind, value)?),
        Kind::Namespace => Object::Namespace(boxed(kind, value)?),
        Kind::Service => Object::Service(boxed(kind, value)?),
        Kind::EndpointSlice => Object::EndpointSlice(boxed(kind, value)?),
        Kind::Secret => Object::Secret(boxed(kind, value)?),
    })
}

fn boxed<T: DeserializeOwned>(kind: Kind, value: Value) -> Result<Box<T>, Problems> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = Path::from(error.path());
        // The text of an error quotes the value that it is about.
        let message = if kind == Kind::Secret {
            "does not fit; data holds base64, stringData holds text, type is a string (values of Secrets are not shown)"
                .to_owned()
        } else {
            error.into_inner().to_string()
        };
        vec![(path, message)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        parse(FilePath::new("f.yaml"), text.as_bytes()).errors.iter().map(ToString::to_string).collect()
    }

    fn one(text: &str) -> Object {
        let parsed = parse(FilePath::new("f.yaml"), text.as_bytes());
        assert_eq!(parsed.errors, []);
        parsed.objects[0].object.clone()
    }

    const ROUTE: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop}
spec:
  parentRefs:
  - name: edge
  rules:
  - backendRefs:
    - name: web
      port: 80
";

    #[test]
    fn every_kind_is_read_and_completed() {
        let Object::HttpRoute(route) = one(ROUTE) else { panic!("no route") };
        let spec = serde_json::json!(route.spec);
        let want = serde_json::json!({
            "parentRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"}],
            "rules": [{
                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                "backendRefs": [{"group": "", "kind": "Service", "name": "web", "port": 80, "weight": 1}],
            }],
        });
        assert_eq!(spec, want);

        let Object::Gateway(gateway) = one("apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: gatehouse
  listeners:
  - {name: a, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}
status: {addresses: [{value: 192.0.2.1}]}
")
        else {
            panic!("no gateway")
        };
        assert_eq!(gateway.metadata.namespace.as_deref(), Some("default"));
        assert_eq!(gateway.status, None);
        let want = serde_json::json!({"gatewayClassName": "gatehouse", "listeners": [{
            "name": "a", "port": 443, "protocol": "HTTPS",
            "allowedRoutes": {"namespaces": {"from": "Same"}},
            "tls": {"mode": "Terminate", "certificateRefs": [{"group": "", "kind": "Secret", "name": "cert"}]},
        }]});
        assert_eq!(serde_json::json!(gateway.spec), want);
    }

    #[test]
    fn core_kinds_get_the_api_servers_defaults() {
        let Object::Namespace(namespace) =
            one("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, namespace: x}\n")
        else {
            panic!("no namespace")
        };
        assert_eq!(namespace.metadata.namespace, None);
        assert_eq!(namespace.metadata.labels.unwrap()["kubernetes.io/metadata.name"], "shop");

        let Object::Secret(secret) =
            one("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: YQ==}\nstringData: {b: b}\n")
        else {
            panic!("no secret")
        };
        let data = secret.data.unwrap();
        assert_eq!((data["a"].0.as_slice(), data["b"].0.as_slice()), (&b"a"[..], &b"b"[..]));
        assert_eq!((secret.string_data, secret.type_.as_deref()), (None, Some("Opaque")));

        let Object::EndpointSlice(slice) = one("apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: e}
addressType: IPv6
ports: [{port: 80}]
endpoints: [{addresses: ['2001:db8::1']}]
")
        else {
            panic!("no slice")
        };
        let port = &slice.ports.unwrap()[0];
        assert_eq!((port.name.as_deref(), port.protocol.as_deref()), (Some(""), Some("TCP")));
    }

    #[test]
    fn a_file_may_have_as_many_documents_as_its_size_allows() {
        let mut text = String::new();
        for number in 0..10_000 {
            let route = ROUTE.replace("name: web, namespace", &format!("name: web-{number}, namespace"));
            text.push_str(&format!("---\n{route}"));
        }
        let parsed = parse(FilePath::new("f.yaml"), text.as_bytes());
        assert_eq!((parsed.errors.as_slice(), parsed.objects.len()), (&[][..], 10_000));
        let last = &parsed.objects[9_999];
        assert_eq!(last.key.to_string(), "HTTPRoute shop/web-9999");
        assert_eq!(last.line as usize, text.lines().count() - ROUTE.lines().count() + 1);
        assert_eq!(lines(&"---\n".repeat(200_000)), Vec::<String>::new());
        assert_eq!(lines(&format!("a:\n{}", "- \n".repeat(200_000))).len(), 1, "no apiVersion");
    }

    #[test]
    fn lists_are_their_items_and_other_kinds_are_left() {
        let item = |name: &str| format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}");
        let text = format!(
            "apiVersion: v1\nkind: List\nitems:\n- {}\n- {}\n---\napiVersion: apps/v1\nkind: Deployment\n---\n{}\n",
            item("a"),
            item("b"),
            item("c")
        );
        let parsed = parse(FilePath::new("f.yaml"), text.as_bytes());
        let found: Vec<_> = parsed.objects.iter().map(|f| (f.key.to_string(), f.line)).collect();
        assert_eq!(
            found,
            [("Namespace a".to_owned(), 4), ("Namespace b".to_owned(), 5), ("Namespace c".to_owned(), 10)]
        );
        assert_eq!(parsed.ignored, ["apps/v1 Deployment"]);
        assert_eq!(parsed.errors, []);
    }

    #[test]
    fn errors_name_line_object_field_and_expectation() {
        let cases = [
            ("", ""),
            (
                "kind: Gateway\n",
                "f.yaml:1: document 1: apiVersion: is missing; every object has one, such as v1",
            ),
            (
                "apiVersion: v1\nkind: Service\nmetadata:\n  name: 123\n",
                "f.yaml:4: Service (document 1): metadata.name: is not text; write it in quotes",
            ),
            (
                "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  namespace: 5\n",
                "f.yaml:5: Service (document 1): metadata.namespace: is not text; write it in quotes",
            ),
            (
                "# x\napiVersion: v1\nkind: Service\nmetadata:\n  name: Web\n",
                "f.yaml:5: Service default/Web (document 1): metadata.name: \"Web\" is not a DNS label (RFC 1123): \
                 lower-case letters, digits, '-' and, in names, '.'",
            ),
            (
                "apiVersion: gateway.networking.k8s.io/v2\nkind: Gateway\nmetadata: {name: a}\n",
                "f.yaml:1: Gateway default/a (document 1): apiVersion: gateway.networking.k8s.io/v2 is not supported; \
                 use gateway.networking.k8s.io/v1, gateway.networking.k8s.io/v1beta1, \
                 gateway.networking.k8s.io/v1alpha3, gateway.networking.k8s.io/v1alpha2",
            ),
            (
                "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  ports:\n  - port: 0\n",
                "f.yaml:6: Service default/a (document 1): spec.ports[0].port: 0 is out of range; it must be 1 to 65535",
            ),
            (
                "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata:\n  tls.key: '%hunter2%'\n",
                "f.yaml:5: Secret default/a (document 1): data[\"tls.key\"]: does not fit; data holds base64, stringData \
                 holds text, type is a string (values of Secrets are not shown)",
            ),
            ("a: [1\nb: 2\n", "f.yaml:2: is not valid YAML"),
        ];
        for (text, want) in cases {
            let got = lines(text);
            assert_eq!(got.len(), usize::from(!want.is_empty()), "{text}: {got:?}");
            assert!(got.iter().all(|line| line.starts_with(want)), "{text}: {got:?}");
        }
    }

    #[test]
    fn routes_are_held_to_the_crd() {
        let cases = [
            (
                "port: 80",
                "port: 70000",
                "10: spec.rules[0].backendRefs[0].port: 70000 is out of range; it must be 1 to 65535",
            ),
            (
                "port: 80",
                "port: '80'",
                "10: spec.rules[0].backendRefs[0].port: must be an integer, not a string",
            ),
            (
                "port: 80",
                "weight: 1000001",
                "10: spec.rules[0].backendRefs[0].weight: 1000001 is out of range; it must be 0 to 1000000",
            ),
            ("  - name: edge", "  - sectionName: edge", "6: spec.parentRefs[0].name: is required"),
            (
                "  rules:",
                "  hostname: [a]\n  rules:",
                "7: spec.hostname: is not a field; did you mean hostnames?",
            ),
            (
                "  rules:",
                "  hostnames: [UPPER.example]\n  rules:",
                "7: spec.hostnames[0]: \"UPPER.example\" is not a DNS name in lower case, if need be with *. before it",
            ),
            (
                "  - backendRefs:",
                "  - matches: [{path: {value: foo}}]\n    backendRefs:",
                "8: spec.rules[0].matches[0].path.value: \"foo\" must begin with /",
            ),
            (
                "  - backendRefs:",
                "  - matches: [{method: get}]\n    backendRefs:",
                "8: spec.rules[0].matches[0].method: \"get\" is not one of GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE, PATCH",
            ),
            (
                "  - backendRefs:",
                "  - timeouts: {request: 1d}\n    backendRefs:",
                "8: spec.rules[0].timeouts.request: \"1d\" is not a duration; write it as 10s, 1m30s or 250ms (GEP-2257)",
            ),
            (
                "  - backendRefs:",
                "  - filters: [{type: URLRewrite}]\n    backendRefs:",
                "8: spec.rules[0].filters[0].urlRewrite: is required with type URLRewrite",
            ),
        ];
        for (from, to, want) in cases {
            let (line, rest) = want.split_once(": ").unwrap();
            let want = format!("f.yaml:{line}: HTTPRoute shop/web (document 1): {rest}");
            assert_eq!(lines(&ROUTE.replace(from, to)), [want]);
        }
    }

    #[test]
    fn a_broken_object_leaves_its_neighbours() {
        let text = format!("{}---\n{}", ROUTE.replace("80", "0"), ROUTE.replace("name: web,", "name: two,"));
        let parsed = parse(FilePath::new("f.yaml"), text.as_bytes());
        assert_eq!(parsed.objects.len(), 1);
        assert_eq!(parsed.broken.iter().map(ToString::to_string).collect::<Vec<_>>(), ["HTTPRoute shop/web"]);
        assert!(!parsed.partial);
        assert_eq!(parsed.errors.len(), 1);
        assert_eq!(parsed.errors[0].document, Some(1));
    }

    #[test]
    fn own_parameters_are_held_to_their_crd() {
        let text = "apiVersion: gatehouse.dev/v1alpha1
kind: GatewayParameters
metadata: {name: p}
spec:
  timeouts:
    idle: 10
  limits: {conections: 1}
  noListener: Ignore
";
        assert_eq!(
            lines(text),
            [
                "f.yaml:7: GatewayParameters default/p (document 1): spec.limits.conections: is not a field; there are \
                 connections, headerBytes, headers, streams, udpSessions",
                "f.yaml:8: GatewayParameters default/p (document 1): spec.noListener: \"Ignore\" is not one of Reject, Drop",
                "f.yaml:6: GatewayParameters default/p (document 1): spec.timeouts.idle: must be a string, not a number; \
                 put it in quotes",
            ]
        );
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..512)) {
            parse(FilePath::new("f.yaml"), &bytes);
        }

        /// A file cut short anywhere must say so or hold whole objects only.
        #[test]
        fn a_cut_file_never_panics(at in 0..ROUTE.len()) {
            parse(FilePath::new("f.yaml"), &ROUTE.as_bytes()[..at]);
        }
    }
}
