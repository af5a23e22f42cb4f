use std::collections::BTreeMap;

use http::HeaderValue;
use serde::Deserialize;
use watertight_terms::TenantId;

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
#[derive(Debug, Deserialize, Validate)]
struct Artist {
    #[garde(custom(line(20)))]
    name: String,
    #[serde(default)]
    #[garde(inner(range(min = 0, max = 1000)))]
    minutes: Option<i32>,
    #[serde(default)]
    #[garde(length(max = 3), inner(custom(line(10))))]
    skills: Vec<String>,
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
    #[garde(inner(custom(prose(20))))]
    notes: Field<String>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Sort {
    Staff,
    Freelancer,
}

#[derive(Debug, Deserialize, Validate)]
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
    assert_eq!(artist.name, "Zoë");
    assert_eq!((artist.minutes, artist.kind), (Some(5), Some(Sort::Staff)));
    assert_eq!(artist.skills, ["2d"]);
    assert_eq!(artist.rate.unwrap().minor, 45_000);
    assert_eq!(artist.at.unwrap().to_string(), "2026-03-01T09:00:00.5Z");
    assert_eq!(artist.on.unwrap().to_string(), "2026-03-01");
    assert_eq!(artist.project_id.unwrap().to_string(), ID);
    assert_eq!(artist.extra, BTreeMap::from([("a".to_owned(), true)]));
    assert_eq!(artist.notes, Field::Value("a\nb".to_owned()));
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
        Field::Value(String::new())
    );
    assert_eq!(Field::Absent.or(Some(1)), Some(1));
    assert_eq!(Field::Null.or(Some(1)), None);
    assert_eq!(Field::Value(2).or(Some(1)), Some(2));
    assert_eq!(Field::Value(2).given("name").unwrap(), Some(2));
    assert_eq!(Field::<i32>::Absent.given("name").unwrap(), None);
    let fault = Field::<i32>::Null.given("name").unwrap_err();
    assert_eq!(
        (fault.kind(), &*fault.field_faults()[0].pointer),
        (Kind::Invalid, "/name")
    );
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
    assert_eq!(body.unwrap().unwrap().0.name, "a");
    assert_eq!(
        with_body("")
            .take::<Option<Valid<Artist>>>()
            .unwrap_err()
            .kind(),
        Kind::Malformed
    );
}

/// What a list may be asked.
#[derive(Debug, Deserialize, Validate)]
struct List {
    #[garde(inner(range(min = 1, max = 100)))]
    limit: Option<u32>,
    #[garde(skip)]
    sort: Option<Order>,
    #[garde(inner(custom(line(100))))]
    q: Option<String>,
    #[garde(skip)]
    artist_id: Option<Uuid>,
    #[garde(skip)]
    from: Option<Instant>,
    #[garde(skip)]
    archived: Option<bool>,
}

#[derive(Debug, Deserialize, PartialEq)]
enum Order {
    #[serde(rename = "-starts_at")]
    Latest,
    #[serde(rename = "starts_at")]
    Earliest,
}

fn list(query: &str) -> Result<List, Fault> {
    with_query(query)
        .take::<Query<List>>()
        .map(|Query(list)| list)
}

#[test]
fn a_query_is_read() {
    let query = format!(
        "limit=7&sort=-starts_at&q=Zo%C3%AB+%26%20co&artist_id={ID}&from=2026-03-01T09:00:00Z&archived=true"
    );
    let list_read = list(&query).unwrap();
    assert_eq!(
        (list_read.limit, list_read.sort),
        (Some(7), Some(Order::Latest))
    );
    assert_eq!(list_read.q.as_deref(), Some("Zoë & co"));
    assert_eq!(list_read.artist_id.unwrap().to_string(), ID);
    assert_eq!(list_read.from.unwrap().to_string(), "2026-03-01T09:00:00Z");
    assert_eq!(list_read.archived, Some(true));
    assert!(list("").unwrap().limit.is_none());
    assert!(input().take::<Query<List>>().is_ok());
    assert_eq!(list("q=50%25&").unwrap().q.as_deref(), Some("50%"));
    assert_eq!(list("sort=starts_at").unwrap().sort, Some(Order::Earliest));
}

