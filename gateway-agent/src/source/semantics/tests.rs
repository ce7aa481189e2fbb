//! A row per rule: what breaks it, and the line of the answer.

use crate::object::Kind;
use crate::source::schema;

fn problems(kind: Kind, spec: &str) -> Vec<String> {
    let mut spec = crate::yaml::read(spec).unwrap()[0].to_json();
    assert_eq!(schema::apply(kind, &mut spec), []);
    super::check(kind, &spec).iter().map(|(path, message)| format!("{path}: {message}")).collect()
}

fn check(kind: Kind, cases: &[(&str, &[&str])]) {
    for (spec, want) in cases {
        let got = problems(kind, spec);
        assert_eq!(got.len(), want.len(), "{spec}: {got:?}");
        for (got, want) in got.iter().zip(*want) {
            assert!(got.starts_with(want), "{spec}\n got {got}\nwant {want}");
        }
    }
}

#[test]
fn references() {
    check(
        Kind::TcpRoute,
        &[
            ("rules: [{backendRefs: [{name: a, port: 1}]}]", &[]),
            (
                "rules: [{backendRefs: [{name: a}]}]",
                &["spec.rules[0].backendRefs[0].port: is required for a Service"],
            ),
            ("rules: [{backendRefs: [{name: a, kind: Pool, group: x.example}]}]", &[]),
            (
                "{parentRefs: [{name: a}, {name: a}], rules: [{backendRefs: [{name: a, port: 1}]}]}",
                &["spec.parentRefs[1]: refers to the parent of an earlier one; both need a sectionName"],
            ),
            (
                "{parentRefs: [{name: a, sectionName: x}, {name: a}], rules: [{backendRefs: [{name: a, port: 1}]}]}",
                &["spec.parentRefs[1]: refers to the parent of an earlier one; both need a sectionName"],
            ),
            (
                "{parentRefs: [{name: a, port: 1}, {name: a, port: 1}], rules: [{backendRefs: [{name: a, port: 1}]}]}",
                &["spec.parentRefs[1]: is the same as an earlier one"],
            ),
            (
                "{parentRefs: [{name: a, port: 1}, {name: a, port: 2}, {name: b}], rules: [{backendRefs: [{name: a, port: 1}]}]}",
                &[],
            ),
        ],
    );
}

#[test]
fn listeners() {
    let gateway = |listeners: &str| format!("{{gatewayClassName: g, listeners: [{listeners}]}}");
    let check = |listeners: &str, want: &[&str]| check(Kind::Gateway, &[(&gateway(listeners), want)]);
    check(
        "{name: a, port: 80, protocol: HTTP}, {name: b, port: 80, protocol: HTTP, hostname: x.example}",
        &[],
    );
    check(
        "{name: a, port: 80, protocol: HTTP}, {name: b, port: 80, protocol: HTTP}",
        &["spec.listeners[1]: has the same port 80, protocol HTTP as an earlier one"],
    );
    check(
        "{name: a, port: 80, protocol: HTTP, tls: {certificateRefs: [{name: c}]}}",
        &["spec.listeners[0].tls: does not go with protocol HTTP"],
    );
    check(
        "{name: a, port: 80, protocol: TCP, hostname: x.example}",
        &["spec.listeners[0].hostname: does not go"],
    );
    check("{name: a, port: 80, protocol: TLS}", &["spec.listeners[0].tls: is required with protocol TLS"]);
    check(
        "{name: a, port: 80, protocol: HTTPS, tls: {mode: Passthrough}}",
        &["spec.listeners[0].tls.mode: must be"],
    );
    check(
        "{name: a, port: 80, protocol: HTTPS, tls: {}}",
        &["spec.listeners[0].tls.certificateRefs: is required"],
    );
    super::tests::check(
        Kind::Gateway,
        &[(
            "{gatewayClassName: g, listeners: [{name: a, port: 1, protocol: TCP}], addresses: [{value: 192.0.2.1}, {value: 192.0.2.1}]}",
            &["spec.addresses[1]: has the same IPAddress \"192.0.2.1\" as an earlier one"],
        )],
    );
}

