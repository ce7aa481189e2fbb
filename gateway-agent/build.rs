//! Builds gateway-ebpf for the BPF target; `datapath::object` embeds the result.

use aya_build::{Package, Toolchain, build_ebpf};

fn main() -> anyhow::Result<()> {
    build_ebpf(
        [Package { name: "gateway-ebpf", root_dir: "../gateway-ebpf", ..Package::default() }],
        Toolchain::default(),
    )
}
