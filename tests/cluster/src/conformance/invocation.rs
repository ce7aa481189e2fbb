//! What the suite is told. Pure.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, ensure};

use super::class::profiles;
use crate::artifacts::Suite;

/// Where the suite runs: it dials the Gateways' addresses itself.
#[derive(Clone, Debug)]
pub struct Room {
    /// The network namespace of the client.
    pub netns: PathBuf,
    pub kubeconfig: PathBuf,
}

/// One run of the suite.
#[derive(Clone, Debug, Default)]
pub struct Invocation {
    pub suite: Suite,
    pub gateway_class: String,
    /// What the GatewayClass says that it supports.
    pub features: Vec<String>,
    /// Held to their core features and reported. Empty: those whose core features the GatewayClass supports.
    pub profiles: Vec<String>,
    /// Empty: all.
    pub tests: Vec<String>,
    pub report: Option<PathBuf>,
    /// Further flags of the suite.
    pub more: Vec<String>,
}

/// The longest that a whole run may take; the suite then prints what it waits for and fails.
const TIMEOUT: &str = "75m";

impl Invocation {
    /// Refuses what the suite would answer with something untrue.
    pub fn check(&self) -> Result<()> {
        // It does not learn which tests a pattern leaves out, and reports success without them.
        ensure!(
            self.report.is_none() || self.tests.len() < 2,
            "a report is of all tests or of one: name one test at most"
        );
        Ok(())
    }

    /// The arguments of the suite's program.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut flag = |name: &str, value: &str| arguments.push(format!("-{name}={value}").into());
        flag("test.v", "test2json");
        flag("test.timeout", TIMEOUT);
        flag("test.run", &self.pattern());
        flag("gateway-class", &self.gateway_class);
        // Without a profile a report says nothing of any test.
        let profiles =
            if self.profiles.is_empty() { profiles(&self.features) } else { self.profiles.clone() };
        if !profiles.is_empty() {
            flag("conformance-profiles", &profiles.join(","));
        }
        // The suite takes one name and checks it; more than one are chosen by pattern.
        if let [test] = &self.tests[..] {
            flag("run-test", test);
            // It asks the GatewayClass itself, but not when it runs one test.
            if !self.features.is_empty() {
                flag("supported-features", &self.features.join(","));
            }
        }
        if let Some(report) = &self.report {
            // Without these the suite writes no report.
            flag("organization", "gatehouse");
            flag("project", "gatehouse");
            flag("url", "https://gatehouse.dev");
            flag("version", env!("CARGO_PKG_VERSION"));
            flag("contact", "https://gatehouse.dev");
            let mut output = OsString::from("-report-output=");
            output.push(report);
            arguments.push(output);
        }
        arguments.extend(self.more.iter().map(OsString::from));
        arguments
    }

    fn pattern(&self) -> String {
        match &self.tests[..] {
            [] | [_] => "^TestConformance$".to_owned(),
            tests => format!("^TestConformance$/^({})$", tests.join("|")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(change: impl FnOnce(&mut Invocation)) -> Vec<String> {
        let mut invocation = Invocation { gateway_class: "gatehouse".into(), ..Invocation::default() };
        change(&mut invocation);
        invocation.arguments().into_iter().map(|one| one.into_string().unwrap()).collect()
    }

    fn has(arguments: &[String], wanted: &str) -> bool {
        arguments.iter().any(|one| one == wanted)
    }

    #[test]
    fn a_run_of_all_tests_leaves_the_features_to_the_suite() {
        let plain = arguments(|_| {});
        assert_eq!(
            plain,
            [
                "-test.v=test2json",
                "-test.timeout=75m",
                "-test.run=^TestConformance$",
                "-gateway-class=gatehouse"
            ]
        );
        let claimed = arguments(|it| it.features = vec!["HTTPRoute".into()]);
        assert_eq!(claimed, plain);
    }

    #[test]
    fn profiles_are_those_that_were_named_or_are_supported() {
        let supported = ["Gateway", "ReferenceGrant", "HTTPRoute", "UDPRoute"].map(str::to_owned);
        let claimed = arguments(|it| it.features = supported.to_vec());
        assert!(has(&claimed, "-conformance-profiles=GATEWAY-HTTP,GATEWAY-UDP"), "{claimed:?}");
        let named = arguments(|it| {
            it.features = supported.to_vec();
            it.profiles = vec!["GATEWAY-HTTP".into(), "GATEWAY-TLS".into()];
        });
        assert!(has(&named, "-conformance-profiles=GATEWAY-HTTP,GATEWAY-TLS"), "{named:?}");
    }

    #[test]
    fn one_test_is_named_and_several_are_matched() {
        let one = arguments(|it| {
            it.tests = vec!["A".into()];
            it.features = vec!["Gateway".into(), "HTTPRoute".into()];
        });
        assert!(has(&one, "-run-test=A"), "{one:?}");
        assert!(
            has(&one, "-supported-features=Gateway,HTTPRoute"),
            "the suite does not ask for them: {one:?}"
        );
        let two = arguments(|it| it.tests = vec!["A".into(), "B".into()]);
        assert!(has(&two, "-test.run=^TestConformance$/^(A|B)$"), "{two:?}");
        assert!(!two.iter().any(|one| one.starts_with("-run-test")), "{two:?}");
    }

    #[test]
    fn a_report_says_whose_it_is() {
        let with = arguments(|it| it.report = Some("/tmp/report.yaml".into()));
        assert!(has(&with, "-report-output=/tmp/report.yaml"), "{with:?}");
        assert!(with.iter().any(|one| one.starts_with("-organization=")), "{with:?}");
    }

    #[test]
    fn a_report_is_of_all_tests_or_of_one() {
        let report = Some(PathBuf::from("report.yaml"));
        for (tests, good) in [(&[][..], true), (&["A"], true), (&["A", "B"], false)] {
            let tests: Vec<String> = tests.iter().map(|test| (*test).to_owned()).collect();
            let reported =
                Invocation { tests: tests.clone(), report: report.clone(), ..Invocation::default() };
            assert_eq!(reported.check().is_ok(), good, "{tests:?}");
            assert!(Invocation { tests, ..Invocation::default() }.check().is_ok());
        }
    }
}
