//! The schema of `[watch]`, as it is committed.

use watertight_watch::Thresholds;

#[test]
fn the_schema_of_the_thresholds_is_the_golden_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/watch.schema.json");
    let schema = serde_json::to_value(schemars::schema_for!(Thresholds)).unwrap();
    if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        std::fs::write(path, format!("{schema:#}\n")).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    // Compared as values: the order of names is another when this crate is built alone.
    let golden: serde_json::Value = serde_json::from_str(&golden).unwrap_or_default();
    assert_eq!(
        golden, schema,
        "accept it with `cargo x accept` and read the difference"
    );
}
