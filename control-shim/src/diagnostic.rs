//! What is said to people about their manifests: one sentence, the place, and how to mend it.

use crate::object::ObjectRef;
use std::fmt;
use std::sync::Arc;

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; nothing is lost.
    Notice,
    /// Works, though not in every respect as written.
    Warning,
    /// The object is refused.
    Error,
}

impl Severity {
    /// `error`, `warning` or `notice`.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Notice => "notice",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How much it weighs.
    pub severity: Severity,
    /// A stable word to count and to search for, such as `unknown-field`.
    pub code: &'static str,
    /// What is wrong: one sentence without a full stop.
    pub message: String,
    /// How to mend it; empty when there is nothing to do.
    pub mend: String,
    /// Where.
    pub place: Option<Place>,
    /// Which object.
    pub object: Option<ObjectRef>,
}

/// A place in a file, with the line it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as the user named it.
    pub file: Arc<str>,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// Characters to underline, at least 1.
    pub length: u32,
    /// The line itself, at most [`SOURCE_LINE_CHARS_MAX`] characters of it.
    pub source: Arc<str>,
}

/// Longest piece of a source line that a diagnostic carries.
pub const SOURCE_LINE_CHARS_MAX: usize = 160;

impl Diagnostic {
    /// A finding without a place.
    pub fn new(severity: Severity, code: &'static str, message: impl Into<String>, mend: impl Into<String>) -> Self {
        Diagnostic { severity, code, message: message.into(), mend: mend.into(), place: None, object: None }
    }

    /// An error without a place.
    pub fn error(code: &'static str, message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message, mend)
    }

    /// A warning without a place.
    pub fn warning(code: &'static str, message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message, mend)
    }

    /// A notice without a place.
    pub fn notice(code: &'static str, message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(Severity::Notice, code, message, mend)
    }

    /// The same, at a place.
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// The same, about an object.
    pub fn about(mut self, object: ObjectRef) -> Self {
        self.object = Some(object);
        self
    }

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The text for a terminal; several lines, the last one ended.
    pub fn render(&self, colour: bool) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut out, if colour { &COLOURS } else { &PLAIN });
        out
    }

    /// One JSON object.
    pub fn to_json(&self) -> serde_json::Value {
        let mut json = serde_json::json!({
            "severity": self.severity.word(),
            "code": self.code,
            "message": self.message,
            "help": self.mend,
        });
        if let Some(place) = &self.place {
            json["file"] = serde_json::json!(&*place.file);
            json["line"] = serde_json::json!(place.line);
            json["column"] = serde_json::json!(place.column);
            json["length"] = serde_json::json!(place.length);
        }
        if let Some(object) = &self.object {
            json["object"] =
                serde_json::json!({"kind": &*object.kind, "namespace": &*object.namespace, "name": &*object.name});
        }
        json
    }

    fn write(&self, out: &mut impl fmt::Write, style: &Style) -> fmt::Result {
        let paint = match self.severity {
            Severity::Error => style.error,
            Severity::Warning => style.warning,
            Severity::Notice => style.notice,
        };
        let Style { bold, blue, off, .. } = style;
        write!(out, "{paint}{}[{}]{off}{bold}: ", self.severity.word(), self.code)?;
        write_safe(out, &self.message)?;
        writeln!(out, "{off}")?;
        if let Some(place) = &self.place {
            write!(out, " {blue}-->{off} ")?;
            write_safe(out, &place.file)?;
            writeln!(out, ":{}:{}", place.line, place.column)?;
            if !place.source.is_empty() {
                let number = place.line.to_string();
                let margin = " ".repeat(number.len());
                write!(out, "{blue}{number} |{off} ")?;
                write_safe(out, &place.source)?;
                let skip = (place.column as usize).saturating_sub(1).min(SOURCE_LINE_CHARS_MAX);
                let rest = place.source.chars().count().saturating_sub(skip).max(1);
                let carets = "^".repeat((place.length as usize).clamp(1, rest));
                writeln!(out, "\n{blue}{margin} |{off} {}{paint}{carets}{off}", " ".repeat(skip))?;
            }
        } else if let Some(object) = &self.object {
            write!(out, " {blue}-->{off} ")?;
            write_safe(out, &object.to_string())?;
            writeln!(out)?;
        }
        if !self.mend.is_empty() {
            write!(out, "  {bold}help:{off} ")?;
            write_safe(out, &self.mend)?;
            writeln!(out)?;
        }
        Ok(())
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, &PLAIN)
    }
}

/// Manifests are not ours: control characters (terminal escapes, tabs that would move the caret) become one visible character each.
fn write_safe(out: &mut impl fmt::Write, text: &str) -> fmt::Result {
    for character in text.chars() {
        match character {
            '\t' => out.write_char(' ')?,
            c if c.is_control() => out.write_char('\u{fffd}')?,
            c => out.write_char(c)?,
        }
    }
    Ok(())
}

/// Text of others for a terminal: what is no printable character becomes one that is.
pub fn visible(text: &str) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_safe(&mut out, text);
    out
}

struct Style {
    error: &'static str,
    warning: &'static str,
    notice: &'static str,
    bold: &'static str,
    blue: &'static str,
    off: &'static str,
}

const PLAIN: Style = Style { error: "", warning: "", notice: "", bold: "", blue: "", off: "" };
const COLOURS: Style = Style {
    error: "\x1b[1;31m",
    warning: "\x1b[1;33m",
    notice: "\x1b[1;36m",
    bold: "\x1b[1m",
    blue: "\x1b[1;34m",
    off: "\x1b[0m",
};

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Diagnostic {
        Diagnostic::error("unknown-field", "`wieght` is no field of a route", "did you mean `weight`?").at(Place {
            file: "a.yaml".into(),
            line: 12,
            column: 7,
            length: 6,
            source: "      wieght: 90".into(),
        })
    }

    #[test]
    fn it_renders_with_line_and_caret() {
        let expected = "error[unknown-field]: `wieght` is no field of a route\n --> a.yaml:12:7\n12 |       wieght: 90\n   |       ^^^^^^\n  help: did you mean `weight`?\n";
        assert_eq!(sample().to_string(), expected);
        assert!(sample().render(true).contains("\x1b[1;31merror"));
    }

    #[test]
    fn terminal_escapes_in_a_manifest_are_made_visible() {
        let mut diagnostic = sample();
        diagnostic.message = "name `\x1b[2J` is bad".into();
        assert!(!diagnostic.to_string().contains('\x1b'));
    }
}
