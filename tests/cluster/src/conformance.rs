//! The official conformance suite, unmodified: how it is started, and what its output says.

mod class;
mod invocation;
mod outcome;
mod output;
mod run;

pub use class::supported_features;
pub use invocation::{Invocation, Room};
pub use outcome::Outcome;
pub use output::{Event, Verdict};
pub use run::run;
