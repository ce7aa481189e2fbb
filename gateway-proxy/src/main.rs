//! gateway-proxy: see `--help`.

use clap::Parser;
use gateway_proxy::config::Config;
use gateway_proxy::{app, telemetry};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    telemetry::start(&config.log)?;
    app::run(&config)
}
