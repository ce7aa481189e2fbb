//! Timeouts of a rule (GEP-1742).

use gateway_common::ir::Timeouts;

use crate::api::httproutes::HttpRouteRulesTimeouts as Spec;
use crate::crds::duration;

pub(super) fn timeouts(field: &str, spec: Option<&Spec>) -> Result<Timeouts, String> {
    let Some(spec) = spec else { return Ok(Timeouts::default()) };
    let request_ms = milliseconds(field, "request", spec.request.as_deref())?;
    let backend_request_ms = milliseconds(field, "backendRequest", spec.backend_request.as_deref())?;
    match (request_ms, backend_request_ms) {
        (Some(request), Some(backend)) if request > 0 && backend > request => Err(format!(
            "{field}.timeouts.backendRequest is longer than {field}.timeouts.request; it must not be"
        )),
        _ => Ok(Timeouts { request_ms, backend_request_ms }),
    }
}

fn milliseconds(field: &str, name: &str, text: Option<&str>) -> Result<Option<u64>, String> {
    let Some(text) = text else { return Ok(None) };
    match duration::parse(text) {
        Some(duration) => Ok(Some(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))),
        None => Err(format!(
            "{field}.timeouts.{name} {text:?} is not a duration; write it as 10s, 1m30s or 250ms (GEP-2257)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(request: Option<&str>, backend: Option<&str>, want: Option<(Option<u64>, Option<u64>)>) {
        let spec = Spec { request: request.map(str::to_owned), backend_request: backend.map(str::to_owned) };
        let got = timeouts("spec.rules[0]", Some(&spec)).ok().map(|t| (t.request_ms, t.backend_request_ms));
        assert_eq!(got, want, "{request:?} {backend:?}");
    }

    #[test]
    fn the_shorter_is_the_backend_s() {
        check(None, None, Some((None, None)));
        check(Some("1s"), Some("1s"), Some((Some(1000), Some(1000))));
        check(Some("1s"), Some("2s"), None);
        check(Some("0s"), Some("2s"), Some((Some(0), Some(2000))));
        check(Some("1"), None, None);
    }
}
