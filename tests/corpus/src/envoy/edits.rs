//! Header edits → what routes and weighted clusters add and remove.

use super::list;
use serde_json::{Value, json};

/// Edits of a request and of its response, in Envoy's words.
#[derive(Default)]
pub struct Edits {
    pub request_add: Vec<Value>,
    pub request_remove: Vec<Value>,
    pub response_add: Vec<Value>,
    pub response_remove: Vec<Value>,
}

impl Edits {
    /// Takes in `headers` of a rule or a destination. The authority that it sets is returned: it is no header.
    pub fn read(&mut self, headers: &Value) -> Option<String> {
        let mut authority = None;
        for (message, add, remove) in [
            ("request", &mut self.request_add, &mut self.request_remove),
            ("response", &mut self.response_add, &mut self.response_remove),
        ] {
            let operations = &headers[message];
            for (operation, action) in [("set", "OVERWRITE_IF_EXISTS_OR_ADD"), ("add", "APPEND_IF_EXISTS_OR_ADD")] {
                for (name, value) in operations[operation].as_object().into_iter().flatten() {
                    if name.eq_ignore_ascii_case("host") {
                        authority = value.as_str().map(str::to_owned);
                    } else {
                        add.push(header(name, value, action));
                    }
                }
            }
            remove.extend(list(&operations["remove"]).iter().cloned());
        }
        authority
    }

    /// Puts them into a route or a weighted cluster.
    pub fn write(self, into: &mut Value) {
        for (field, edits) in [
            ("request_headers_to_add", self.request_add),
            ("request_headers_to_remove", self.request_remove),
            ("response_headers_to_add", self.response_add),
            ("response_headers_to_remove", self.response_remove),
        ] {
            if !edits.is_empty() {
                into[field] = edits.into();
            }
        }
    }
}

/// A header that is written.
pub fn header(name: &str, value: &Value, action: &str) -> Value {
    json!({"header": {"key": name, "value": value}, "append_action": action})
}
