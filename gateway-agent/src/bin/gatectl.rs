//! gatectl.

fn main() {}
