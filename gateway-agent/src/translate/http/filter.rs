//! Filters of a rule and of a backend: the API spells them twice, with types of the same shape.

use std::collections::BTreeSet;

use gateway_common::ir::filter::FRAMING;
use gateway_common::ir::{Filter, HeaderEdit, HeaderModifier, Mirror, PathModifier, Redirect, Rewrite};

use super::{header, path};
use crate::api::httproutes as api;
use crate::translate::backend_ref::{self, Target};
use crate::translate::condition::{Problem, Reason};
use crate::translate::hostname;
use crate::translate::rules::Rules;

/// One filter without its type's name.
enum Spec<'a> {
    RequestHeaders(HeaderModifier),
    ResponseHeaders(HeaderModifier),
    Redirect {
        scheme: Option<&'static str>,
        hostname: Option<&'a str>,
        port: Option<i32>,
        path: Option<Path<'a>>,
        status: Option<i64>,
    },
    Rewrite {
        hostname: Option<&'a str>,
        path: Option<Path<'a>>,
    },
    Mirror {
        target: Target,
        percent: Option<i32>,
        fraction: Option<(i32, Option<i32>)>,
    },
    /// The type is set, but what belongs to it is not.
    Empty(&'static str),
    Unsupported(&'static str),
}

struct Path<'a> {
    full: bool,
    value: Option<&'a str>,
}

macro_rules! modifier {
    ($spec:expr) => {
        HeaderModifier {
            set: $spec
                .set
                .iter()
                .flatten()
                .map(|e| HeaderEdit { name: e.name.clone(), value: e.value.clone() })
                .collect(),
            add: $spec
                .add
                .iter()
                .flatten()
                .map(|e| HeaderEdit { name: e.name.clone(), value: e.value.clone() })
                .collect(),
            remove: $spec.remove.clone().unwrap_or_default(),
        }
    };
}

macro_rules! read {
    ($name:ident, $filter:ident, $kind:ident, $redirect_path:ident, $scheme:ident, $rewrite_path:ident) => {
        fn $name(filter: &api::$filter) -> Spec<'_> {
            use api::{
                $kind as Type, $redirect_path as RedirectPath, $rewrite_path as RewritePath,
                $scheme as Scheme,
            };
            match filter.r#type {
                Type::RequestHeaderModifier => match &filter.request_header_modifier {
                    Some(spec) => Spec::RequestHeaders(modifier!(spec)),
                    None => Spec::Empty("requestHeaderModifier"),
                },
                Type::ResponseHeaderModifier => match &filter.response_header_modifier {
                    Some(spec) => Spec::ResponseHeaders(modifier!(spec)),
                    None => Spec::Empty("responseHeaderModifier"),
                },
                Type::RequestRedirect => match &filter.request_redirect {
                    Some(spec) => Spec::Redirect {
                        scheme: spec.scheme.as_ref().map(|scheme| match scheme {
                            Scheme::Http => "http",
                            Scheme::Https => "https",
                        }),
                        hostname: spec.hostname.as_deref(),
                        port: spec.port,
                        path: spec.path.as_ref().map(|path| match path.r#type {
                            RedirectPath::ReplaceFullPath => {
                                Path { full: true, value: path.replace_full_path.as_deref() }
                            }
                            RedirectPath::ReplacePrefixMatch => {
                                Path { full: false, value: path.replace_prefix_match.as_deref() }
                            }
                        }),
                        status: spec.status_code,
                    },
                    None => Spec::Empty("requestRedirect"),
                },
                Type::UrlRewrite => match &filter.url_rewrite {
                    Some(spec) => Spec::Rewrite {
                        hostname: spec.hostname.as_deref(),
                        path: spec.path.as_ref().map(|path| match path.r#type {
                            RewritePath::ReplaceFullPath => {
                                Path { full: true, value: path.replace_full_path.as_deref() }
                            }
                            RewritePath::ReplacePrefixMatch => {
                                Path { full: false, value: path.replace_prefix_match.as_deref() }
                            }
                        }),
                    },
                    None => Spec::Empty("urlRewrite"),
                },
                Type::RequestMirror => match &filter.request_mirror {
                    Some(spec) => Spec::Mirror {
                        target: Target::from(&spec.backend_ref),
                        percent: spec.percent,
                        fraction: spec.fraction.as_ref().map(|f| (f.numerator, f.denominator)),
                    },
                    None => Spec::Empty("requestMirror"),
                },
                Type::ExtensionRef => Spec::Unsupported("ExtensionRef"),
                Type::Cors => Spec::Unsupported("CORS"),
                Type::ExternalAuth => Spec::Unsupported("ExternalAuth"),
            }
        }
    };
}

read!(
    read_of_rule,
    HttpRouteRulesFilters,
    HttpRouteRulesFiltersType,
    HttpRouteRulesFiltersRequestRedirectPathType,
    HttpRouteRulesFiltersRequestRedirectScheme,
    HttpRouteRulesFiltersUrlRewritePathType
);
read!(
    read_of_backend,
    HttpRouteRulesBackendRefsFilters,
    HttpRouteRulesBackendRefsFiltersType,
    HttpRouteRulesBackendRefsFiltersRequestRedirectPathType,
    HttpRouteRulesBackendRefsFiltersRequestRedirectScheme,
    HttpRouteRulesBackendRefsFiltersUrlRewritePathType
);

