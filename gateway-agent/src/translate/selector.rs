//! Label selectors (`metav1.LabelSelector`) on namespaces.

use std::collections::BTreeMap;

use crate::api::gateways::GatewayListenersAllowedRoutesNamespacesSelector;

/// All requirements must hold; none: everything is selected.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Selector {
    requirements: Vec<(String, Requirement)>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Requirement {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
}

impl Selector {
    /// The message names the field below `selector`.
    pub(super) fn parse(spec: &GatewayListenersAllowedRoutesNamespacesSelector) -> Result<Self, String> {
        let mut requirements = Vec::new();
        for (key, value) in spec.match_labels.iter().flatten() {
            requirements.push((key.clone(), Requirement::In(vec![value.clone()])));
        }
        for (index, expression) in spec.match_expressions.iter().flatten().enumerate() {
            let values = expression.values.clone().unwrap_or_default();
            let requirement = match (expression.operator.as_str(), values.is_empty()) {
                ("In", false) => Requirement::In(values),
                ("NotIn", false) => Requirement::NotIn(values),
                ("Exists", true) => Requirement::Exists,
                ("DoesNotExist", true) => Requirement::DoesNotExist,
                ("In" | "NotIn", true) => {
                    return Err(format!(
                        "matchExpressions[{index}].values is empty; list at least one value"
                    ));
                }
                ("Exists" | "DoesNotExist", false) => {
                    return Err(format!(
                        "matchExpressions[{index}].values must be left out with {}",
                        expression.operator
                    ));
                }
                (operator, _) => {
                    return Err(format!(
                        "matchExpressions[{index}].operator {operator:?} is unknown; use In, NotIn, Exists or DoesNotExist"
                    ));
                }
            };
            requirements.push((expression.key.clone(), requirement));
        }
        Ok(Self { requirements })
    }

    pub(super) fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|(key, requirement)| {
            let value = labels.get(key);
            match requirement {
                Requirement::In(values) => value.is_some_and(|value| values.contains(value)),
                Requirement::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
                Requirement::Exists => value.is_some(),
                Requirement::DoesNotExist => value.is_none(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(selector: &str, labels: &[(&str, &str)], want: bool) {
        let spec = serde_json::from_str(selector).unwrap();
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(Selector::parse(&spec).unwrap().selects(&labels), want, "{selector} {labels:?}");
    }

    #[test]
    fn requirements_must_all_hold() {
        check("{}", &[], true);
        check(r#"{"matchLabels":{"a":"1"}}"#, &[("a", "1"), ("b", "2")], true);
        check(r#"{"matchLabels":{"a":"1","b":"1"}}"#, &[("a", "1"), ("b", "2")], false);
        let expression = |e: &str| format!(r#"{{"matchExpressions":[{e}]}}"#);
        check(&expression(r#"{"key":"a","operator":"In","values":["1","2"]}"#), &[("a", "2")], true);
        check(&expression(r#"{"key":"a","operator":"In","values":["1"]}"#), &[], false);
        check(&expression(r#"{"key":"a","operator":"NotIn","values":["1"]}"#), &[], true);
        check(&expression(r#"{"key":"a","operator":"NotIn","values":["1"]}"#), &[("a", "1")], false);
        check(&expression(r#"{"key":"a","operator":"Exists"}"#), &[("a", "")], true);
        check(&expression(r#"{"key":"a","operator":"DoesNotExist"}"#), &[("a", "")], false);
    }

    #[test]
    fn unknown_operators_are_refused() {
        for expression in [r#"{"key":"a","operator":"Gt","values":["1"]}"#, r#"{"key":"a","operator":"In"}"#]
        {
            let spec = serde_json::from_str(&format!(r#"{{"matchExpressions":[{expression}]}}"#)).unwrap();
            assert!(Selector::parse(&spec).is_err(), "{expression}");
        }
    }
}
