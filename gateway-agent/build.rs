//! Builds gateway-ebpf for the BPF target; `datapath::object` embeds the result.

use aya_build::{Package, Toolchain, build_ebpf};

fn main() -> anyhow::Result<()> {
    // aya-build watches the programs' own crate only.
    println!("cargo:rerun-if-changed=../gateway-common/src/abi");
    build_ebpf(
        [Package { name: "gateway-ebpf", root_dir: "../gateway-ebpf", ..Package::default() }],
        Toolchain::default(),
    )
}