#[test]
fn paths() {
    for (value, want) in [
        ("/", ""),
        ("/a%20b/c", ""),
        ("a", "\"a\" must begin with /"),
        ("/a//b", "\"/a//b\" must not hold //"),
        ("/a/../b", "\"/a/../b\" must not hold /../"),
        ("/a%2Fb", "\"/a%2Fb\" must not hold %2f"),
        ("/a/..", "\"/a/..\" must not end in . or .."),
        ("/ä", "\"/ä\" has characters that no path has"),
        ("/a%2", "\"/a%2\" has characters that no path has"),
    ] {
        let spec = format!("rules: [{{matches: [{{path: {{value: '{value}'}}}}]}}]");
        let want = format!("spec.rules[0].matches[0].path.value: {want}");
        let want: &[&str] = if want.ends_with(": ") { &[] } else { &[&want] };
        check(Kind::HttpRoute, &[(&spec, want)]);
    }
    check(Kind::HttpRoute, &[("rules: [{matches: [{path: {type: RegularExpression, value: '[a'}}]}]", &[])]);
}

#[test]
fn filters_and_timeouts() {
    let redirect = "{type: RequestRedirect, requestRedirect: {hostname: x.example}}";
    let rewrite = "{type: URLRewrite, urlRewrite: {hostname: x.example}}";
    let prefix = "{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /x}}}";
    let check =
        |rule: &str, want: &[&str]| check(Kind::HttpRoute, &[(&format!("rules: [{{{rule}}}]"), want)]);
    check(&format!("filters: [{redirect}]"), &[]);
    check(
        &format!("filters: [{redirect}], backendRefs: [{{name: a, port: 1}}]"),
        &["spec.rules[0].filters[0].requestRedirect: does not go with backendRefs"],
    );
    check(
        &format!("filters: [{redirect}, {rewrite}]"),
        &["spec.rules[0].filters: has RequestRedirect and URLRewrite"],
    );
    check(
        &format!("filters: [{rewrite}, {rewrite}]"),
        &["spec.rules[0].filters: has URLRewrite more than once"],
    );
    check(
        "filters: [{type: URLRewrite, requestRedirect: {}}]",
        &[
            "spec.rules[0].filters[0].requestRedirect: does not go with type URLRewrite",
            "spec.rules[0].filters[0].urlRewrite: is required with type URLRewrite",
        ],
    );
    check(
        "filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath}}}]",
        &["spec.rules[0].filters[0].urlRewrite.path.replaceFullPath: is required"],
    );
    check(&format!("filters: [{prefix}]"), &[]);
    check(
        &format!("filters: [{prefix}], matches: [{{path: {{type: Exact, value: /a}}}}]"),
        &["spec.rules[0].filters[0].urlRewrite.path: ReplacePrefixMatch needs a rule with exactly one match"],
    );
    check(
        &format!(
            "backendRefs: [{{name: a, port: 1, filters: [{prefix}]}}], matches: [{{}}, {{method: GET}}]"
        ),
        &["spec.rules[0].backendRefs[0].filters[0].urlRewrite.path: ReplacePrefixMatch needs"],
    );
    check(
        "filters: [{type: RequestMirror, requestMirror: {backendRef: {name: a}, percent: 1, fraction: {numerator: 101}}}]",
        &[
            "spec.rules[0].filters[0].requestMirror.backendRef.port: is required for a Service",
            "spec.rules[0].filters[0].requestMirror.percent: does not go with fraction",
            "spec.rules[0].filters[0].requestMirror.fraction.numerator: is larger",
        ],
    );
    check("timeouts: {request: 0s, backendRequest: 1s}", &[]);
    check(
        "timeouts: {request: 1s, backendRequest: 2s}",
        &["spec.rules[0].timeouts.backendRequest: is longer"],
    );
}

#[test]
fn numbers_and_names_of_rules() {
    check(
        Kind::HttpRoute,
        &[("rules: [{name: a}, {name: a}]", &["spec.rules[1].name: has the same name \"a\""])],
    );
    let matches = vec!["{}"; 64].join(", ");
    let rules = vec![format!("{{matches: [{matches}]}}"); 3].join(", ");
    check(Kind::HttpRoute, &[(&format!("rules: [{rules}]"), &["spec.rules: have 192 matches"])]);
}
