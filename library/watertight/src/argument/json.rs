use std::{cell::Cell, collections::HashSet, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use super::read::{ReadFault, Tree};

/// Lists and objects lie at most so deep in each other.
const DEPTH_MAX: usize = 32;
/// A body has at most so many values: each takes more memory than it has bytes.
const VALUES_MAX: usize = 20_000;

const MALFORMED: &str = "malformed";

/// Reads JSON strictly: UTF-8 without a mark, one value, bounded in depth and number of values,
/// no field twice in one object, no U+0000 (PostgreSQL has no room for it).
pub(super) fn parse(bytes: &[u8]) -> Result<Tree, ReadFault> {
    let malformed = |detail: String| ReadFault::new(MALFORMED, detail);
    let text =
        std::str::from_utf8(bytes).map_err(|_| malformed("the body is not UTF-8".to_owned()))?;
    if text.starts_with('\u{feff}') {
        return Err(malformed(
            "send the body without a byte order mark".to_owned(),
        ));
    }
    if text.trim().is_empty() {
        return Err(malformed(
            "the body is empty where JSON is asked for".to_owned(),
        ));
    }
    let bounds = Bounds {
        values_left: Cell::new(VALUES_MAX),
        broken: Cell::new(None),
    };
    let mut source = serde_json::Deserializer::from_str(text);
    let grown = Grow {
        bounds: &bounds,
        depth: 0,
    }
    .deserialize(&mut source);
    let tree = grown
        .and_then(|tree| source.end().map(|()| tree))
        .map_err(|error| {
            malformed(match bounds.broken.get() {
                Some(bound) => bound.to_owned(),
                None => format!(
                    "the body is not JSON from line {}, column {} on",
                    error.line(),
                    error.column()
                ),
            })
        })?;
    check(&tree)?;
    Ok(tree)
}

struct Bounds {
    values_left: Cell<usize>,
    broken: Cell<Option<&'static str>>,
}

impl Bounds {
    fn pass<E: Error>(&self, depth: usize) -> Result<(), E> {
        let broken = match self.values_left.get().checked_sub(1) {
            _ if depth > DEPTH_MAX => "lists and objects lie too deep in each other",
            None => "the body has too many values",
            Some(left) => {
                self.values_left.set(left);
                return Ok(());
            }
        };
        self.broken.set(Some(broken));
        Err(E::custom(broken))
    }
}

/// Grows one value of the tree.
#[derive(Clone, Copy)]
struct Grow<'a> {
    bounds: &'a Bounds,
    depth: usize,
}

impl Grow<'_> {
    fn deeper(self) -> Self {
        Self {
            depth: self.depth.saturating_add(1),
            ..self
        }
    }
}

impl<'de> DeserializeSeed<'de> for Grow<'_> {
    type Value = Tree;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Tree, D::Error> {
        self.bounds.pass(self.depth)?;
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Grow<'_> {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Tree, E> {
        Ok(Tree::Flag(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(Tree::Number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Number(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Tree, E> {
        let number = Number::from_f64(number).ok_or_else(|| E::custom("not a finite number"))?;
        Ok(Tree::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Tree, E> {
        Ok(Tree::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.deeper())? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Tree, A::Error> {
        let mut object = Vec::new();
        while let Some(name) = fields.next_key::<String>()? {
            object.push((name, fields.next_value_seed(self.deeper())?));
        }
        Ok(Tree::Object(object))
    }
}

/// No field twice, no U+0000. The tree is at most [`DEPTH_MAX`] deep.
fn check(tree: &Tree) -> Result<(), ReadFault> {
    match tree {
        Tree::Text(text) => check_text(text),
        Tree::List(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(place, item)| check(item).map_err(|fault| fault.under(place))),
        Tree::Object(fields) => {
            let mut seen = HashSet::new();
            fields.iter().try_for_each(|(name, value)| {
                check_text(name)?;
                if !seen.insert(name) {
                    let fault = ReadFault::new("duplicate-field", "the field is given twice");
                    return Err(fault.under(name));
                }
                check(value).map_err(|fault| fault.under(name))
            })
        }
        _ => Ok(()),
    }
}

fn check_text(text: &str) -> Result<(), ReadFault> {
    if text.contains('\0') {
        return Err(ReadFault::new(MALFORMED, "text has the character U+0000"));
    }
    Ok(())
}
