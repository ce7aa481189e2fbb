//! Storms: agent and proxy die, are upgraded and replaced, and everything that can change does, while clients are at
//! work. Each failed request is accounted for; nothing may fail that is not named here.
#![expect(clippy::unwrap_used, reason = "a test ends where something unexpected is")]

mod agent;
mod broken;
mod change;
mod many;
mod mixed;
mod place;
mod proxy;
mod streams;
mod udp;

use std::time::Duration;

/// Long enough for hundreds of requests.
const CALM: Duration = Duration::from_millis(300);
