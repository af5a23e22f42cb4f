use std::collections::BTreeMap;

use http::HeaderValue;
use serde::Deserialize;
use watertight_terms::{Kind, TenantId};

use super::*;

const ID: &str = "0b0c4c1e-6d8f-4f6e-9a3e-0a8d4d6d2b11";

fn input() -> Input {
    Input {
        method: Method::POST,
        path: vec![("id".to_owned(), ID.to_owned())],
        query: None,
        headers: HeaderMap::new(),
        body: Bytes::new(),
        state: http::Extensions::new(),
    }
}

fn with_header(name: &'static str, value: &[u8]) -> Input {
    let mut input = input();
    input
        .headers
        .append(name, HeaderValue::from_bytes(value).unwrap());
    input
}

fn with_body(body: impl AsRef<[u8]>) -> Input {
    let mut input = with_header("content-type", b"application/json");
    input.body = Bytes::copy_from_slice(body.as_ref());
    input
}

fn with_query(query: &str) -> Input {
    let mut input = input();
    input.query = Some(query.to_owned());
    input
}

/// A body with one of everything.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
struct Artist {
    #[garde(dive)]
    name: Line<20>,
    #[serde(default)]
    #[garde(inner(range(min = 0, max = 1000)))]
    minutes: Option<i32>,
    #[serde(default)]
    #[garde(length(max = 3), dive)]
    skills: Vec<Line<10>>,
    #[serde(default)]
    #[garde(skip)]
    kind: Option<Sort>,
    #[serde(default)]
    #[garde(dive)]
    rate: Option<Rate>,
    #[serde(default)]
    #[garde(skip)]
    at: Option<Instant>,
    #[serde(default)]
    #[garde(skip)]
    on: Option<Day>,
    #[serde(default)]
    #[garde(skip)]
    project_id: Option<Uuid>,
    #[serde(default)]
    #[garde(skip)]
    extra: BTreeMap<String, bool>,
    #[serde(default)]
    #[garde(dive)]
    notes: Field<Prose<20>>,
}

#[derive(Debug, Deserialize, PartialEq, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Sort {
    Staff,
    Freelancer,
}

#[derive(Debug, Deserialize, Validate, JsonSchema)]
struct Rate {
    #[garde(range(max = 1_000_000_000_000_i64))]
    minor: i64,
}

fn artist(body: impl AsRef<[u8]>) -> Result<Artist, Fault> {
    with_body(body)
        .take::<Valid<Artist>>()
        .map(|Valid(artist)| artist)
}

/// The kind, and the pointer and code of the one field.
fn refused(body: impl AsRef<[u8]>) -> (Kind, String, &'static str) {
    let fault = artist(&body).expect_err(&String::from_utf8_lossy(body.as_ref()));
    let [field] = fault.field_faults() else {
        panic!("{fault:?}");
    };
    for inner in [
        "struct", "Artist", "Rate", "i32", "i64", "Sort", "serde", "elements",
    ] {
        assert!(!field.detail.contains(inner), "{field:?}");
    }
    (fault.kind(), field.pointer.clone(), field.code)
}

#[test]
fn a_whole_body_is_read() {
    let artist = artist(format!(
        r#" {{"name": "Zoë", "minutes": 5, "skills": ["2d"], "kind": "staff",
             "rate": {{"minor": 45000}}, "at": "2026-03-01T10:00:00.5+01:00", "on": "2026-03-01",
             "project_id": "{ID}", "extra": {{"a": true}}, "notes": "a\nb"}} "#
    ))
    .unwrap();
    assert_eq!(&*artist.name, "Zoë");
    assert_eq!((artist.minutes, artist.kind), (Some(5), Some(Sort::Staff)));
    assert_eq!(&*artist.skills[0], "2d");
    assert_eq!(artist.rate.unwrap().minor, 45_000);
    assert_eq!(artist.at.unwrap().to_string(), "2026-03-01T09:00:00.5Z");
    assert_eq!(artist.on.unwrap().to_string(), "2026-03-01");
    assert_eq!(artist.project_id.unwrap().to_string(), ID);
    assert_eq!(artist.extra, BTreeMap::from([("a".to_owned(), true)]));
    assert_eq!(
        artist.notes.map(Prose::into_inner),
        Field::Value("a\nb".to_owned())
    );
}

