#!/bin/sh
# RUSTC_WRAPPER of the image's build: where checkout, crates and toolchain are on this machine is not in the programs.
# A wrapper, because aya-build sets the flags of the eBPF programs itself. The last that fits counts: what is built may lie
# in the checkout or elsewhere.
cargo=${CARGO_HOME:-$HOME/.cargo}
for crates in "$cargo"/registry/src/*; do
  set -- "$@" "--remap-path-prefix=$crates=/crates"
done
exec "$@" "--remap-path-prefix=${RUSTUP_HOME:-$HOME/.rustup}/toolchains=/toolchains" \
  "--remap-path-prefix=$CHECKOUT=/gatehouse" "--remap-path-prefix=$BUILT=/gatehouse/target"
