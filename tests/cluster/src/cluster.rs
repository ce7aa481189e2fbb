//! The cluster: namespaces, the programs in them, and what happens to them.
//!
//! Nothing supervises it. A cluster is its folder, its namespaces, its cgroups and its processes; every command finds them
//! by the cluster's name and its record.

mod cgroup;
mod control_plane;
mod down;
pub mod hosts;
mod kubectl;
mod life;
mod lock;
mod network;
mod node;
mod options;
mod pki;
mod place;
mod process;
mod record;
mod running;
mod status;
mod up;

pub use down::down;
pub use kubectl::Kubectl;
pub use life::NodeState;
pub use options::{Cni, KubeProxy, Options};
pub use place::{NAMESPACES, Name, ROOT};
pub use process::Identity;
pub(crate) use process::without_proxies;
pub(crate) use running::programs_in_use;
pub use running::{Running, all, tail};
pub use status::{Node, Process, Status};
