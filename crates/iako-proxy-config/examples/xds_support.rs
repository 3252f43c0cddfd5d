//! Prints `docs/xds-support.md`:
//! `cargo run -p iako-proxy-config --example xds_support > docs/xds-support.md`.

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(iako_proxy_config::xds::support_page().as_bytes())
}
