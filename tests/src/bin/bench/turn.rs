//! One turn: what a load costs one contender.

use std::time::Duration;

use anyhow::Result;

use crate::contender::{Contender, Place};
use crate::cpu;
use crate::figures::Sample;
use crate::generator::{self, Load};

/// After a warm-up of a second.
pub(crate) fn take(place: &Place, contender: &Contender<'_>, load: Load, turn: Duration) -> Result<Sample> {
    let address = contender.address(load.tls());
    generator::run(&place.topology.client, load, address, Duration::from_secs(1))?;
    let processes = contender.processes()?;
    let before = cpu::used(&processes)?;
    let measured = generator::run(&place.topology.client, load, address, turn)?;
    let used = cpu::used(&processes)?.saturating_sub(before);
    Ok(Sample {
        cpu_us: used.as_secs_f64() * 1e6 / measured.requests as f64,
        requests_per_second: measured.requests as f64 / measured.elapsed.as_secs_f64(),
        p99_us: measured.p99.as_secs_f64() * 1e6,
    })
}
