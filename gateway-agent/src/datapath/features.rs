//! What this kernel can do, found by trying, not by its version alone: distributions port features back.

use std::fs::File;
use std::io::{BufRead, BufReader};

use aya::programs::{ProgramType, SchedClassifier, TcAttachType};
use aya::sys::is_program_supported;
use aya::util::KernelVersion;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Features {
    /// Programs at TC in an explicit order, with links (6.6).
    pub tcx: bool,
    /// Selection of the listening socket in the stack (5.9). Without it nothing works.
    pub sk_lookup: bool,
    /// TC may assign a socket of a reuseport group (6.6). Without it `sk_lookup` chooses for every client.
    pub assign_reuseport: bool,
}

impl Features {
    pub fn probe() -> Self {
        Self {
            // A query that the kernel does not know is EINVAL; `lo` is in every namespace.
            tcx: SchedClassifier::query_tcx("lo", TcAttachType::Ingress).is_ok(),
            sk_lookup: is_program_supported(ProgramType::SkLookup).unwrap_or(false),
            assign_reuseport: assigns_reuseport(),
        }
    }
}

/// The helper's behaviour shows at run time only, but the same series gave the kernel a function of its own name
/// (kernel commits 0f495f761722 and 9c02bec95954).
fn assigns_reuseport() -> bool {
    let by_version = KernelVersion::current().is_ok_and(|kernel| kernel >= KernelVersion::new(6, 6, 0));
    by_version || has_symbol("inet_lookup_reuseport")
}

fn has_symbol(name: &str) -> bool {
    let Ok(file) = File::open("/proc/kallsyms") else { return false };
    BufReader::new(file)
        .lines()
        .map_while(Result::ok)
        .any(|line| line.split_ascii_whitespace().nth(2) == Some(name))
}
