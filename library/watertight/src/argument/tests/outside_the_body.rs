//! Query, path and headers.

use super::*;

/// What a list may be asked.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
struct List {
    #[garde(inner(range(min = 1, max = 100)))]
    limit: Option<u32>,
    #[garde(skip)]
    sort: Option<Order>,
    #[garde(dive)]
    q: Option<Line<100>>,
    #[garde(skip)]
    artist_id: Option<Uuid>,
    #[garde(skip)]
    from: Option<Instant>,
    #[garde(skip)]
    archived: Option<bool>,
}

#[derive(Debug, Deserialize, PartialEq, JsonSchema)]
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

/// A word of a path.
#[derive(Debug, PartialEq)]
struct Step(watertight_terms::Role);

impl FromStr for Step {
    type Err = watertight_terms::UnknownRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl Word for Step {
    const NAME: &'static str = "name";
    const WORDS: &'static [&'static str] = &["owner", "manager", "freelancer", "guest"];
}

#[test]
fn a_word_of_the_path_is_one_of_its_list_or_nothing() {
    let mut input = input();
    input.path.push(("name".to_owned(), "owner".to_owned()));
    let (Path(_), Segment(role)) = input.take::<(Path<Uuid>, Segment<Step>)>().unwrap();
    assert_eq!(role, Step(watertight_terms::Role::Owner));
    input.path[1].1 = "root".to_owned();
    let fault = input.take::<Segment<Step>>().unwrap_err();
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
        IdempotencyKey::of(&input().headers).unwrap(),
        IdempotencyKey(None)
    );
    let read =
        |value: &str| IdempotencyKey::of(&with_header("idempotency-key", value.as_bytes()).headers);
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
