//! A sealed value in an answer or a log.
use watertight_vault::Sealed;

fn main() {
    let sealed = Sealed::<String>::from_stored(Vec::new());
    println!("{sealed}");
    let _ = serde_json::to_string(&sealed);
}
