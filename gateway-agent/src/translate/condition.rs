//! Conditions before they have a time, and the reasons the Gateway API (and nobody else) gives names to.

use std::fmt;

/// A condition as translation sees it; [`super::status`] adds the generation and the time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condition {
    pub kind: Type,
    pub status: Status,
    pub reason: Reason,
    pub message: String,
}

impl Condition {
    pub fn truth(kind: Type, reason: Reason, message: impl Into<String>) -> Self {
        Self { kind, status: Status::True, reason, message: message.into() }
    }

    /// False for the problem's reason, or else True.
    pub fn unless(
        kind: Type,
        problem: Option<&Problem>,
        otherwise: Reason,
        message: impl Into<String>,
    ) -> Self {
        match problem {
            Some(problem) => {
                Self { kind, status: Status::False, reason: problem.reason, message: problem.message.clone() }
            }
            None => Self::truth(kind, otherwise, message),
        }
    }
}

/// Why something is not as its object wants it: names the field and the remedy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    pub reason: Reason,
    pub message: String,
}

impl Problem {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// One problem for several: a condition has one reason (the first), but its message names all.
    pub fn join(problems: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut problems = problems.into_iter();
        let mut first = problems.next()?;
        for problem in problems {
            if !first.message.contains(&problem.message) {
                first.message.push_str("; ");
                first.message.push_str(&problem.message);
            }
        }
        Some(first)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Status {
    True,
    False,
    Unknown,
}

/// Condition types that we write; a type that is not among them belongs to somebody else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Type {
    Accepted,
    Programmed,
    ResolvedRefs,
    Conflicted,
    OverlappingTLSConfig,
    PartiallyInvalid,
    SupportedVersion,
}

impl Type {
    pub const ALL: [Self; 7] = [
        Self::Accepted,
        Self::Programmed,
        Self::ResolvedRefs,
        Self::Conflicted,
        Self::OverlappingTLSConfig,
        Self::PartiallyInvalid,
        Self::SupportedVersion,
    ];
}

/// Reasons, spelled as the API spells them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reason {
    Accepted,
    AddressNotAssigned,
    AddressNotUsable,
    BackendNotFound,
    HostnameConflict,
    IncompatibleFilters,
    Invalid,
    InvalidCertificateRef,
    InvalidKind,
    InvalidParameters,
    InvalidRouteKinds,
    ListenersNotResolved,
    ListenersNotValid,
    NoMatchingListenerHostname,
    NoMatchingParent,
    NotAllowedByListeners,
    OverlappingHostnames,
    Pending,
    PortUnavailable,
    Programmed,
    ProtocolConflict,
    RefNotPermitted,
    ResolvedRefs,
    SupportedVersion,
    UnsupportedAddress,
    UnsupportedProtocol,
    UnsupportedValue,
}

macro_rules! display_as_debug {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self:?}")
            }
        }
    )*};
}

display_as_debug!(Status, Type, Reason);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_problems_have_the_first_reason_and_all_messages_once() {
        let a = Problem::new(Reason::RefNotPermitted, "a");
        let b = Problem::new(Reason::InvalidKind, "b");
        let joined = Problem::join([a.clone(), b, a]);
        assert_eq!(joined, Some(Problem::new(Reason::RefNotPermitted, "a; b")));
    }
}
