//! The matches that share one host name and one path, in the order in which they are tried.

use std::sync::Arc;

use http::Method;

use super::header::HeaderMatch;
use super::pattern::Pattern;
use super::query::QueryMatch;
use super::rank::Rank;
use super::{Found, Request, Rule};

/// One match of one rule.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) rank: Rank,
    pub(super) path: Path,
    pub(super) method: Option<Method>,
    pub(super) headers: Box<[HeaderMatch]>,
    pub(super) query: Box<[QueryMatch]>,
    pub(super) rule: Arc<Rule>,
}

#[derive(Debug)]
pub(super) enum Path {
    Exact(Arc<str>),
    /// Without a trailing slash, so that `/` is empty.
    Prefix(Arc<str>),
    Regex(Pattern),
}

impl Candidate {
    /// Everything but the path.
    fn accepts(&self, request: &Request<'_>) -> bool {
        self.method.as_ref().is_none_or(|method| method == request.method)
            && self.headers.iter().all(|header| header.accepts(request))
            && self.query.iter().all(|parameter| parameter.accepts(request.query.unwrap_or_default()))
    }

    pub(super) fn found(&self) -> Found<'_> {
        let prefix = match &self.path {
            Path::Prefix(prefix) => Some(prefix.len()),
            Path::Exact(_) | Path::Regex(_) => None,
        };
        Found { rule: &self.rule, match_index: self.rank.index(), prefix }
    }
}

/// Ordered by rank. A slice, because it is read on each request and changed with the configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot(Arc<[Arc<Candidate>]>);

impl Slot {
    pub(super) fn insert(&mut self, candidate: &Arc<Candidate>) {
        match self.position(candidate) {
            Ok(at) => self.splice(at, at + 1, Some(candidate)),
            Err(at) => self.splice(at, at, Some(candidate)),
        }
    }

    pub(super) fn remove(&mut self, candidate: &Candidate) {
        if let Ok(at) = self.position(candidate) {
            self.splice(at, at + 1, None);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn find(&self, request: &Request<'_>) -> Option<&Candidate> {
        self.0.iter().map(|candidate| &**candidate).find(|candidate| candidate.accepts(request))
    }

    /// As [`Self::find`], for a slot of regular expressions.
    pub(super) fn find_by_pattern(&self, request: &Request<'_>) -> Option<&Candidate> {
        let on_path = |candidate: &&Candidate| match &candidate.path {
            Path::Regex(pattern) => pattern.is_match(request.path),
            Path::Exact(_) | Path::Prefix(_) => false,
        };
        // The conditions first: they cost less than an expression.
        let accepted =
            self.0.iter().map(|candidate| &**candidate).filter(|candidate| candidate.accepts(request));
        accepted.into_iter().find(on_path)
    }

    fn position(&self, candidate: &Candidate) -> Result<usize, usize> {
        self.0.binary_search_by(|other| other.rank.cmp(&candidate.rank))
    }

    fn splice(&mut self, start: usize, end: usize, with: Option<&Arc<Candidate>>) {
        self.0 = self.0[..start].iter().chain(with).chain(&self.0[end..]).cloned().collect();
    }
}
