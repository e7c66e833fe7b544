//! Texts with Envoy's command operators in them, taken apart: `%NAME%`, `%NAME(argument):length%`, and `%%` for a percent sign.

/// A piece of such a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Stands for itself; never empty.
    Text(String),
    /// What stands between two percent signs.
    Operator(&'a str),
}

/// Takes a text apart.
///
/// # Errors
/// What follows a `%` that begins an operator without an end.
pub fn pieces(text: &str) -> Result<Vec<Piece<'_>>, &str> {
    let (mut pieces, mut literal, mut rest) = (Vec::new(), String::new(), text);
    while let Some((before, after)) = rest.split_once('%') {
        literal.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            literal.push('%');
            rest = after;
            continue;
        }
        let (operator, after) = end(after).ok_or(after)?;
        if !literal.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut literal)));
        }
        pieces.push(Piece::Operator(operator));
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    Ok(pieces)
}

/// Where an operator ends: an argument in parentheses may have a `%` of its own.
fn end(text: &str) -> Option<(&str, &str)> {
    let from = match (text.find('('), text.find('%')) {
        (Some(open), Some(end)) if open < end => open + text[open..].find(')')?,
        _ => 0,
    };
    let end = from + text[from..].find('%')?;
    Some((&text[..end], &text[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let text = |text: &str| Piece::Text(text.into());
        let operator = Piece::Operator;
        for (from, expected) in [
            ("", Ok(vec![])),
            ("a%%b", Ok(vec![text("a%b")])),
            (
                "[%A%]%B%%C(%%x%):3%%%",
                Ok(vec![text("["), operator("A"), text("]"), operator("B"), operator("C(%%x%):3"), text("%")]),
            ),
            ("%é)%", Ok(vec![operator("é)")])),
            ("100%", Err("")),
            ("%A(b%", Err("A(b%")),
            ("%%%a", Err("a")),
        ] {
            assert_eq!(pieces(from), expected, "{from}");
        }
    }
}
