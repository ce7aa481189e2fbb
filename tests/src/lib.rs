//! Namespaces, peers and clients for the tests, the demo and the benchmark.

pub mod datapath;
pub mod netns;
pub mod topology;