#[test]
fn whatever_is_wrong_with_a_query_is_malformed_and_named() {
    let many = (0..65)
        .map(|number| format!("p{number}=1&"))
        .collect::<String>();
    for (query, pointer, code) in [
        ("tenant_id=1", "?tenant_id", "unknown-field"),
        ("limit[]=1", "?limit[]", "unknown-field"),
        ("Limit=1", "?Limit", "unknown-field"),
        ("limit=1&limit=100000", "?limit", "duplicate-field"),
        ("limit=1&%6cimit=2", "?limit", "duplicate-field"),
        ("limit=", "?limit", "wrong-type"),
        ("limit", "?limit", "wrong-type"),
        ("limit=abc", "?limit", "wrong-type"),
        ("limit=1e9", "?limit", "wrong-type"),
        ("limit=1.5", "?limit", "wrong-type"),
        ("limit=+1", "?limit", "wrong-type"),
        ("limit=%2B1", "?limit", "wrong-type"),
        ("limit=0x1", "?limit", "wrong-type"),
        ("limit=1;2", "?limit", "wrong-type"),
        ("limit=-1", "?limit", "wrong-type"),
        ("limit=99999999999999999999", "?limit", "wrong-type"),
        ("limit=4294967296", "?limit", "wrong-type"),
        ("limit=0", "?limit", "invalid"),
        ("limit=101", "?limit", "invalid"),
        ("limit=%00", "?limit", "malformed"),
        ("q=a%00b", "?q", "malformed"),
        ("q=a%0Ab", "?q", "malformed"),
        ("q=%C0%AF", "?q", "malformed"),
        ("q=%ED%A0%80", "?q", "malformed"),
        ("q=%", "?q", "malformed"),
        ("q=%4", "?q", "malformed"),
        ("q=%zz", "?q", "malformed"),
        ("q=%+1", "?q", "malformed"),
        ("%ff=1", "?", "malformed"),
        ("q=", "?q", "invalid"),
        ("sort=starts_at,(select 1)", "?sort", "wrong-type"),
        ("artist_id=x", "?artist_id", "wrong-type"),
        ("from=yesterday", "?from", "wrong-type"),
        ("from=1999-01-01T00:00:00Z", "?from", "out-of-range"),
        ("archived=1", "?archived", "wrong-type"),
        (&many, "?", "malformed"),
    ] {
        let fault = list(query).expect_err(query);
        let field = &fault.field_faults()[0];
        assert_eq!(fault.kind(), Kind::Malformed, "{query}");
        assert_eq!(
            (&*field.pointer, field.code),
            (pointer, code),
            "{query}: {}",
            field.detail
        );
    }
}

#[test]
fn a_query_that_nothing_reads_is_refused() {
    assert!(input().take::<(Path<Uuid>, IfMatch)>().is_ok());
    let fault = with_query("all=true")
        .take::<(Path<Uuid>, IfMatch)>()
        .unwrap_err();
    assert_eq!(
        (fault.kind(), &*fault.field_faults()[0].pointer),
        (Kind::Malformed, "?all")
    );
    assert!(
        with_query("limit=1")
            .take::<(Path<Uuid>, Query<List>)>()
            .is_ok()
    );
    assert!(with_query("x=1").take::<()>().is_err());
}

#[test]
fn a_malformed_id_answers_exactly_as_an_absent_one() {
    let Path(id) = input().take::<Path<TenantId>>().unwrap();
    assert_eq!(id.to_string(), ID);
    let absent = format!("{:?}", Fault::unseen());
    for text in [
        "",
        "x",
        "a\0b",
        "' OR 1=1--",
        &ID.to_uppercase(),
        &ID.replace('-', ""),
        &format!("{{{ID}}}"),
        &format!("urn:uuid:{ID}"),
        &format!("{ID} "),
        &format!("{ID}\n"),
    ] {
        let mut input = input();
        input.path = vec![("id".to_owned(), text.to_owned())];
        let fault = input.take::<Path<TenantId>>().unwrap_err();
        assert_eq!(format!("{fault:?}"), absent, "{text:?}");
    }
}

