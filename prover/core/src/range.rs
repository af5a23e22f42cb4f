//! Which entries a bundle of evidence says that it has: those of its window, with the entry before and the one after, whose
//! times say that nothing of the window is left out.
//!
//! ```text
//! {"begin":256,"first":258,"end":259,"size":260,"from":"2026-11-20T…","to":"2026-11-20T…","removed":null}
//! begin .. first   before the window: hashes, and the leaf of the last of them
//! first .. end     every leaf
//! end .. size      after it: the leaf of the first, and hashes
//! ```

use serde::Deserialize;

use crate::{
    note::{NoteFault, Stub, VerifierKey},
    tree::Tree,
};

/// The row, as it is written.
#[derive(Debug, Deserialize)]
struct Row {
    begin: u64,
    first: u64,
    end: u64,
    size: u64,
    from: String,
    to: String,
    removed: Option<String>,
}

/// What is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeFlaw {
    /// It is not of the stretch of the log that is there.
    #[error("the bundle says another range than the one that is in it")]
    Another,
    /// Of an entry that must be there to be read there is only the hash.
    #[error("entry {0} is withheld: the bundle has only its hash")]
    Withheld(u64),
    /// An entry beside the range is of the window, too.
    #[error("entry {0} is of the window, and outside of the range that the bundle says")]
    Outside(u64),
    /// The stub of what was removed is not to be believed.
    #[error("the stub of what retention removed is not to be believed: {0}")]
    Stub(NoteFault),
    /// The log does not begin where it should.
    #[error("entries before {0} are missing, and no stub says that retention removed them")]
    Beginning(u64),
}

/// The range, while the leaves come.
#[derive(Debug)]
pub(crate) struct Range {
    row: Row,
    removed: Option<Stub>,
    /// Whether the leaf before its first was there, and the one after its last.
    is_preceded: bool,
    is_followed: bool,
}

impl Range {
    /// Reads it; none when it is no row of that form.
    pub(crate) fn read(
        row: &str,
        origin: &str,
        keys: &[VerifierKey],
    ) -> Option<Result<Self, RangeFlaw>> {
        let row: Row = serde_json::from_str(row).ok()?;
        let stub = |note| Stub::open(note, origin, keys, "the stub");
        let removed = row.removed.as_deref().map(stub).transpose();
        Some(removed.map_err(RangeFlaw::Stub).map(|removed| Self {
            row,
            removed,
            is_preceded: false,
            is_followed: false,
        }))
    }

    /// The window.
    pub(crate) fn window(&self) -> (String, String) {
        (self.row.from.clone(), self.row.to.clone())
    }

    /// Its first entry, and the number after its last.
    pub(crate) fn entries(&self) -> (u64, u64) {
        (self.row.first, self.row.end)
    }

    /// The day before which retention removed what was before its first entry, if it did.
    pub(crate) fn removed_before(&self) -> Option<String> {
        let stub = self.removed.as_ref()?;
        (stub.checkpoint.size == self.row.first).then(|| stub.before.clone())
    }

    /// The next entry: its number and, where its leaf is there, when it says that it was.
    pub(crate) fn entry(&mut self, seq: u64, time: Option<&str>) -> Result<(), RangeFlaw> {
        let Row {
            first,
            end,
            from,
            to,
            ..
        } = &self.row;
        let is_before = seq.checked_add(1) == Some(*first);
        let is_after = seq == *end;
        let is_asked = is_before || is_after || (*first..*end).contains(&seq);
        let Some(time) = time else {
            return if is_asked {
                Err(RangeFlaw::Withheld(seq))
            } else {
                Ok(())
            };
        };
        let time = instant(time).ok_or(RangeFlaw::Outside(seq))?;
        let bounds = (instant(from), instant(to));
        let (Some(from), Some(to)) = bounds else {
            return Err(RangeFlaw::Another);
        };
        if is_before && time >= from || is_after && time <= to {
            return Err(RangeFlaw::Outside(seq));
        }
        self.is_preceded |= is_before;
        self.is_followed |= is_after;
        Ok(())
    }

    /// There are no more entries: the stretch began with this tree and ended with that many.
    pub(crate) fn end(&self, before: &Tree, size: u64) -> Result<(), RangeFlaw> {
        let Row {
            begin, first, end, ..
        } = self.row;
        let is_ordered = begin <= first && first <= end && end <= size;
        if begin != before.size() || self.row.size != size || !is_ordered {
            return Err(RangeFlaw::Another);
        }
        if end < size && !self.is_followed {
            return Err(RangeFlaw::Withheld(end));
        }
        if first == 0 || self.is_preceded {
            return Ok(());
        }
        let stub = self.removed.as_ref();
        let is_removed = stub.is_some_and(|stub| {
            stub.checkpoint.size == first && begin == first && stub.checkpoint.root == before.root()
        });
        if is_removed {
            Ok(())
        } else {
            Err(RangeFlaw::Beginning(first))
        }
    }
}

/// An instant in UTC as RFC 3339 has it, in a form that is ordered as instants are.
fn instant(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_suffix('Z')?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = fraction.bytes().all(|byte| byte.is_ascii_digit());
    let is_instant = seconds.len() == "2026-11-20T10:00:00".len() && is_digits;
    is_instant.then(|| (seconds, fraction.trim_end_matches('0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_ordered_whatever_their_fractions() {
        let ordered = [
            "2026-11-20T10:00:00Z",
            "2026-11-20T10:00:00.05Z",
            "2026-11-20T10:00:00.123Z",
            "2026-11-20T10:00:00.1231Z",
            "2026-11-20T10:00:00.2Z",
            "2026-11-20T10:00:01Z",
        ];
        let ordered = ordered.map(|text| instant(text).unwrap());
        assert!(ordered.is_sorted(), "{ordered:?}");
        assert_eq!(
            instant("2026-11-20T10:00:00.500Z"),
            instant("2026-11-20T10:00:00.5Z")
        );
        for wrong in [
            "2026-11-20T10:00:00",
            "2026-11-20",
            "2026-11-20T10:00:00.xZ",
        ] {
            assert_eq!(instant(wrong), None);
        }
    }
}