#[test]
fn malformed_bodies_are_told_from_invalid_ones_and_point_at_the_field() {
    use Kind::{Invalid, Malformed};
    let deep = format!(
        r#"{{"name": {}1{}}}"#,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    let wide = format!(r#"{{"name": [{}1]}}"#, "1,".repeat(30_000));
    let long = format!(r#"{{"name": "{}"}}"#, "x".repeat(20_000));
    for (body, kind, pointer, code) in [
        ("", Malformed, "", "malformed"),
        (" \n", Malformed, "", "malformed"),
        ("{", Malformed, "", "malformed"),
        ("nul", Malformed, "", "malformed"),
        ("{'name': 1}", Malformed, "", "malformed"),
        (r#"{"name": "a"} x"#, Malformed, "", "malformed"),
        (r#"{"name": "a"}{"name": "a"}"#, Malformed, "", "malformed"),
        (r#"{"name": "a",}"#, Malformed, "", "malformed"),
        ("\u{feff}{\"name\": \"a\"}", Malformed, "", "malformed"),
        (r#"{"name": "\ud800"}"#, Malformed, "", "malformed"),
        ("{\"name\": \"a\nb\"}", Malformed, "", "malformed"),
        (
            r#"{"name": "a", "minutes": 1e400}"#,
            Malformed,
            "",
            "malformed",
        ),
        (
            r#"{"name": "a", "minutes": NaN}"#,
            Malformed,
            "",
            "malformed",
        ),
        (
            r#"{"name": "a", "minutes": 0x10}"#,
            Malformed,
            "",
            "malformed",
        ),
        (&deep, Malformed, "", "malformed"),
        (&wide, Malformed, "", "malformed"),
        (r#"{"name": "a\u0000b"}"#, Malformed, "/name", "malformed"),
        (
            r#"{"name": "a", "extra": {"\u0000": true}}"#,
            Malformed,
            "/extra",
            "malformed",
        ),
        ("null", Malformed, "", "wrong-type"),
        ("[]", Malformed, "", "wrong-type"),
        (r#"["a", 1]"#, Malformed, "", "wrong-type"),
        ("1", Malformed, "", "wrong-type"),
        ("{}", Malformed, "/name", "missing-field"),
        (r#"{"name": null}"#, Malformed, "/name", "wrong-type"),
        (r#"{"name": 1}"#, Malformed, "/name", "wrong-type"),
        (
            r#"{"name": {"$ne": null}}"#,
            Malformed,
            "/name",
            "wrong-type",
        ),
        (
            r#"{"name": "a", "name": "b"}"#,
            Malformed,
            "/name",
            "duplicate-field",
        ),
        (
            r#"{"name": "a", "n\u0061me": "b"}"#,
            Malformed,
            "/name",
            "duplicate-field",
        ),
        (
            r#"{"name": "a", "extra": {"b": true, "b": true}}"#,
            Malformed,
            "/extra/b",
            "duplicate-field",
        ),
        (
            r#"{"name": "a", "tenant_id": 1}"#,
            Malformed,
            "/tenant_id",
            "unknown-field",
        ),
        (
            r#"{"name": "a", "a/b~": 1}"#,
            Malformed,
            "/a~1b~0",
            "unknown-field",
        ),
        (
            r#"{"name": "a", "__proto__": {}}"#,
            Malformed,
            "/__proto__",
            "unknown-field",
        ),
        (
            r#"{"name": "a", "rate": {"minor": 1, "x": 1}}"#,
            Malformed,
            "/rate/x",
            "unknown-field",
        ),
        (
            r#"{"name": "a", "rate": {}}"#,
            Malformed,
            "/rate/minor",
            "missing-field",
        ),
        (
            r#"{"name": "a", "rate": [1]}"#,
            Malformed,
            "/rate",
            "wrong-type",
        ),
        (
            r#"{"name": "a", "rate": {"minor": 9223372036854775808}}"#,
            Malformed,
            "/rate/minor",
            "wrong-type",
        ),
        (
            r#"{"name": "a", "minutes": 2147483648}"#,
            Malformed,
            "/minutes",
            "wrong-type",
        ),
        (
            r#"{"name": "a", "minutes": 1.5}"#,
            Malformed,
            "/minutes",
            "wrong-type",
        ),
        (
            r#"{"name": "a", "minutes": 1E2}"#,
            Malformed,
            "/minutes",
            "wrong-type",
        ),
        (
            r#"{"name": "a", "minutes": "1"}"#,
            Malformed,
            "/minutes",
            "wrong-type",
        ),
        (
            r#"{"name": "a", "minutes": true}"#,
            Malformed,
            "/minutes",
            "wrong-type",
        ),
        (
            r#"{"name": "a", "skills": ["b", 1]}"#,
            Malformed,
            "/skills/1",
            "wrong-type",
        ),
        (
            r#"{"name": "a", "skills": "b"}"#,
            Malformed,
            "/skills",
            "wrong-type",
        ),
        (
            r#"{"name": "a", "kind": "Staff"}"#,
            Malformed,
            "/kind",
            "wrong-type",
        ),
        (
            r#"{"name": "a", "kind": {"staff": 1}}"#,
            Malformed,
            "/kind",
            "wrong-type",
        ),
        (
            r#"{"name": "a", "kind": {"staff": null}}"#,
            Malformed,
            "/kind",
            "wrong-type",
        ),
        (
            r#"{"name": "a", "project_id": "x"}"#,
            Malformed,
            "/project_id",
            "wrong-type",
        ),
        (
            r#"{"name": "a", "at": "2026-03-01"}"#,
            Malformed,
            "/at",
            "wrong-type",
        ),
        (
            r#"{"name": "a", "at": "1999-12-31T23:59:59Z"}"#,
            Invalid,
            "/at",
            "out-of-range",
        ),
        (
            r#"{"name": "a", "on": "2101-01-01"}"#,
            Invalid,
            "/on",
            "out-of-range",
        ),
        (
            r#"{"name": "a", "minutes": -1}"#,
            Invalid,
            "/minutes",
            "invalid",
        ),
        (r#"{"name": " "}"#, Invalid, "/name", "invalid"),
        (r#"{"name": "a\u0007"}"#, Invalid, "/name", "invalid"),
        (&long, Invalid, "/name", "invalid"),
        (
            r#"{"name": "a", "rate": {"minor": 1000000000001}}"#,
            Invalid,
            "/rate/minor",
            "invalid",
        ),
        (
            r#"{"name": "a", "skills": ["b", ""]}"#,
            Invalid,
            "/skills/1",
            "invalid",
        ),
        (
            r#"{"name": "a", "notes": "a\u0000"}"#,
            Malformed,
            "/notes",
            "malformed",
        ),
        (
            r#"{"name": "a", "notes": "a\u0001"}"#,
            Invalid,
            "/notes",
            "invalid",
        ),
    ] {
        let shown: String = body.chars().take(80).collect();
        assert_eq!(refused(body), (kind, pointer.to_owned(), code), "{shown}");
    }
    assert_eq!(refused(b"{\"name\": \"\xff\"}").0, Malformed);
}

#[test]
fn the_bounds_of_depth_and_number_are_where_they_are_said_to_be() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(json::parse(nested(33).as_bytes()).is_ok());
    assert!(json::parse(nested(34).as_bytes()).is_err());
    let list = |items: usize| format!("[{}1]", "1,".repeat(items - 1));
    assert!(json::parse(list(19_999).as_bytes()).is_ok());
    assert!(json::parse(list(20_000).as_bytes()).is_err());
}

#[test]
fn a_clients_words_come_back_cut() {
    let name = "x".repeat(5000);
    let (_, pointer, _) = refused(format!(r#"{{"name": "a", "{name}": 1}}"#));
    assert_eq!(pointer.len(), 65);
}

#[test]
fn several_broken_bounds_are_told_at_once() {
    let fault =
        artist(r#"{"name": "", "minutes": 2000, "skills": ["a","b","c","d"]}"#).unwrap_err();
    let pointers: Vec<_> = fault
        .field_faults()
        .iter()
        .map(|field| &*field.pointer)
        .collect();
    assert_eq!(pointers, ["/minutes", "/name", "/skills"]);
}

#[test]
fn a_merge_patch_tells_absent_null_and_value_apart() {
    let notes = |body: &str| artist(body).unwrap().notes;
    assert_eq!(notes(r#"{"name": "a"}"#), Field::Absent);
    assert_eq!(notes(r#"{"name": "a", "notes": null}"#), Field::Null);
    assert_eq!(
        notes(r#"{"name": "a", "notes": ""}"#),
        Field::Value(Prose::default())
    );
    assert_eq!(Field::Absent.or(Some(1)), Some(1));
    assert_eq!(Field::Null.or(Some(1)), None);
    assert_eq!(Field::Value(2).or(Some(1)), Some(2));
    let firm = |text: &str| serde_json::from_str::<Firm<Line<20>>>(text).unwrap();
    assert_eq!(firm(r#""a""#).given().as_deref(), Some("a"));
    assert_eq!(Firm::<Line<20>>::default().given(), None);
    assert!(Firm::<Line<20>>::default().validate().is_ok());
    assert!(firm("null").validate().is_err());
    assert!(firm(r#"" ""#).validate().is_err());
}

#[test]
fn only_json_is_read() {
    let body = br#"{"name": "a"}"#;
    for media in [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=\"UTF-8\"",
    ] {
        let mut input = with_header("content-type", media.as_bytes());
        input.body = Bytes::from_static(body);
        assert!(input.take::<Valid<Artist>>().is_ok(), "{media}");
    }
    for media in [
        "",
        "text/plain",
        "text/json",
        "application/jsonx",
        "application/problem+json",
        "text/plain; application/json",
        "application/json; charset=utf-16",
        "application/json; x=1",
        "application/json;",
        "application/json, text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "\u{e9}",
    ] {
        let mut input = with_header("content-type", media.as_bytes());
        input.body = Bytes::from_static(body);
        let fault = input.take::<Valid<Artist>>().unwrap_err();
        assert_eq!(fault.kind(), Kind::WrongMedia, "{media}");
    }
    let mut absent = input();
    absent.body = Bytes::from_static(body);
    assert_eq!(
        absent.take::<Valid<Artist>>().unwrap_err().kind(),
        Kind::WrongMedia
    );
    let mut twice = with_body(body);
    twice
        .headers
        .append("content-type", HeaderValue::from_static("application/json"));
    assert_eq!(
        twice.take::<Valid<Artist>>().unwrap_err().kind(),
        Kind::WrongMedia
    );
}

#[test]
fn a_body_may_be_left_out_where_it_is_optional() {
    assert!(input().take::<Option<Valid<Artist>>>().unwrap().is_none());
    let body = with_body(r#"{"name": "a"}"#).take::<Option<Valid<Artist>>>();
    assert_eq!(&*body.unwrap().unwrap().0.name, "a");
    assert_eq!(
        with_body("")
            .take::<Option<Valid<Artist>>>()
            .unwrap_err()
            .kind(),
        Kind::Malformed
    );
}

mod outside_the_body;

#[test]
fn a_zone_is_that_of_a_place_whatever_the_machine_has() {
    for name in ["UTC", "Europe/Berlin", "europe/berlin", "US/Pacific"] {
        assert!(Zone::is_known(name), "{name}");
    }
    for name in [
        "Etc/Unknown",
        "factory",
        "localtime",
        "posixrules",
        "posix/UTC",
        "Z",
        "",
    ] {
        assert!(!Zone::is_known(name), "{name}");
    }
}
