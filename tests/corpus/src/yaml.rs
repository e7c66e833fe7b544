//! Manifests as text: written as people write them, and read back by a reader that knows nothing of the control shim's.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// Documents in block style.
pub fn write(documents: &[Value]) -> String {
    let mut text = String::new();
    for document in documents {
        text.push_str("---\n");
        block(document, 0, &mut text);
    }
    text
}

/// The documents of a text. Panics where it is not YAML.
pub fn read(text: &str) -> Vec<Value> {
    let mut documents = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.unwrap_or_else(|error| panic!("not YAML: {error}"));
        let whole = match event {
            Event::Scalar(text, style, ..) => scalar(&text, style),
            Event::SequenceStart(..) => {
                open.push(Open::List(Vec::new()));
                continue;
            }
            Event::MappingStart(..) => {
                open.push(Open::Map(Map::new(), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(list)) => Value::Array(list),
                Some(Open::Map(map, _)) => Value::Object(map),
                None => panic!("an end without a start at {span:?}"),
            },
            Event::Alias(_) => panic!("aliases are not read here: {span:?}"),
            _ => continue,
        };
        match open.last_mut() {
            None => documents.push(whole),
            Some(Open::List(list)) => list.push(whole),
            Some(Open::Map(map, key)) => match key.take() {
                Some(key) => drop(map.insert(key, whole)),
                None => *key = Some(whole.as_str().map_or_else(|| whole.to_string(), str::to_owned)),
            },
        }
    }
    documents
}

enum Open {
    List(Vec<Value>),
    Map(Map<String, Value>, Option<String>),
}

/// YAML 1.2's core schema, as far as manifests need it.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return text.into();
    }
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => true.into(),
        "false" => false.into(),
        _ => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(number), _) => number.into(),
            (_, Ok(number)) if text.starts_with(|c: char| c.is_ascii_digit() || c == '-') => number.into(),
            _ => text.into(),
        },
    }
}

fn block(value: &Value, indent: usize, text: &mut String) {
    let pad = " ".repeat(indent);
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                text.push_str(&format!("{pad}{}:", word(key)));
                below(value, indent + 2, text);
            }
        }
        Value::Array(list) => {
            for value in list {
                let mut item = String::new();
                if is_open(value) {
                    block(value, indent + 2, &mut item);
                    text.push_str(&format!("{pad}- {}", item.trim_start()));
                } else {
                    text.push_str(&format!("{pad}- {}\n", inline(value)));
                }
            }
        }
        _ => text.push_str(&format!("{pad}{}\n", inline(value))),
    }
}

/// What follows a key.
fn below(value: &Value, indent: usize, text: &mut String) {
    if is_open(value) {
        text.push('\n');
        block(value, indent, text);
    } else {
        text.push_str(&format!(" {}\n", inline(value)));
    }
}

fn is_open(value: &Value) -> bool {
    match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => false,
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => word(text),
        _ => value.to_string(),
    }
}

/// Plain where that cannot be misread; a JSON string is a YAML one.
fn word(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b))
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    if plain { text.into() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_is_read_back() {
        let documents = [
            json!({"a": {"b": [1, "1", "x y", {"c": {}, "d": []}, ["e", null]], "true": true, "off": "off"}, "/a-b.c": "\u{7f}\"é"}),
            json!({"plain": "a.b/c", "colon": "a: b", "empty": "", "float": 2.5, "minus": -3, "dash": "-", "v": "1.5.0"}),
        ];
        assert_eq!(read(&write(&documents)), documents);
    }
}
