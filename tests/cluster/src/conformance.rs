//! The official conformance suite: how it is started, and what its output says.