/// `prefix_only`: every match of the rule has a path prefix.
pub(super) fn of_rule(
    rules: &mut Rules<'_, '_>,
    field: &str,
    filters: &[api::HttpRouteRulesFilters],
    prefix_only: bool,
    has_backends: bool,
) -> Result<Vec<Filter>, Problem> {
    let filters = all(rules, field, filters.iter().map(read_of_rule), prefix_only)?;
    if has_backends && filters.iter().any(|f| matches!(f, Filter::RequestRedirect(_))) {
        return Err(incompatible(format!(
            "{field} has a RequestRedirect filter and backendRefs; remove one of the two"
        )));
    }
    Ok(filters)
}

pub(super) fn of_backend(
    rules: &mut Rules<'_, '_>,
    field: &str,
    filters: &[api::HttpRouteRulesBackendRefsFilters],
    prefix_only: bool,
) -> Result<Vec<Filter>, Problem> {
    let filters = all(rules, field, filters.iter().map(read_of_backend), prefix_only)?;
    if filters.iter().any(|f| matches!(f, Filter::RequestRedirect(_))) {
        return Err(unsupported(format!(
            "{field}.filters: RequestRedirect is not supported here; use the rule's filters"
        )));
    }
    Ok(filters)
}

fn all<'a>(
    rules: &mut Rules<'_, '_>,
    field: &str,
    specs: impl Iterator<Item = Spec<'a>>,
    prefix_only: bool,
) -> Result<Vec<Filter>, Problem> {
    let mut filters = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, spec) in specs.enumerate() {
        let field = format!("{field}.filters[{index}]");
        let filter = one(rules, &field, spec, prefix_only)?;
        let name = name(&filter);
        if !seen.insert(name) && name != "RequestMirror" {
            return Err(incompatible(format!("{field}: a second {name} filter; merge it with the first")));
        }
        filters.push(filter);
    }
    if seen.contains("RequestRedirect") && seen.contains("URLRewrite") {
        return Err(incompatible(format!(
            "{field}.filters has both RequestRedirect and URLRewrite; remove one of the two"
        )));
    }
    Ok(filters)
}

const fn name(filter: &Filter) -> &'static str {
    match filter {
        Filter::RequestHeaderModifier(_) => "RequestHeaderModifier",
        Filter::ResponseHeaderModifier(_) => "ResponseHeaderModifier",
        Filter::RequestRedirect(_) => "RequestRedirect",
        Filter::UrlRewrite(_) => "URLRewrite",
        Filter::RequestMirror(_) => "RequestMirror",
    }
}

fn unsupported(message: String) -> Problem {
    Problem::new(Reason::UnsupportedValue, message)
}

fn incompatible(message: String) -> Problem {
    Problem::new(Reason::IncompatibleFilters, message)
}

fn one(rules: &mut Rules<'_, '_>, field: &str, spec: Spec<'_>, prefix_only: bool) -> Result<Filter, Problem> {
    Ok(match spec {
        Spec::RequestHeaders(modifier) => {
            Filter::RequestHeaderModifier(for_requests(&format!("{field}.requestHeaderModifier"), modifier)?)
        }
        Spec::ResponseHeaders(modifier) => {
            Filter::ResponseHeaderModifier(checked(&format!("{field}.responseHeaderModifier"), modifier)?)
        }
        Spec::Redirect { scheme, hostname, port, path, status } => {
            let field = format!("{field}.requestRedirect");
            Filter::RequestRedirect(Redirect {
                scheme: scheme.map(str::to_owned),
                hostname: precise(&field, hostname)?,
                port: port.map(|port| port_number(&field, port)).transpose()?,
                path: path.map(|path| modifier(&field, &path, prefix_only)).transpose()?,
                status: status_code(&field, status)?,
            })
        }
        Spec::Rewrite { hostname, path } => {
            let field = format!("{field}.urlRewrite");
            Filter::UrlRewrite(Rewrite {
                hostname: precise(&field, hostname)?,
                path: path.map(|path| modifier(&field, &path, prefix_only)).transpose()?,
            })
        }
        Spec::Mirror { target, percent, fraction } => {
            let field = format!("{field}.requestMirror");
            let (numerator, denominator) = share(&field, percent, fraction)?;
            let backend = backend_ref::resolve(rules, &format!("{field}.backendRef"), &target);
            Filter::RequestMirror(Mirror { backend, numerator, denominator })
        }
        Spec::Empty(name) => {
            return Err(unsupported(format!("{field}.{name} is missing; the filter's type asks for it")));
        }
        Spec::Unsupported(name) => {
            return Err(unsupported(format!("{field}: filter {name} is not supported; remove it")));
        }
    })
}

