//! Events as a calendar program reads them: RFC 5545.
//!
//! `calcard` writes: it folds lines at 75 octets without cutting a character, escapes, and ends lines as
//! they must. What a zone does in the window of the events is ours to say, from the zone's transitions:
//! each is an observance of its own, without a rule that would have to be guessed from them.

use calcard::icalendar::{
    ICalendar, ICalendarComponent, ICalendarComponentType as Kind, ICalendarEntry,
    ICalendarParameter, ICalendarParameterName, ICalendarParameterValue,
    ICalendarProperty as Property, ICalendarStatus, ICalendarTransparency, ICalendarValue,
    ICalendarValueType,
};
use jiff::{
    Timestamp, ToSpan,
    civil::{Date, DateTime},
    tz::{Offset, TimeZone},
};
use watertight_terms::Fault;

/// A calendar: what it is called, and in which zone its events are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calendar<'a> {
    pub(super) name: &'a str,
    /// By its name in the time zone database.
    pub(super) zone: &'a str,
}

/// An event.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) uid: String,
    pub(super) sequence: i32,
    pub(super) created_at: Timestamp,
    pub(super) changed_at: Timestamp,
    pub(super) summary: String,
    pub(super) description: String,
    pub(super) category: Option<String>,
    pub(super) status: Status,
    pub(super) blocks: bool,
    pub(super) when: When,
}

/// How firm it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Tentative,
    Confirmed,
    Cancelled,
}

/// From when to when.
#[derive(Debug, Clone, Copy)]
pub(super) enum When {
    /// Whole days, of which `to` is the last.
    Days { from: Date, to: Date },
    /// Half-open.
    Instants { from: Timestamp, to: Timestamp },
}

impl Calendar<'_> {
    /// The calendar with these events, as a text.
    ///
    /// # Errors
    /// When the zone is not known, or a time beyond all calendars: defects of ours.
    pub(super) fn write(&self, events: Vec<Event>) -> Result<String, Fault> {
        let zone = TimeZone::get(self.zone).map_err(beyond)?;
        let mut book = Book::new(self);
        book.zone(self.zone, &zone, window(&events))?;
        for event in events {
            let entries = event.entries(self.zone, &zone)?;
            book.add(0, Kind::VEvent, entries);
        }
        let mut text = String::new();
        book.0
            .write_to(&mut text)
            .map_err(|error| Fault::bug(format!("writing a calendar: {error}")))?;
        Ok(text)
    }
}

/// The components: the first is the calendar, and each names those inside it by their places.
struct Book(ICalendar);

impl Book {
    fn new(calendar: &Calendar<'_>) -> Self {
        let entries = vec![
            entry(Property::Version, "2.0"),
            entry(Property::Prodid, "-//Production Tool//Feeds 1//EN"),
            entry(Property::Calscale, "GREGORIAN"),
            entry(Property::Name, calendar.name),
            // What programs read that are older than `NAME` and `REFRESH-INTERVAL` (RFC 7986).
            entry(Property::Other("X-WR-CALNAME".to_owned()), calendar.name),
            with(
                entry(Property::RefreshInterval, "PT15M"),
                ICalendarParameterName::Value,
                ICalendarParameterValue::Value(ICalendarValueType::Duration),
            ),
            entry(Property::Other("X-PUBLISHED-TTL".to_owned()), "PT15M"),
        ];
        let mut book = Self(ICalendar::default());
        book.0.components.push(component(Kind::VCalendar, entries));
        book
    }

    /// Puts a component inside another; gives its place.
    fn add(&mut self, inside: usize, kind: Kind, entries: Vec<ICalendarEntry>) -> usize {
        let place = self.0.components.len();
        self.0.components.push(component(kind, entries));
        if let Some(outer) = self.0.components.get_mut(inside) {
            // Bounded by the feed's bookings.
            outer.component_ids.extend(u32::try_from(place));
        }
        place
    }

