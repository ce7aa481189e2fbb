//! What the suite is told. Pure.

use std::ffi::OsString;
use std::path::PathBuf;

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
    /// Empty: the suite runs what the GatewayClass's supported features ask for.
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
    /// The arguments of the suite's program.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut flag = |name: &str, value: &str| arguments.push(format!("-{name}={value}").into());
        flag("test.v", "test2json");
        flag("test.timeout", TIMEOUT);
        flag("test.run", &self.pattern());
        flag("gateway-class", &self.gateway_class);
        if !self.profiles.is_empty() {
            flag("conformance-profiles", &self.profiles.join(","));
        }
        // The suite takes one name and checks it; more than one are chosen by pattern.
        if let [test] = &self.tests[..] {
            flag("run-test", test);
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

    #[test]
    fn the_features_come_from_the_class_unless_profiles_are_named() {
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
        let named = arguments(|it| it.profiles = vec!["GATEWAY-HTTP".into(), "GATEWAY-TLS".into()]);
        assert!(named.contains(&"-conformance-profiles=GATEWAY-HTTP,GATEWAY-TLS".into()), "{named:?}");
    }

    #[test]
    fn one_test_is_named_and_several_are_matched() {
        let one = arguments(|it| it.tests = vec!["A".into()]);
        assert!(one.contains(&"-run-test=A".into()), "{one:?}");
        let two = arguments(|it| it.tests = vec!["A".into(), "B".into()]);
        assert!(two.contains(&"-test.run=^TestConformance$/^(A|B)$".into()), "{two:?}");
        assert!(!two.iter().any(|one| one.starts_with("-run-test")), "{two:?}");
    }

    #[test]
    fn a_report_says_whose_it_is() {
        let with = arguments(|it| it.report = Some("/tmp/report.yaml".into()));
        assert!(with.contains(&"-report-output=/tmp/report.yaml".into()), "{with:?}");
        assert!(with.iter().any(|one| one.starts_with("-organization=")), "{with:?}");
    }
}
