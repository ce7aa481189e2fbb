//! The age of an object.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Seconds since the epoch; objects of a directory have no age and are told apart by name.
pub(super) fn created(meta: &ObjectMeta) -> i64 {
    meta.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second())
}
