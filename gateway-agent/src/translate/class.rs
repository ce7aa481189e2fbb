//! A GatewayClass of ours.

use super::condition::{Condition, Problem, Reason, Type};
use super::features;
use super::verdict::ClassVerdict;
use crate::api::gatewayclasses::GatewayClass;

/// Why the class is not accepted.
pub(super) fn refusal(class: &GatewayClass) -> Option<Problem> {
    class.spec.parameters_ref.as_ref().map(|reference| {
        Problem::new(
            Reason::InvalidParameters,
            format!(
                "spec.parametersRef ({}/{} {:?}) is not supported on a GatewayClass; use spec.infrastructure.parametersRef of each Gateway",
                reference.group, reference.kind, reference.name
            ),
        )
    })
}

pub(super) fn verdict(class: &GatewayClass) -> ClassVerdict {
    let refusal = refusal(class);
    ClassVerdict {
        generation: class.metadata.generation.unwrap_or_default(),
        conditions: vec![
            Condition::unless(
                Type::Accepted,
                refusal.as_ref(),
                Reason::Accepted,
                "Gateways of this class are served",
            ),
            Condition::truth(
                Type::SupportedVersion,
                Reason::SupportedVersion,
                format!("Gateway API {} is supported", features::API_VERSION),
            ),
        ],
    }
}
