//! A text cut into pieces that can be parsed one by one.

use std::ops::Range;

/// Some whole documents of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its bytes.
    pub range: Range<usize>,
    /// Number of its first line, from 1.
    pub line: u32,
}

/// Cuts at every line that starts a document: YAML lets no content have such a line (YAML 1.2.2 §9.1.2, `c-forbidden`). A text with directives, a byte
/// order mark or old line ends stays whole: there a document is not told by its own lines alone.
pub fn pieces(text: &str) -> Vec<Piece> {
    let mut found = vec![Piece { range: 0..text.len(), line: 1 }];
    let mut start = 0;
    for (line, number) in text.split_inclusive('\n').zip(1..) {
        let content = line.strip_suffix('\n').unwrap_or(line);
        let content = content.strip_suffix('\r').unwrap_or(content);
        if content.starts_with(['%', '\u{feff}']) || content.contains('\r') {
            return vec![Piece { range: 0..text.len(), line: 1 }];
        }
        let marks = content.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
        if marks && start > 0 {
            if let Some(before) = found.last_mut() {
                before.range.end = start;
            }
            found.push(Piece { range: start..text.len(), line: number });
        }
        start += line.len();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::{Budget, Entry, Node, Span, Spent, Value, parse, parse_piece};
    use super::*;
    use proptest::prelude::*;

    const LINES: [&str; 20] = [
        "---",
        "--- # one",
        "--- {a: 1}",
        "...",
        "# nothing",
        "",
        "a: 1",
        "b: [1,",
        "  2]",
        "c: |",
        "  é text",
        "  ---",
        "d: &x {e: 1}",
        "f: *x",
        "g: \"q",
        "  q\"",
        "---x: 1",
        "%YAML 1.2",
        "h: 1\r",
        "- 1",
    ];

    /// What nodes are and where they begin. An empty text begins nowhere in particular.
    fn told(nodes: &[Node]) -> Vec<String> {
        let node = |node: &Node| match &node.value {
            Value::Scalar { text, plain } if text.is_empty() => format!("{plain}"),
            Value::Scalar { text, plain } => format!("{text:?} {plain} {}", at(node.span)),
            Value::Sequence(items) => format!("{:?} {}", told(items), at(node.span)),
            Value::Mapping(entries) => {
                let entry =
                    |e: &Entry| format!("{:?} {} {:?}", e.key, at(e.key_span), told(std::slice::from_ref(&e.value)));
                format!("{:?} {}", entries.iter().map(entry).collect::<Vec<_>>(), at(node.span))
            }
        };
        nodes.iter().map(node).collect()
    }

    fn at(span: Span) -> String {
        format!("{}:{} {}", span.line, span.column, span.start)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn in_pieces_a_text_is_what_it_is_as_a_whole(
            lines in prop::collection::vec(prop::sample::select(LINES.to_vec()), 0..14),
        ) {
            let (text, budget) = (lines.join("\n"), Budget::default());
            let mut spent = Spent::default();
            let cut = pieces(&text);
            let parts: Result<Vec<_>, _> =
                cut.iter().map(|piece| parse_piece(&text, piece, &budget, &mut spent)).collect();
            let whole = parse(&text, &budget);
            prop_assert_eq!(parts.is_ok(), whole.is_ok(), "{:?} {:?} {:?}", text, parts, whole);
            if let (Ok(parts), Ok(whole)) = (parts, whole) {
                prop_assert_eq!(told(&parts.concat()), told(&whole), "{:?}", text);
            }
        }
    }

    #[test]
    fn a_piece_a_document() {
        let cut = |text| pieces(text).into_iter().map(|piece| (piece.range.start, piece.line)).collect::<Vec<_>>();
        assert_eq!(cut("a: 1\n---\nb: 2\n--- # c\nc: |\n  ---\n"), [(0, 1), (5, 2), (14, 4)]);
        assert_eq!(cut("---\na: 1\r\n---\r\nb: 1"), [(0, 1), (10, 3)]);
        assert_eq!(cut("%YAML 1.2\n---\na: 1\n"), [(0, 1)]);
        assert_eq!(cut(""), [(0, 1)]);
    }
}
