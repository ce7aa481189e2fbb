//! Conditions, changed as the API wants it: by type, other people's kept, times kept where nothing changed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition as Written, Time};

use crate::translate::condition::{Condition, Type};

pub(super) fn conditions(old: &[Written], new: &[Condition], generation: i64, now: &Time) -> Vec<Written> {
    let mut merged = Vec::with_capacity(new.len().max(old.len()));
    for was in old {
        let wanted = new.iter().find(|condition| condition.kind.to_string() == was.type_);
        match wanted {
            // Somebody has seen a newer object than we have.
            Some(_) if was.observed_generation.is_some_and(|seen| seen > generation) => {
                merged.push(was.clone())
            }
            Some(condition) => merged.push(written(condition, Some(was), generation, now)),
            None if is_ours(&was.type_) => {}
            None => merged.push(was.clone()),
        }
    }
    for condition in new {
        let name = condition.kind.to_string();
        if !old.iter().any(|was| was.type_ == name) {
            merged.push(written(condition, None, generation, now));
        }
    }
    merged
}

fn is_ours(name: &str) -> bool {
    Type::ALL.iter().any(|kind| kind.to_string() == name)
}

fn written(condition: &Condition, was: Option<&Written>, generation: i64, now: &Time) -> Written {
    let status = condition.status.to_string();
    let since = was.filter(|was| was.status == status).map_or(now, |was| &was.last_transition_time);
    Written {
        last_transition_time: since.clone(),
        message: condition.message.clone(),
        observed_generation: Some(generation),
        reason: condition.reason.to_string(),
        status,
        type_: condition.kind.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::condition::{Reason, Status};

    fn at(second: i64) -> Time {
        Time(k8s_openapi::jiff::Timestamp::from_second(second).unwrap())
    }

    fn was(kind: &str, status: &str, generation: i64) -> Written {
        Written {
            last_transition_time: at(1),
            message: "old".to_owned(),
            observed_generation: Some(generation),
            reason: "Old".to_owned(),
            status: status.to_owned(),
            type_: kind.to_owned(),
        }
    }

    fn want(kind: Type, status: Status) -> Condition {
        Condition { kind, status, reason: Reason::Accepted, message: "new".to_owned() }
    }

    #[test]
    fn times_change_with_the_status_alone() {
        let old = [was("Accepted", "True", 1), was("Programmed", "False", 1)];
        let new = [want(Type::Accepted, Status::True), want(Type::Programmed, Status::True)];
        let got = conditions(&old, &new, 2, &at(9));
        let times: Vec<_> =
            got.iter().map(|c| (c.last_transition_time.clone(), c.observed_generation)).collect();
        assert_eq!(times, [(at(1), Some(2)), (at(9), Some(2))]);
        assert!(got.iter().all(|c| c.message == "new"));
    }

    #[test]
    fn foreign_and_newer_conditions_stay_and_ours_go() {
        let old =
            [was("example.test/Other", "True", 7), was("Conflicted", "True", 1), was("Accepted", "False", 5)];
        let got = conditions(&old, &[want(Type::Accepted, Status::True)], 4, &at(9));
        let types: Vec<_> = got.iter().map(|c| (c.type_.as_str(), c.status.as_str())).collect();
        assert_eq!(types, [("example.test/Other", "True"), ("Accepted", "False")]);
    }
}
