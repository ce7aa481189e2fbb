//! The proxy's own log.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

/// Libraries that warn of what a peer sent: any client could fill the log with it, and the access log and the metrics
/// already count it. A filter that names one of them has the last word.
const QUIET: &str = "h2=error,rustls=error";

/// Starts logging to stderr.
pub fn start(filter: &str) -> anyhow::Result<()> {
    let filter = parse(filter)?;
    // A reader of stderr that goes away must not end the proxy, which eprintln in an error path would.
    let mut builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    if !std::io::stderr().is_terminal() {
        // On a terminal NO_COLOR decides.
        builder = builder.with_ansi(false);
    }
    builder.try_init().map_err(|error| anyhow::anyhow!("starting the log: {error}"))
}

fn parse(filter: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(format!("{QUIET},{filter}")).context("--log")
}

#[cfg(test)]
mod tests {
    use tracing::warn;
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

    use super::*;

    struct Heard(std::sync::mpsc::Sender<String>);

    impl<S: tracing::Subscriber> Layer<S> for Heard {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            self.0.send(event.metadata().target().to_owned()).expect("the test listens");
        }
    }

    fn heard(filter: &str) -> Vec<String> {
        let (sender, receiver) = std::sync::mpsc::channel();
        let subscriber = tracing_subscriber::registry().with(parse(filter).unwrap()).with(Heard(sender));
        tracing::subscriber::with_default(subscriber, || {
            warn!(target: "h2::proto::ping_pong", "what a client sent");
            warn!(target: "rustls::msgs::handshake", "what a client sent");
            warn!(target: "gateway_proxy::control", "what the proxy says");
        });
        receiver.try_iter().collect()
    }

    #[test]
    fn a_peer_does_not_write_the_log() {
        assert_eq!(heard("info"), ["gateway_proxy::control"]);
        assert_eq!(heard("debug,h2=warn"), ["h2::proto::ping_pong", "gateway_proxy::control"]);
        assert_eq!(heard("off"), [""; 0]);
        assert_eq!(heard(""), [""; 0]);
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        assert!(parse("gateway_proxy=loud").is_err());
    }
}
