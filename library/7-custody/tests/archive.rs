//! Archives as bytes: what is not whole, not for us or not signed by us is refused, wherever it was touched.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::sync::LazyLock;

use proptest::prelude::*;
use watertight_custody::archive::{
    ArchiveFault, FORMAT, Head, Identities, Kind, Manifest, Recipients, Seen, TableHead, Writer,
    read,
};
use watertight_terms::{Key, KeyRing, TenantId};

const SECRET: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";

fn ring(number: u8) -> KeyRing {
    KeyRing::single(1, Key::new([number; 32]))
}

fn identities() -> Identities {
    Identities::parse(SECRET).unwrap()
}

fn head(tables: &[&str]) -> Head {
    let tables = tables.iter().map(|table| TableHead {
        table: (*table).to_owned(),
        columns: vec!["id".to_owned()],
        is_restored: true,
    });
    Head {
        format: FORMAT.to_owned(),
        kind: Kind::Data,
        studio: TenantId("11111111-1111-4111-8111-111111111111".parse().unwrap()),
        made_at: "2026-11-27T12:00:00Z".parse().unwrap(),
        pair: "22222222-2222-4222-8222-222222222222".parse().unwrap(),
        schema: "00".to_owned(),
        tables: tables.collect(),
    }
}

/// Two tables, larger than the chunks in which age encrypts.
fn rows(table: &str) -> Vec<String> {
    let row = |n: u32| {
        format!(
            "{{\"id\":\"{table}-{n}\",\"said\":\"{:x}\"}}",
            n.wrapping_mul(2_654_435_761)
        )
    };
    (0..9_000).map(row).collect()
}

fn archive(number: u8) -> Vec<u8> {
    let to = Recipients::parse(&identities().recipients()).unwrap();
    let mut writer = Writer::new(Vec::new(), &to, head(&["a", "b"])).unwrap();
    for table in ["a", "b"] {
        writer.table(table).unwrap();
        for row in rows(table) {
            writer.row(&row).unwrap();
        }
    }
    writer
        .finish(Some("note".to_owned()), &ring(number))
        .unwrap()
        .0
}

fn opened(bytes: &[u8]) -> Result<Manifest, ArchiveFault> {
    read(bytes, &identities(), &ring(1), |_| Ok(()))
}

static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| archive(1));

#[test]
fn what_was_written_is_read() {
    let mut seen = Vec::new();
    let manifest = read(WHOLE.as_slice(), &identities(), &ring(1), |one| {
        if let Seen::Row { table, row } = one {
            seen.push((table.to_owned(), row.to_owned()));
        }
        Ok(())
    })
    .unwrap();
    let expected = ["a", "b"].map(|table| {
        rows(table)
            .into_iter()
            .map(move |row| (table.to_owned(), row))
    });
    assert_eq!(seen, expected.into_iter().flatten().collect::<Vec<_>>());
    assert_eq!(manifest.rows(), 18_000);
    assert!(WHOLE.len() > 65_536, "more than one chunk");
    assert!(WHOLE.starts_with(b"age-encryption.org/v1\n"));
}

#[test]
fn another_identity_and_another_signer_are_refused() {
    let other = Identities::generate();
    let refused = read(WHOLE.as_slice(), &other, &ring(1), |_| Ok(()));
    assert!(matches!(refused, Err(ArchiveFault::NotForUs)));
    let none = Identities::parse("").unwrap();
    let refused = read(WHOLE.as_slice(), &none, &ring(1), |_| Ok(()));
    assert!(matches!(refused, Err(ArchiveFault::NotForUs)));
    assert!(matches!(opened(&archive(2)), Err(ArchiveFault::Unsigned)));
    assert!(opened(&WHOLE).is_ok());
}

/// Plaintext that somebody who knows the recipients put together of what we signed.
fn sealed(text: &str) -> Vec<u8> {
    use std::io::Write;
    let to: age::x25519::Recipient = identities().recipients().trim().parse().unwrap();
    let to = [&to as &dyn age::Recipient];
    let encryptor = age::Encryptor::with_recipients(to.into_iter()).unwrap();
    let mut out = encryptor.wrap_output(Vec::new()).unwrap();
    out.write_all(&zstd::encode_all(text.as_bytes(), 3).unwrap())
        .unwrap();
    out.finish().unwrap()
}

fn plain() -> String {
    use std::io::Read;
    let decryptor = age::Decryptor::new(WHOLE.as_slice()).unwrap();
    let identity: age::x25519::Identity = SECRET.parse().unwrap();
    let mut stream = decryptor
        .decrypt([&identity as &dyn age::Identity].into_iter())
        .unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8(zstd::decode_all(bytes.as_slice()).unwrap()).unwrap()
}

#[test]
fn rows_that_were_swapped_moved_or_left_out_are_refused() {
    let text = plain();
    assert!(
        opened(&sealed(&text)).is_ok(),
        "put together again it is the same"
    );
    let mut lines: Vec<&str> = text.lines().collect();
    let joined = |lines: &[&str]| opened(&sealed(&(lines.join("\n") + "\n")));
    let broken = |lines: &[&str]| matches!(joined(lines), Err(ArchiveFault::Broken(_)));
    lines.swap(2, 3);
    assert!(broken(&lines), "two rows");
    lines.swap(2, 3);
    let row = lines.remove(2);
    assert!(broken(&lines), "one less");
    lines.insert(9_100, row);
    assert!(broken(&lines), "one in another table");
    lines.remove(9_100);
    lines.insert(2, row);
    lines.insert(2, row);
    assert!(broken(&lines), "one twice");
    lines.remove(2);
    let manifest = lines.pop().unwrap();
    assert!(broken(&lines), "no manifest");
    lines.push(manifest);
    lines.push(manifest);
    assert!(broken(&lines), "something after it");
    lines.pop();
    let other = manifest.replace("\\\"rows\\\":9000", "\\\"rows\\\":9001");
    assert_ne!(other, manifest);
    *lines.last_mut().unwrap() = &other;
    assert!(matches!(joined(&lines), Err(ArchiveFault::Unsigned)));
    let begin = lines[0].replace("11111111-1111", "33333333-3333");
    *lines.last_mut().unwrap() = manifest;
    lines[0] = &begin;
    assert!(
        matches!(joined(&lines), Err(ArchiveFault::Unsigned)),
        "another studio's"
    );
}

#[test]
fn a_line_without_an_end_takes_no_memory() {
    let text = format!("{}\n", "x".repeat(9 << 20));
    assert!(matches!(
        opened(&sealed(&text)),
        Err(ArchiveFault::Broken("a line has no end"))
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_bit_that_was_flipped_is_noticed(at in 0..WHOLE.len(), bit in 0..8_u32) {
        let mut bytes = WHOLE.clone();
        bytes[at] ^= 1 << bit;
        prop_assert!(opened(&bytes).is_err());
    }

    #[test]
    fn what_was_cut_off_is_noticed(at in 0..WHOLE.len()) {
        prop_assert!(opened(&WHOLE[..at]).is_err());
    }

    #[test]
    fn bytes_that_changed_places_are_noticed(a in 200..WHOLE.len(), b in 200..WHOLE.len()) {
        let mut bytes = WHOLE.clone();
        bytes.swap(a, b);
        prop_assume!(bytes != *WHOLE);
        prop_assert!(opened(&bytes).is_err());
    }
}
