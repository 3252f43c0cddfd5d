//! The page of supported fields is the table's.

use std::path::PathBuf;

#[test]
fn the_committed_page_is_what_the_table_says() {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/xds-support.md");
    let committed = std::fs::read_to_string(&page).unwrap_or_default();
    let help = "run: cargo run -p iako-proxy-config --example xds_support > docs/xds-support.md";
    assert!(committed == iako_proxy_config::xds::support_page(), "{help}");
}
