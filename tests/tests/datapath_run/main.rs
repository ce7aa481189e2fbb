//! The eBPF programs: one packet at a time through BPF_PROG_TEST_RUN, and real traffic through a topology.
#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod delivery;
mod ingress;
mod node;
mod raw;
mod run;
mod xdp;
