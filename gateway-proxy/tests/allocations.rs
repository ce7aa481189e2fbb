//! What a request must not allocate: counted, not timed.
#![expect(unsafe_code, reason = "a counting allocator is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use gateway_common::ir::{
    Hostname, HttpMatch, HttpRule, Limits, NameValueMatch, PathMatch, Route, RouteId, RouteRules, Timeouts,
    ValueMatch,
};
use gateway_proxy::hygiene;
use gateway_proxy::identity::ConnectionIdentity;
use gateway_proxy::path::{Policy, normalize};
use gateway_proxy::route::{HttpRoute, Request, Router};
use http::{HeaderMap, HeaderValue, Method};

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations<T>(act: impl FnOnce() -> T) -> (usize, T) {
    let before = COUNT.get();
    let result = act();
    (COUNT.get() - before, result)
}

/// One route with 5,000 prefixes on one host, each with a header and a query condition.
fn router() -> Router {
    let named = |name: &str| NameValueMatch { name: name.into(), value: ValueMatch::Exact("1".into()) };
    let rules = (0..5000).map(|at| HttpRule {
        name: None,
        matches: vec![HttpMatch {
            path: PathMatch::Prefix(format!("/api/service-{at}")),
            method: Some("GET".into()),
            headers: vec![named("x-version")],
            query: vec![named("q")],
        }],
        filters: vec![],
        backends: vec![],
        timeouts: Timeouts::default(),
    });
    let id = RouteId::new("HTTPRoute/n/a");
    let route = Route { id, created: 0, attachments: vec![], rules: RouteRules::Http(rules.collect()) };
    let mut problems = Vec::new();
    let compiled = HttpRoute::compile(&route, &mut problems).expect("an HTTP route");
    assert!(problems.is_empty(), "{problems:?}");
    let mut router = Router::default();
    router.insert(&compiled, &[Hostname::new("*.example.com")]);
    router
}

#[test]
fn matching_allocates_nothing() {
    let router = router();
    let mut headers = HeaderMap::new();
    headers.insert("x-version", "1".parse().unwrap());
    for (path, found) in [("/api/service-0/x", true), ("/api/service-4999/x", true), ("/api/none", false)] {
        let method = Method::GET;
        let query = Some("p=%20&q=1");
        let request =
            Request { authority: "A.Example.com:8080", method: &method, path, query, headers: &headers };
        let (count, result) = allocations(|| router.find(&request).is_some());
        assert_eq!((count, result), (0, found), "{path}");
    }
}

#[test]
fn a_normal_path_is_checked_in_place() {
    let (count, _) = allocations(|| normalize("/api/v1.2/.well-known/a%20b/", &Policy::default()));
    assert_eq!(count, 0);
}

#[test]
fn an_ordinary_request_is_admitted_without_a_copy() {
    let mut parts = http::Request::get("/a/b?c").body(()).unwrap().into_parts().0;
    // Values that share a buffer, as hyper makes them.
    parts.headers.insert("host", HeaderValue::from_static("a.example"));
    parts.headers.insert("accept", HeaderValue::from_static("*/*"));
    let identity = ConnectionIdentity::new("192.0.2.1:1234".parse().unwrap(), 80, false, &[]);
    let (limits, policy) = (Limits::default(), Policy::default());
    // Room for the identity's fields; a map that grows is the client's doing.
    parts.headers.reserve(16);
    let (count, result) = allocations(|| {
        let upgrade = hygiene::admit(&mut parts, &limits, &policy)?;
        identity.apply(&mut parts.headers, &[]);
        Ok::<_, hygiene::Reject>(upgrade)
    });
    assert_eq!((count, result), (0, Ok(None)));
}
