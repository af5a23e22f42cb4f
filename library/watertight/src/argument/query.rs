use std::collections::HashSet;

use super::read::{ReadFault, Tree, echo};

/// A query has at most so many parameters.
const PARAMETERS_MAX: usize = 64;

/// Reads `a=1&b=2` strictly: no parameter twice, whole percent escapes that give UTF-8, no
/// control characters. `+` is a space, as forms write it.
pub(super) fn parse(query: &str) -> Result<Tree, ReadFault> {
    let mut seen = HashSet::new();
    let mut parameters = Vec::new();
    for piece in query.split('&').filter(|piece| !piece.is_empty()) {
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        let name = decode(name)
            .ok_or_else(|| ReadFault::new("malformed", "a name is not well formed text"))?;
        let value = decode(value).ok_or_else(|| {
            ReadFault::new("malformed", "the value is not well formed text").under(echo(&name))
        })?;
        if !seen.insert(name.clone()) {
            let fault = ReadFault::new("duplicate-field", "the parameter is given twice");
            return Err(fault.under(name));
        }
        if parameters.len() == PARAMETERS_MAX {
            return Err(ReadFault::new(
                "malformed",
                "the query has too many parameters",
            ));
        }
        parameters.push((name, Tree::Word(value)));
    }
    Ok(Tree::Object(parameters))
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => digit(bytes.next()?)?.checked_mul(16)? | digit(bytes.next()?)?,
            byte => byte,
        });
    }
    let text = String::from_utf8(decoded).ok()?;
    (!text.chars().any(char::is_control)).then_some(text)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}
