//! Why a request or connection ended as it did. The access log, the metrics and `docs/access-log.md` use these words.

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Exactly one of these belongs to each finished request, connection and UDP session.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Reason {
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// One sentence, the same that the documentation has.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),+).trim_ascii(),)+
                }
            }
        }
    };
}

reasons! {
    /// The backend's answer was passed on whole, the connection ended with both sides done, or a UDP session that was answered went idle.
    Ok = "ok",
    /// A filter of the rule answered (RequestRedirect).
    Filter = "filter",
    /// No listener or route of the Gateway wants this host, path, method or header (404), or this TLS server name (closed).
    RouteNotFound = "route_not_found",
    /// The rule has no backend that exists and may be used (500; TCP and UDP: refused).
    NoBackend = "no_backend",
    /// The chosen backend has no endpoint that is ready or draining (503; TCP and UDP: refused).
    NoEndpoint = "no_endpoint",
    /// Every endpoint that was tried refused the connection or was unreachable (503; TCP: reset).
    ConnectFailed = "connect_failed",
    /// Every endpoint that was tried did not answer within the connect timeout (503; TCP: reset).
    ConnectTimeout = "connect_timeout",
    /// The backend closed or reset the connection before its answer was whole (502, or the answer is cut short).
    UpstreamReset = "upstream_reset",
    /// The backend's answer was not valid HTTP (502).
    UpstreamInvalid = "upstream_invalid",
    /// The rule's request timeout ran out (504, or the answer is cut short).
    RequestTimeout = "request_timeout",
    /// The rule's backendRequest timeout ran out (504, or the answer is cut short).
    BackendTimeout = "backend_timeout",
    /// The client did not send its request header in time (closed).
    HeaderTimeout = "header_timeout",
    /// The client stopped sending its request body (408).
    BodyTimeout = "body_timeout",
    /// Nothing moved in either direction for the idle timeout (requests: 504, or the answer is cut short; UDP: and nothing had been answered).
    IdleTimeout = "idle_timeout",
    /// The client went away before the answer was whole, or reset its connection.
    ClientAbort = "client_abort",
    /// The request header has too many bytes or fields (431), or its target is too long (414).
    HeaderTooLarge = "header_too_large",
    /// The request is malformed, ambiguous or not allowed (400, 405, 417; HTTP/2: GOAWAY); `detail` says what.
    BadRequest = "bad_request",
    /// The host is not one that this TLS connection may ask for (421).
    Misdirected = "misdirected",
    /// The PROXY protocol header is missing, malformed or from a peer that is not trusted (closed).
    ProxyHeader = "proxy_header",
    /// The TLS handshake failed; `detail` says why.
    TlsHandshake = "tls_handshake",
    /// The TLS handshake was not finished in time.
    TlsTimeout = "tls_timeout",
    /// A limit of the Gateway was reached (connections: closed, also those that flood HTTP/2 frames or resets; UDP: dropped).
    Limit = "limit",
    /// The endpoint of the UDP session is no longer configured, or its route sends elsewhere; the client's next datagram begins a new session.
    EndpointGone = "endpoint_gone",
    /// The UDP session made room for a newer one.
    Evicted = "evicted",
    /// The listener was removed or the proxy was replaced, and the drain deadline came first.
    Drain = "drain",
    /// The proxy could not go on (out of descriptors or memory, or a defect); `detail` says why.
    Internal = "internal",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_are_their_index() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
    }

    #[test]
    fn the_documentation_has_every_reason_and_no_other() {
        let page = include_str!("../../../docs/access-log.md");
        let documented: Vec<_> = page
            .lines()
            .skip_while(|line| *line != "## Reasons")
            .filter(|line| line.starts_with("| `"))
            .map(str::to_owned)
            .collect();
        let wanted: Vec<_> =
            Reason::ALL.iter().map(|r| format!("| `{}` | {} |", r.as_str(), r.meaning())).collect();
        assert_eq!(documented, wanted);
    }
}
