//! The page of a stand-in: who answered, whom it asked, and a shelf that fills with a book for every answer, coloured by version, so that a
//! changed weight is seen at once. One file without anything from elsewhere; the numbers are fetched from the same address as JSON.

use serde_json::Value;

const TEMPLATE: &str = include_str!("page.html");
const PLACE: &str = "\"REPORT\"";

/// The page around this report.
pub fn page(report: &Value) -> String {
    TEMPLATE.replacen(PLACE, &script_safe(&report.to_string()), 1)
}

/// JSON inside a script element: nothing in it may end the element, and headers come from strangers.
fn script_safe(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_cannot_leave_its_script_element() {
        assert_eq!(TEMPLATE.matches(PLACE).count(), 1);
        let report = serde_json::json!({"headers": {"x": "</script><script>alert(1)</script>"}});
        let page = page(&report);
        assert!(!page.contains("alert(1)</script>"));
        let json = page.split("type=\"application/json\">").nth(1).unwrap().split("</script>").next().unwrap();
        assert_eq!(serde_json::from_str::<Value>(json.trim()).unwrap(), report);
    }
}
