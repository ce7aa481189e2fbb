//! Namespaces, peers and clients for the tests, the demo and the benchmark.

pub mod admin;
pub mod backend;
pub mod certificate;
pub mod client;
pub mod datapath;
pub mod echo;
pub mod fake_agent;
pub mod frames;
pub mod load;
pub mod matrix;
pub mod netns;
pub mod node;
pub mod objects;
pub mod packet;
pub mod process;
pub mod room;
pub mod serving;
pub mod topology;
pub mod world;