/// Of equivalent names the first counts.
/// Host can be replaced; without it, or with two of them, a request is none (RFC 9112 §3.2).
fn for_requests(field: &str, modifier: HeaderModifier) -> Result<HeaderModifier, Problem> {
    let is_host = |name: &str| name.eq_ignore_ascii_case("host");
    if modifier.add.iter().any(|edit| is_host(&edit.name)) || modifier.remove.iter().any(|name| is_host(name))
    {
        return Err(unsupported(format!("{field} adds or removes Host, which can only be set; use set")));
    }
    checked(field, modifier)
}

fn checked(field: &str, modifier: HeaderModifier) -> Result<HeaderModifier, Problem> {
    let edits = |list: &str, edits: Vec<HeaderEdit>| {
        let mut seen = BTreeSet::new();
        let mut kept = Vec::with_capacity(edits.len());
        for (index, edit) in edits.into_iter().enumerate() {
            if !header::is_name(&edit.name) {
                return Err(unsupported(format!(
                    "{field}.{list}[{index}].name {:?} is no header name",
                    edit.name
                )));
            }
            free(&format!("{field}.{list}[{index}].name"), &edit.name)?;
            if !header::is_value(&edit.value) {
                return Err(unsupported(format!(
                    "{field}.{list}[{index}].value has control characters; remove them"
                )));
            }
            if seen.insert(edit.name.to_ascii_lowercase()) {
                kept.push(edit);
            }
        }
        Ok(kept)
    };
    if let Some(name) = modifier.remove.iter().find(|name| !header::is_name(name)) {
        return Err(unsupported(format!("{field}.remove names {name:?}, which is no header name")));
    }
    for (index, name) in modifier.remove.iter().enumerate() {
        free(&format!("{field}.remove[{index}]"), name)?;
    }
    Ok(HeaderModifier {
        set: edits("set", modifier.set)?,
        add: edits("add", modifier.add)?,
        remove: modifier.remove,
    })
}

/// What delimits the message is not for filters.
fn free(field: &str, name: &str) -> Result<(), Problem> {
    if FRAMING.iter().any(|framing| framing.eq_ignore_ascii_case(name)) {
        return Err(unsupported(format!(
            "{field} {name:?} delimits the message or governs its connection, which is the proxy's own; leave it out"
        )));
    }
    Ok(())
}

fn precise(field: &str, text: Option<&str>) -> Result<Option<String>, Problem> {
    let Some(text) = text else { return Ok(None) };
    match hostname::parse_precise(text) {
        Some(name) => Ok(Some(name)),
        None => Err(unsupported(format!("{field}.hostname {text:?} is no DNS name"))),
    }
}

fn port_number(field: &str, port: i32) -> Result<u16, Problem> {
    u16::try_from(port)
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| unsupported(format!("{field}.port {port} is no port number; use 1 to 65535")))
}

fn status_code(field: &str, status: Option<i64>) -> Result<u16, Problem> {
    match status.unwrap_or(302) {
        301 => Ok(301),
        302 => Ok(302),
        303 => Ok(303),
        307 => Ok(307),
        308 => Ok(308),
        other => Err(unsupported(format!(
            "{field}.statusCode {other} is not supported; use 301, 302, 303, 307 or 308"
        ))),
    }
}

fn modifier(field: &str, path: &Path<'_>, prefix_only: bool) -> Result<PathModifier, Problem> {
    let name = if path.full { "replaceFullPath" } else { "replacePrefixMatch" };
    let Some(value) = path.value else {
        return Err(unsupported(format!("{field}.path.{name} is missing; the path's type asks for it")));
    };
    if !header::is_value(value) || value.contains(['#', '?', ' ', '\t']) {
        return Err(unsupported(format!("{field}.path.{name} {value:?} is no path")));
    }
    if path.full {
        return Ok(PathModifier::ReplaceFull(rooted(value)));
    }
    if !prefix_only {
        return Err(unsupported(format!(
            "{field}.path.{name} needs matches of type PathPrefix, and this rule has another; use replaceFullPath"
        )));
    }
    Ok(PathModifier::ReplacePrefix(path::trim(&rooted(value))))
}

fn rooted(value: &str) -> String {
    if value.starts_with('/') { value.to_owned() } else { format!("/{value}") }
}

fn share(
    field: &str,
    percent: Option<i32>,
    fraction: Option<(i32, Option<i32>)>,
) -> Result<(u32, u32), Problem> {
    let (numerator, denominator) = match (percent, fraction) {
        (None, None) => (100, 100),
        (Some(percent), None) => (percent, 100),
        (None, Some((numerator, denominator))) => (numerator, denominator.unwrap_or(100)),
        (Some(_), Some(_)) => {
            return Err(unsupported(format!("{field} has both percent and fraction; remove one of the two")));
        }
    };
    match (u32::try_from(numerator), u32::try_from(denominator)) {
        (Ok(n), Ok(d)) if d > 0 && n <= d => Ok((n, d)),
        _ => Err(unsupported(format!(
            "{field}: {numerator} of {denominator} requests cannot be mirrored; the first must be 0 or more and not above the second"
        ))),
    }
}
