//! gateway-agent.

fn main() {}