    /// What the zone does from the last transition before the window to the last in it.
    fn zone(
        &mut self,
        name: &str,
        zone: &TimeZone,
        window: Option<(Timestamp, Timestamp)>,
    ) -> Result<(), Fault> {
        let (from, to) = window.unwrap_or_default();
        let place = self.add(0, Kind::VTimezone, vec![entry(Property::Tzid, name)]);
        let before = zone.preceding(from).next();
        let first = match &before {
            Some(transition) => transition.timestamp(),
            // A zone that never changed before: since the beginning of what programs count from.
            None => Timestamp::UNIX_EPOCH.min(from),
        };
        let since = zone
            .following(first)
            .take_while(|one| one.timestamp() <= to);
        let mut offset = match &before {
            Some(_) => zone.to_offset(first.checked_sub(1.second()).map_err(beyond)?),
            None => zone.to_offset(first),
        };
        let mut observances = vec![first];
        observances.extend(since.map(|transition| transition.timestamp()));
        for at in observances {
            let info = zone.to_offset_info(at);
            let kind = match info.dst().is_dst() {
                true => Kind::Daylight,
                false => Kind::Standard,
            };
            let entries = vec![
                entry(Property::Dtstart, local(offset.to_datetime(at))),
                entry(Property::Tzoffsetfrom, written(offset)),
                entry(Property::Tzoffsetto, written(info.offset())),
                entry(Property::Tzname, info.abbreviation()),
            ];
            offset = info.offset();
            self.add(place, kind, entries);
        }
        Ok(())
    }
}

/// From the first of the events to the last.
fn window(events: &[Event]) -> Option<(Timestamp, Timestamp)> {
    let instants = || {
        events.iter().filter_map(|event| match event.when {
            When::Instants { from, to } => Some((from, to)),
            When::Days { .. } => None,
        })
    };
    let from = instants().map(|(from, _)| from).min();
    from.zip(instants().map(|(_, to)| to).max())
}

impl Event {
    fn entries(self, zone_name: &str, zone: &TimeZone) -> Result<Vec<ICalendarEntry>, Fault> {
        let status = match self.status {
            Status::Tentative => ICalendarStatus::Tentative,
            Status::Confirmed => ICalendarStatus::Confirmed,
            Status::Cancelled => ICalendarStatus::Cancelled,
        };
        let transparency = match self.blocks {
            true => ICalendarTransparency::Opaque,
            false => ICalendarTransparency::Transparent,
        };
        let [from, to] = self.when.entries(zone_name, zone)?;
        let mut entries = vec![
            entry(Property::Uid, self.uid),
            // Without a METHOD it says when the event was last changed (RFC 5545, section 3.8.7.2).
            entry(Property::Dtstamp, utc(self.changed_at)),
            entry(Property::Created, utc(self.created_at)),
            entry(Property::LastModified, utc(self.changed_at)),
            entry(Property::Sequence, i64::from(self.sequence)),
            from,
            to,
            entry(Property::Summary, self.summary),
            entry(Property::Description, self.description),
            entry(Property::Status, status),
            entry(Property::Transp, transparency),
        ];
        entries.extend(self.category.map(|text| entry(Property::Categories, text)));
        Ok(entries)
    }
}

impl When {
    fn entries(self, zone_name: &str, zone: &TimeZone) -> Result<[ICalendarEntry; 2], Fault> {
        match self {
            Self::Days { from, to } => {
                // A calendar's end is the day after the last.
                let after = to.tomorrow().map_err(beyond)?;
                Ok(
                    [(Property::Dtstart, from), (Property::Dtend, after)].map(
                        |(property, date)| {
                            with(
                                entry(property, date.strftime("%Y%m%d").to_string()),
                                ICalendarParameterName::Value,
                                ICalendarParameterValue::Value(ICalendarValueType::Date),
                            )
                        },
                    ),
                )
            }
            Self::Instants { from, to } => Ok([(Property::Dtstart, from), (Property::Dtend, to)]
                .map(|(property, instant)| {
                    with(
                        entry(property, local(zone.to_datetime(instant))),
                        ICalendarParameterName::Tzid,
                        ICalendarParameterValue::Text(zone_name.to_owned()),
                    )
                })),
        }
    }
}

fn component(component_type: Kind, entries: Vec<ICalendarEntry>) -> ICalendarComponent {
    ICalendarComponent {
        component_type,
        entries,
        component_ids: Vec::new(),
    }
}

fn entry(name: Property, value: impl Into<ICalendarValue>) -> ICalendarEntry {
    ICalendarEntry {
        name,
        params: Vec::new(),
        values: vec![value.into()],
    }
}

fn with(
    mut entry: ICalendarEntry,
    name: ICalendarParameterName,
    value: ICalendarParameterValue,
) -> ICalendarEntry {
    entry.params.push(ICalendarParameter { name, value });
    entry
}

fn local(time: DateTime) -> String {
    time.strftime("%Y%m%dT%H%M%S").to_string()
}

