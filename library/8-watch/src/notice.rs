//! What whoever is concerned is told of an incident, and until when.
//!
//! ```
//! use watertight_watch::notice::{Addressee, Facts};
//! let opened_at = "2031-03-03T09:00:00Z".parse().unwrap();
//! let facts = Facts { kind: "stolen-session".to_owned(), opened_at, requests: 40, records: 12, opened: 3, unlisted: 0 };
//! let draft = Addressee::Authority.draft(&facts);
//! assert_eq!(draft.due_at.to_string(), "2031-03-06T09:00:00Z");
//! assert!(draft.text.contains("12 records"));
//! ```
//!
//! A draft has numbers and no name: whoever reads the studio's rows fills in the rest. Deadlines are those of the
//! General Data Protection Regulation, articles 33 and 34, for which "without undue delay" is written as a day.

use jiff::{SignedDuration, Timestamp};

/// Who is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressee {
    /// The studio's owner, who answers for its data.
    Owner,
    /// Those whom the data is about.
    People,
    /// The supervisory authority.
    Authority,
}

/// What is known of an incident, in numbers.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What it is, such as `stolen-session`.
    pub kind: String,
    /// Since when it is known.
    pub opened_at: Timestamp,
    /// So many requests were made.
    pub requests: u64,
    /// Of so many different records.
    pub records: u64,
    /// In which so many personal fields were opened.
    pub opened: u64,
    /// So many records more were shown in lists that the ledger does not name one by one.
    pub unlisted: u64,
}

/// A text to be completed by whoever sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Until when it is to be sent.
    pub due_at: Timestamp,
    /// Its subject.
    pub subject: String,
    /// What it says.
    pub text: String,
}

impl Addressee {
    /// All of them, in the order in which they are due.
    pub const ALL: [Self; 3] = [Self::Owner, Self::People, Self::Authority];

    /// Its name in commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::People => "people",
            Self::Authority => "authority",
        }
    }

    fn hours(self) -> i64 {
        match self {
            Self::Owner | Self::People => 24,
            Self::Authority => 72,
        }
    }

    /// What it is told.
    pub fn draft(self, facts: &Facts) -> Draft {
        let Facts {
            kind,
            opened_at,
            requests,
            records,
            opened,
            unlisted,
        } = facts;
        let known = format!(
            "It is known since {opened_at}. The ledger shows {requests} requests, of {records} records by their ids and {unlisted} more in lists, \
             and {opened} personal fields that were opened."
        );
        let text = match self {
            Self::Owner => format!(
                "Something went wrong in your studio: {kind}.\n{known}\nWhich records and whose, your ledger says: /v1/audit. \
                 You decide whether an authority and the people concerned are to be told.\n"
            ),
            Self::People => format!(
                "Data about you may have been seen by somebody who must not: {kind}.\n{known}\n[Which of it is yours. What it may lead to. \
                 What was done. Whom to ask.]\n"
            ),
            Self::Authority => format!(
                "Notification of a breach of personal data (article 33): {kind}.\n{known}\n[The controller and its contact. Categories of people \
                 and of data. Likely consequences. Measures taken.]\n"
            ),
        };
        // A time of this century has another so many hours later.
        let due_at = opened_at.saturating_add(SignedDuration::from_hours(self.hours()));
        Draft {
            due_at: due_at.unwrap_or(*opened_at),
            subject: format!("{kind}, {opened_at}"),
            text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_in_time_and_by_numbers() {
        let facts = Facts {
            kind: "probing".to_owned(),
            opened_at: "2031-03-30T00:30:00Z".parse().unwrap(),
            requests: 7,
            records: 5,
            opened: 3,
            unlisted: 2,
        };
        let due = Addressee::ALL.map(|who| who.draft(&facts).due_at.to_string());
        // Hours, not days of a calendar: the clocks change in this night.
        assert_eq!(
            due,
            [
                "2031-03-31T00:30:00Z",
                "2031-03-31T00:30:00Z",
                "2031-04-02T00:30:00Z"
            ]
        );
        for who in Addressee::ALL {
            let text = who.draft(&facts).text;
            for number in ["7 requests", "5 records", "2 more", "3 personal fields"] {
                assert!(text.contains(number), "{who:?}: {text}");
            }
        }
    }
}
