//! Constants that the agent sets when it loads the object.
#![expect(unsafe_code, reason = "the loader finds the symbol by its name")]

use aya_ebpf::Global;

/// 1 if the kernel assigns sockets of a reuseport group at TC ingress (6.6, commit 9c02bec95954). Before, TC counts
/// and filters, and `gh_lookup` selects.
#[unsafe(no_mangle)]
static ASSIGN_REUSEPORT: Global<u8> = Global::new(1);

#[inline(always)]
pub(crate) fn assigns_reuseport() -> bool {
    ASSIGN_REUSEPORT.load() != 0
}
