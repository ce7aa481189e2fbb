//! gateway-proxy.

fn main() {}
