//! `gatectl explain` where clients speak TLS.

use gatehouse_tests::certificate::{Authority, Pair};
use gatehouse_tests::node::Name;

use crate::explain::{broken, sound};
use crate::scene::{Place, Scene};

const SECURE: &str = "secure.example.com";
const PASSED: &str = "passed.example.com";

#[test]
fn a_handshake_that_fails_is_no_whole_chain() {
    let place = Place::new();
    let mut scene = place.serve();
    let pair = Authority::new().unwrap().issue(&[SECURE]).unwrap();
    scene.node.write("secret.yaml", &pair.secret("shop", "tls")).unwrap();
    scene.node.write("tls.yaml", OBJECTS).unwrap();
    let address = serving(&mut scene, "True");
    let (https, passthrough) = (format!("{address}:443"), format!("{address}:8443"));
    sound(&scene, &[&https, "--host", SECURE]);
    sound(&scene, &[&passthrough, "--host", PASSED]);
    for port in [&https, &passthrough] {
        let (text, _) = broken(&scene, &[port, "--host", "nope.example.com"], 20, "routing");
        assert!(text.contains("unrecognized_name"), "{text}");
    }

    let refused = Pair { chain: VERSION_1.to_owned(), key: VERSION_1_KEY.to_owned() };
    scene.node.write("secret.yaml", &refused.secret("shop", "tls")).unwrap();
    serving(&mut scene, "False");
    let (text, _) = broken(&scene, &[&https, "--host", SECURE], 19, "listener");
    assert!(text.contains("certificate"), "{text}");
    sound(&scene, &[&passthrough, "--host", PASSED]);
}

/// Waits for the Gateway to be `Programmed` or not; its first IPv4 address.
fn serving(scene: &mut Scene<'_>, programmed: &str) -> String {
    let gateway = Name { kind: "Gateway", namespace: "shop", name: "secure" };
    scene.node.wait_condition(&gateway, "Programmed", programmed).unwrap();
    let status = scene.node.object(&gateway).unwrap().unwrap().status;
    let addresses = status["addresses"].as_array().unwrap();
    let mut values = addresses.iter().filter_map(|address| address["value"].as_str());
    values.find(|value| value.contains('.')).unwrap().to_owned()
}

const OBJECTS: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {namespace: shop, name: secure}
spec:
  gatewayClassName: gatehouse
  listeners:
  - {name: https, protocol: HTTPS, port: 443, hostname: secure.example.com, tls: {certificateRefs: [{name: tls}]}}
  - {name: tls, protocol: TLS, port: 8443, hostname: passed.example.com, tls: {mode: Passthrough}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {namespace: shop, name: secure}
spec:
  parentRefs: [{name: secure, sectionName: https}]
  rules:
  - backendRefs: [{name: one, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {namespace: shop, name: passed}
spec:
  parentRefs: [{name: secure, sectionName: tls}]
  hostnames: [passed.example.com]
  rules:
  - backendRefs: [{name: one, port: 9000}]
";

/// Of X.509 version 1, as `openssl x509 -req` makes without extensions: rustls takes none.
const VERSION_1: &str = "-----BEGIN CERTIFICATE-----
MIIBNTCB3QIUaZo+yKqQ2dhP4F8OKlbWW00u4CcwCgYIKoZIzj0EAwIwHTEbMBkG
A1UEAwwSc2VjdXJlLmV4YW1wbGUuY29tMCAXDTI2MTEyNDAzMjIxM1oYDzIxMjYx
MDMxMDMyMjEzWjAdMRswGQYDVQQDDBJzZWN1cmUuZXhhbXBsZS5jb20wWTATBgcq
hkjOPQIBBggqhkjOPQMBBwNCAATGH8IIV/Rymzq1cL7F7OinuKV/AySzZmlMHIQy
2hBraY72l6SY3BensiTEK3RF+SCLBZPXUBmG66BzfPjFwS7XMAoGCCqGSM49BAMC
A0cAMEQCIG4ZsfY0XAiOLpF6GTeZSlJVVjPtZrZIWaFvayuGs3WFAiAMgwnmYK7p
BMhBUUHTFTHkGEfewhgEvcXSNBoZqclNxQ==
-----END CERTIFICATE-----
";

const VERSION_1_KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg40e4PyCwpvOviGMG
SCQpdBfUuxJbswJGkYtZ8pE86y6hRANCAATGH8IIV/Rymzq1cL7F7OinuKV/AySz
ZmlMHIQy2hBraY72l6SY3BensiTEK3RF+SCLBZPXUBmG66BzfPjFwS7X
-----END PRIVATE KEY-----
";
