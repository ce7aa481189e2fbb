//! Names of maps and programs in the object file; pins carry the same names. The kernel cuts names at 15 characters.

pub const VIPS: &str = "VIPS";
pub const PORTS: &str = "PORTS";
pub const SOCKS: &str = "SOCKS";
pub const PORT_STATS: &str = "PORT_STATS";
pub const REASONS: &str = "REASONS";
pub const DENY: &str = "DENY";

/// TC ingress.
pub const PROGRAM_INGRESS: &str = "gh_ingress";
/// `sk_lookup` of the node's network namespace.
pub const PROGRAM_LOOKUP: &str = "gh_lookup";
/// XDP, optional.
pub const PROGRAM_XDP: &str = "gh_xdp";
pub const PROGRAMS: [&str; 3] = [PROGRAM_INGRESS, PROGRAM_LOOKUP, PROGRAM_XDP];

/// Maps that are pinned and outlive the agent, in the order they are listed to people.
pub const PINNED_MAPS: [&str; 6] = [VIPS, PORTS, SOCKS, PORT_STATS, REASONS, DENY];

/// `u8` of the object, set at load: 1 when the kernel's `bpf_sk_assign` takes sockets of a reuseport group (6.6, kernel
/// commit 9c02bec95954). 0: TC counts and filters, `sk_lookup` chooses.
pub const GLOBAL_ASSIGN_REUSEPORT: &str = "ASSIGN_REUSEPORT";
/// `u8` of aya-log, set at load: the highest level that is compiled in, 0 for none.
pub const GLOBAL_LOG_LEVEL: &str = "AYA_LOG_LEVEL";