#[test]
fn a_word_of_the_path_is_one_of_its_list_or_nothing() {
    let mut input = input();
    input.path.push(("name".to_owned(), "owner".to_owned()));
    let (Path(_), Segment(role)) = input
        .take::<(Path<Uuid>, Segment<watertight_terms::Role>)>()
        .unwrap();
    assert_eq!(role, watertight_terms::Role::Owner);
    input.path.push(("name".to_owned(), "root".to_owned()));
    let fault = input.take::<Segment<watertight_terms::Role>>().unwrap_err();
    assert_eq!(fault.kind(), Kind::Unseen);
}

#[test]
fn if_match_is_one_version() {
    assert_eq!(input().take::<IfMatch>().unwrap(), IfMatch(None));
    let read = |value: &str| with_header("if-match", value.as_bytes()).take::<IfMatch>();
    assert_eq!(read("\"v12\"").unwrap(), IfMatch(Some(12)));
    for value in [
        "*",
        "",
        "12",
        "v12",
        "\"12\"",
        "\"v\"",
        "\"v012\"",
        "\"v0\"",
        "\"v-1\"",
        "\"v+1\"",
        "W/\"v12\"",
        "\"v1\", \"v2\"",
        "\"v2147483648\"",
        "\"v1\" ",
        "\u{e9}",
    ] {
        assert_eq!(read(value).expect_err(value).kind(), Kind::Malformed);
    }
    let mut twice = with_header("if-match", b"\"v1\"");
    twice
        .headers
        .append("if-match", HeaderValue::from_static("\"v1\""));
    assert!(twice.take::<IfMatch>().is_err());
}

#[test]
fn an_idempotency_key_is_printable_and_of_some_length() {
    assert_eq!(
        input().take::<IdempotencyKey>().unwrap(),
        IdempotencyKey(None)
    );
    let read =
        |value: &str| with_header("idempotency-key", value.as_bytes()).take::<IdempotencyKey>();
    let key = "k".repeat(16);
    assert_eq!(read(&key).unwrap(), IdempotencyKey(Some(key)));
    for value in ["", "short", &"k".repeat(129), "tab\tin a key that is long"] {
        assert_eq!(read(value).expect_err(value).kind(), Kind::Malformed);
    }
}

#[test]
fn instants_and_days_have_one_spelling() {
    let instant = |text: &str| serde_json::from_value::<Instant>(text.into());
    for (text, read) in [
        ("2026-03-01T09:00:00Z", "2026-03-01T09:00:00Z"),
        ("2026-03-01T09:00:00.120Z", "2026-03-01T09:00:00.12Z"),
        (
            "2026-03-01T09:00:00.123456789Z",
            "2026-03-01T09:00:00.123456Z",
        ),
        ("2026-03-01T09:00:00-05:30", "2026-03-01T14:30:00Z"),
        ("2000-01-01T00:00:00Z", "2000-01-01T00:00:00Z"),
        ("2100-12-31T23:59:59.999999Z", "2100-12-31T23:59:59.999999Z"),
    ] {
        assert_eq!(serde_json::to_value(instant(text).unwrap()).unwrap(), read);
    }
    for text in [
        "",
        "2026-03-01",
        "2026-03-01T09:00Z",
        "2026-03-01T09:00:00",
        "2026-03-01 09:00:00Z",
        "2026-03-01t09:00:00z",
        "2026-03-01T09:00:00.Z",
        "2026-03-01T09:00:00.1234567891Z",
        "2026-03-01T09:00:60Z",
        "2026-03-01T24:00:00Z",
        "2026-02-30T09:00:00Z",
        "2026-03-01T09:00:00+0100",
        "2026-03-01T09:00:00+01",
        "2026-03-01T09:00:00Z[UTC]",
        "+02026-03-01T09:00:00Z",
        "20260301T090000Z",
        "2026-03-01T09:00:00+99:00",
        "1772355600",
        "2026-03-01T09:00:0\u{660}Z",
        "é026-03-01T09:00:00Z",
        "1999-12-31T23:59:59Z",
        "2101-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
    ] {
        assert!(instant(text).is_err(), "{text}");
    }
    let day = |text: &str| serde_json::from_value::<Day>(text.into());
    assert_eq!(
        serde_json::to_value(day("2028-02-29").unwrap()).unwrap(),
        "2028-02-29"
    );
    for text in [
        "",
        "2027-02-29",
        "2026-3-1",
        "20260301",
        "1999-12-31",
        "2101-01-01",
        "2026-03-01Z",
    ] {
        assert!(day(text).is_err(), "{text}");
    }
}
