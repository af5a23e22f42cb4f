//! `docs/formats/vectors/archive.json`: an archive that anybody can open, and what must not be believed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::io::{Read, Write};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use watertight_custody::archive::{
    FORMAT, Head, Identities, Kind, Recipients, Seen, TableHead, Writer, read,
};
use watertight_terms::{Key, KeyRing, TenantId};

const PATH: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/formats/vectors/archive.json"
);
/// Known to everybody: nothing of anybody is encrypted to it.
const SECRET: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
const ROWS: [(&str, &[&str]); 2] = [
    (
        "studio.artists",
        &[
            r#"{"id": "a1", "name": "Änne \"Ann\" O'Dell"}"#,
            r#"{"id": "a2", "name": "line\nbreak"}"#,
        ],
    ),
    ("studio.holidays", &[]),
];

fn ring() -> KeyRing {
    KeyRing::single(1, Key::new([1; 32]))
}

/// The public half of the key that signs.
fn signer() -> String {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
    hex::encode(pair.public_key())
}

fn identities() -> Identities {
    Identities::parse(SECRET).unwrap()
}

fn head() -> Head {
    let tables = ROWS.iter().map(|(table, _)| TableHead {
        table: (*table).to_owned(),
        columns: ["id", "name"].map(str::to_owned).into(),
        is_restored: true,
    });
    Head {
        format: FORMAT.to_owned(),
        kind: Kind::Data,
        studio: TenantId("11111111-1111-4111-8111-111111111111".parse().unwrap()),
        made_at: "2026-11-27T12:00:00Z".parse().unwrap(),
        pair: "22222222-2222-4222-8222-222222222222".parse().unwrap(),
        schema: "00".repeat(32),
        tables: tables.collect(),
    }
}

fn written() -> Vec<u8> {
    let to = Recipients::parse(&identities().recipients()).unwrap();
    let mut writer = Writer::new(Vec::new(), &to, head()).unwrap();
    for (table, rows) in ROWS {
        writer.table(table).unwrap();
        for row in rows {
            writer.row(row).unwrap();
        }
    }
    writer.finish(None, &ring()).unwrap().0
}

/// As `age --decrypt | zstd --decompress` does it.
fn plain(archive: &[u8]) -> Option<String> {
    let identity: age::x25519::Identity = SECRET.parse().unwrap();
    let identities = [&identity as &dyn age::Identity];
    let decryptor = age::Decryptor::new(archive).ok()?;
    let mut stream = decryptor.decrypt(identities.into_iter()).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    String::from_utf8(zstd::decode_all(bytes.as_slice()).ok()?).ok()
}

fn sealed(text: &str) -> Vec<u8> {
    let to: age::x25519::Recipient = identities().recipients().trim().parse().unwrap();
    let to = [&to as &dyn age::Recipient];
    let encryptor = age::Encryptor::with_recipients(to.into_iter()).unwrap();
    let mut out = encryptor.wrap_output(Vec::new()).unwrap();
    out.write_all(&zstd::encode_all(text.as_bytes(), 3).unwrap())
        .unwrap();
    out.finish().unwrap()
}

/// Texts that decrypt, and are no archive of ours.
fn not_believed(text: &str) -> Vec<Value> {
    let lines: Vec<&str> = text.lines().collect();
    let joined = |lines: &[&str]| lines.join("\n") + "\n";
    let without = |at: usize| {
        let mut lines = lines.clone();
        lines.remove(at);
        joined(&lines)
    };
    let mut swapped = lines.clone();
    swapped.swap(2, 3);
    let last = lines.len() - 1;
    let cases = [
        ("a row is missing", without(2)),
        ("two rows changed places", joined(&swapped)),
        ("a table is missing", without(4)),
        ("it ends before its manifest", without(last)),
        ("something follows its manifest", format!("{text}={{}}\n")),
        ("its last line has no end", text.trim_end().to_owned()),
        ("a row is another", text.replacen("\"a2\"", "\"a3\"", 1)),
        (
            "its first line is of another studio",
            text.replacen("11111111-1111-4111", "33333333-3333-4333", 1),
        ),
        (
            "its manifest is not what was signed",
            text.replacen("\\\"rows\\\":2", "\\\"rows\\\":3", 1),
        ),
    ];
    let cases = cases.into_iter();
    cases
        .map(|(why, text)| json!({ "why": why, "text": text }))
        .collect()
}

/// The archive itself is drawn anew only where the one that is there is of something else.
fn vectors(golden: &Value) -> Value {
    let text = plain(&written()).unwrap();
    let kept = golden["archive"]
        .as_str()
        .filter(|kept| plain(&hex::decode(kept).unwrap()).as_ref() == Some(&text));
    let archive = kept.map_or_else(|| hex::encode(written()), str::to_owned);
    json!({
        "about": "`archive`, in hexadecimal digits, opens with `identity` to `text`; `signer` is the key of its manifest's signature",
        "identity": SECRET,
        "signer": signer(),
        "archive": archive,
        "not_believed": not_believed(&text),
        "text": text,
    })
}

#[test]
fn the_vectors_are_the_golden_ones() {
    let golden = std::fs::read_to_string(PATH).unwrap_or_default();
    let text = format!(
        "{:#}\n",
        vectors(&serde_json::from_str(&golden).unwrap_or_default())
    );
    if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        std::fs::write(PATH, &text).unwrap();
        return;
    }
    assert!(
        golden == text,
        "the writer does not make what `docs/formats/vectors/archive.json` has: archives that were written before could not be read"
    );
}

#[test]
fn the_reader_believes_the_vector_and_nothing_else() {
    let golden = std::fs::read_to_string(PATH).unwrap();
    let golden: Value = serde_json::from_str(&golden).unwrap();
    let archive = hex::decode(golden["archive"].as_str().unwrap()).unwrap();
    let mut seen = Vec::new();
    let manifest = read(archive.as_slice(), &identities(), &ring(), |one| {
        if let Seen::Row { table, row } = one {
            seen.push((table.to_owned(), row.to_owned()));
        }
        Ok(())
    });
    assert_eq!(manifest.unwrap().rows(), 2);
    let (table, rows) = ROWS[0];
    let expected = rows.iter().map(|row| (table.to_owned(), (*row).to_owned()));
    assert_eq!(seen, expected.collect::<Vec<_>>());
    let text = golden["text"].as_str().unwrap();
    let opened = |text: &str| read(sealed(text).as_slice(), &identities(), &ring(), |_| Ok(()));
    assert!(opened(text).is_ok());
    for case in golden["not_believed"].as_array().unwrap() {
        let of = case["text"].as_str().unwrap();
        assert_ne!(of, text, "{}", case["why"]);
        assert!(opened(of).is_err(), "{}", case["why"]);
    }
}
