//! Instructions that the verifier walks, per program, with the log pruned and with it.

use anyhow::{Context as _, Result, ensure};
use gatehouse_tests::datapath::{Datapath, Options};
use gateway_common::abi::names;

/// The level of aya-log that lets everything through.
const TRACE: u8 = 5;

struct Budget {
    program: &'static str,
    /// Verified instructions with the log off, as the agent loads it.
    silent: u32,
    /// The same at trace level.
    traced: u32,
}

/// The most of the kernels measured (6.1, 6.12, 6.18) plus a tenth: each prunes states in its own way.
const BUDGETS: [Budget; 3] = [
    Budget { program: names::PROGRAM_INGRESS, silent: 20_000, traced: 24_500 },
    Budget { program: names::PROGRAM_LOOKUP, silent: 220, traced: 4_800 },
    Budget { program: names::PROGRAM_XDP, silent: 1_500, traced: 4_000 },
];

/// Prints one line per program and way of loading it; fails beyond a budget.
pub(crate) fn check() -> Result<()> {
    println!("{:<12} {:<6} {:>9} {:>9} {:>8}", "program", "log", "verified", "budget", "bytes");
    let mut over = Vec::new();
    for (log, log_level) in [("off", 0), ("trace", TRACE)] {
        let mut datapath = Datapath::load(Options { log_level, ..Options::of_this_kernel() })
            .with_context(|| format!("with the log {log}"))?;
        for budget in &BUDGETS {
            let (verified, bytes) = cost(&mut datapath, budget.program)?;
            let most = if log_level == 0 { budget.silent } else { budget.traced };
            println!("{:<12} {log:<6} {verified:>9} {most:>9} {bytes:>8}", budget.program);
            if verified > most {
                over.push(format!("{} with the log {log}: {verified} of {most}", budget.program));
            }
        }
    }
    ensure!(over.is_empty(), "over the budget of verified instructions: {}", over.join(", "));
    Ok(())
}

/// Verified instructions, and bytes of the program after the verifier removed what is dead.
fn cost(datapath: &mut Datapath, program: &str) -> Result<(u32, u32)> {
    let info = datapath.info(program)?;
    let verified = info
        .verified_instruction_count()
        .context("the kernel does not count verified instructions; 5.16 is the first that does")?;
    Ok((verified, info.size_translated().unwrap_or(0)))
}