fn utc(instant: Timestamp) -> String {
    instant.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// An offset as RFC 5545 writes it, section 3.3.14: `+0100`, and seconds where there are any.
fn written(offset: Offset) -> String {
    let sign = if offset.is_negative() { '-' } else { '+' };
    let seconds = offset.seconds().unsigned_abs();
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    match seconds % 60 {
        0 => format!("{sign}{hours:02}{minutes:02}"),
        rest => format!("{sign}{hours:02}{minutes:02}{rest:02}"),
    }
}

fn beyond(error: jiff::Error) -> Fault {
    Fault::bug(format!("a calendar's time: {error}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(summary: &str, description: &str) -> Event {
        Event {
            uid: "0b0c4c1e-6d8f-4f6e-9a3e-0a8d4d6d2b11".to_owned(),
            sequence: 1,
            created_at: Timestamp::UNIX_EPOCH,
            changed_at: Timestamp::UNIX_EPOCH,
            summary: summary.to_owned(),
            description: description.to_owned(),
            category: None,
            status: Status::Confirmed,
            blocks: true,
            when: When::Days {
                from: jiff::civil::date(2031, 3, 3),
                to: jiff::civil::date(2031, 3, 3),
            },
        }
    }

    fn text_of(zone: &str, events: Vec<Event>) -> String {
        Calendar { name: "x", zone }.write(events).unwrap()
    }

    /// The text of a property, unfolded and unescaped by the letter of RFC 5545, sections 3.1 and 3.3.11.
    fn property(text: &str, name: &str) -> String {
        let unfolded = text.replace("\r\n ", "");
        let mut lines = unfolded.split("\r\n");
        let line = lines.find_map(|line| line.strip_prefix(&format!("{name}:")));
        let mut letters = line.unwrap().chars();
        let mut plain = String::new();
        while let Some(letter) = letters.next() {
            match letter {
                '\\' => match letters.next() {
                    Some('n') => plain.push('\n'),
                    Some(escaped @ ('\\' | ';' | ',')) => plain.push(escaped),
                    other => panic!("escaped for nothing: {other:?}"),
                },
                ';' | ',' => panic!("not escaped: {letter}"),
                letter => plain.push(letter),
            }
        }
        plain
    }

    /// What the API takes as a text: any characters but controls, and lines.
    fn texts() -> impl Strategy<Value = String> {
        let letters = any::<char>().prop_filter("no control", |letter| !letter.is_control());
        let special = proptest::sample::select(vec![
            '\n',
            '\t',
            ',',
            ';',
            '\\',
            ':',
            '"',
            ' ',
            'ü',
            '\u{1f3ac}',
        ]);
        let letters = prop_oneof![letters, special];
        proptest::collection::vec(letters, 0..200).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn any_text_is_folded_and_escaped_and_comes_back(summary in texts(), description in texts()) {
            let text = text_of("Europe/Berlin", vec![event(&summary, &description)]);
            prop_assert!(text.ends_with("END:VCALENDAR\r\n"));
            prop_assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
            for line in text.as_bytes().split(|byte| *byte == b'\n') {
                // A character that was cut would be none on either line.
                let line = std::str::from_utf8(line).unwrap().trim_end_matches('\r');
                prop_assert!(line.len() <= 75, "{}", line);
            }
            prop_assert_eq!(property(&text, "SUMMARY"), summary);
            prop_assert_eq!(property(&text, "DESCRIPTION"), description);
        }
    }

    #[test]
    fn a_line_may_be_as_long_as_it_may() {
        let text = text_of("UTC", vec![event(&"x".repeat(200), "")]);
        let longest = text.split("\r\n").map(str::len).max();
        assert_eq!(longest, Some(75));
    }

    #[test]
    fn a_zone_without_summer_has_its_one_offset() {
        for (zone, offset) in [("UTC", "+0000"), ("Asia/Kolkata", "+0530")] {
            let text = text_of(zone, Vec::new());
            assert!(text.contains(&format!("TZOFFSETTO:{offset}\r\n")), "{text}");
            assert!(!text.contains("DAYLIGHT"), "{text}");
        }
    }

    #[test]
    fn offsets_are_written_with_their_seconds_where_they_have_any() {
        for (seconds, text) in [
            (0, "+0000"),
            (-12_600, "-0330"),
            (1_172, "+001932"),
            (-17_762, "-045602"),
        ] {
            assert_eq!(written(Offset::from_seconds(seconds).unwrap()), text);
        }
    }
}
