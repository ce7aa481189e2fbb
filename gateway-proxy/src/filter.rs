//! Filters of a rule or of one backend, compiled: each changes the request's header, answers in the backend's place, or
//! changes the answer's header. A new filter is a variant of [`Prepared`], a file, and an arm in both matches below.
//!
//! The request's header is in the form that [`crate::hygiene`] leaves: the target is a path, the authority is in Host.

mod header_modifier;
mod path_modifier;
mod request_header_modifier;
mod request_mirror;
mod request_redirect;
mod response_header_modifier;
mod url_rewrite;

use gateway_common::ir::{BackendId, Filter};
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};

use request_header_modifier::RequestHeaderModifier;
use request_mirror::RequestMirror;
use request_redirect::RequestRedirect;
use response_header_modifier::ResponseHeaderModifier;
use url_rewrite::UrlRewrite;

/// What filters know of a request beside its header.
pub struct Context<'a> {
    /// `http` or `https`, as the client sees it.
    pub scheme: &'a str,
    /// That the client connected to: the listener's, or that of a trusted proxy before it.
    pub port: u16,
    /// Of the match that won: [`crate::route::Found::prefix`].
    pub prefix: Option<usize>,
    /// A random number below its argument.
    pub random: &'a dyn Fn(u32) -> u32,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Outcome<'f> {
    /// It goes to a backend, and copies to these.
    Continue { mirrors: Vec<&'f BackendId> },
    /// It is answered with this, through [`Filters::response`] like any answer.
    Respond(Response<()>),
}

#[derive(Debug)]
enum Prepared {
    RequestHeaderModifier(RequestHeaderModifier),
    ResponseHeaderModifier(ResponseHeaderModifier),
    RequestRedirect(RequestRedirect),
    UrlRewrite(UrlRewrite),
    RequestMirror(RequestMirror),
    /// The API: a filter that cannot be applied must not be skipped; its requests get an error.
    Unusable,
}

/// In the order in which they are written.
#[derive(Debug, Default)]
pub struct Filters(Box<[Prepared]>);

impl Filters {
    /// Problems are appended to `problems`, named below `field`.
    pub fn compile(filters: &[Filter], field: &str, problems: &mut Vec<String>) -> Self {
        let each = filters.iter().enumerate().map(|(at, filter)| {
            prepare(filter).unwrap_or_else(|problem| {
                problems.push(format!("{field}.filters[{at}].{problem}; its requests get 500"));
                Prepared::Unusable
            })
        });
        Self(each.collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Applies the request's side. Does not allocate when there is no filter.
    pub fn request(&self, parts: &mut Parts, context: &Context<'_>) -> Outcome<'_> {
        let mut mirrors = Vec::new();
        for filter in &self.0 {
            match filter {
                Prepared::RequestHeaderModifier(filter) => filter.apply(&mut parts.headers),
                Prepared::ResponseHeaderModifier(_) => {}
                Prepared::RequestRedirect(filter) => return Outcome::Respond(filter.respond(parts, context)),
                Prepared::UrlRewrite(filter) => filter.apply(parts, context),
                Prepared::RequestMirror(filter) => mirrors.extend(filter.choose(context)),
                Prepared::Unusable => return Outcome::Respond(empty(StatusCode::INTERNAL_SERVER_ERROR)),
            }
        }
        Outcome::Continue { mirrors }
    }

    /// Applies the answer's side.
    pub fn response(&self, headers: &mut HeaderMap) {
        for filter in &self.0 {
            match filter {
                Prepared::ResponseHeaderModifier(filter) => filter.apply(headers),
                Prepared::RequestHeaderModifier(_)
                | Prepared::RequestRedirect(_)
                | Prepared::UrlRewrite(_)
                | Prepared::RequestMirror(_)
                | Prepared::Unusable => {}
            }
        }
    }

    /// Every backend that some request may be mirrored to.
    pub fn mirrors(&self) -> impl Iterator<Item = &BackendId> {
        self.0.iter().filter_map(|filter| match filter {
            Prepared::RequestMirror(filter) => filter.backend(),
            Prepared::RequestHeaderModifier(_)
            | Prepared::ResponseHeaderModifier(_)
            | Prepared::RequestRedirect(_)
            | Prepared::UrlRewrite(_)
            | Prepared::Unusable => None,
        })
    }
}

/// The error begins with the field below the filter.
fn prepare(filter: &Filter) -> Result<Prepared, String> {
    Ok(match filter {
        Filter::RequestHeaderModifier(from) => {
            let filter = RequestHeaderModifier::new(from);
            Prepared::RequestHeaderModifier(filter.map_err(|error| format!("requestHeaderModifier.{error}"))?)
        }
        Filter::ResponseHeaderModifier(from) => {
            let filter = ResponseHeaderModifier::new(from);
            Prepared::ResponseHeaderModifier(
                filter.map_err(|error| format!("responseHeaderModifier.{error}"))?,
            )
        }
        Filter::RequestRedirect(from) => {
            let filter = RequestRedirect::new(from);
            Prepared::RequestRedirect(filter.map_err(|error| format!("requestRedirect.{error}"))?)
        }
        Filter::UrlRewrite(from) => {
            let filter = UrlRewrite::new(from);
            Prepared::UrlRewrite(filter.map_err(|error| format!("urlRewrite.{error}"))?)
        }
        Filter::RequestMirror(from) => Prepared::RequestMirror(RequestMirror::new(from)),
    })
}

fn empty(status: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests;
