//! What this kernel can do, found by trying where that can be tried: distributions port features back.

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

/// By the version: the helper refuses at run time only, and stable kernels took over the functions around the change
/// (kernel commit 9c02bec95954) without the change. A kernel that ported it back loses nothing, `sk_lookup` selects there.
fn assigns_reuseport() -> bool {
    KernelVersion::current().is_ok_and(|kernel| kernel >= KernelVersion::new(6, 6, 0))
}
