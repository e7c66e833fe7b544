//! Requests that mean to us what another one means to Envoy, which compares some of what they say as other bytes.

use super::differences::Rows;
use crate::generate::request::Request;
use crate::message::Answer;
use crate::predict::{Oracle, Prediction, Reading};

/// The row of conditions that see a query as it was sent.
pub const QUERY: &str = "query-decoding";

/// A request as Envoy reads it, in our words.
pub struct AsRead {
    sent: Request,
    /// The rows that say why another rule is met than we say.
    pub rows: Rows,
}

impl AsRead {
    /// What this request, of which `ours` is said, means to Envoy.
    pub fn new(oracle: &mut Oracle, request: &Request, ours: &Prediction) -> AsRead {
        let mut read = AsRead { sent: request.clone(), rows: Rows::new() };
        if let Some((path, query)) = request.target.split_once('?') {
            // Encoded once more, a query is decoded to what Envoy compares.
            read.sent.target = format!("{path}?{}", query.replace('%', "%25"));
            let differs = read.predict(oracle, Reading::OURS) != *ours;
            read.rows.extend(differs.then_some(QUERY));
        }
        read
    }

    /// What may happen, as far as it shows in the same answers as without the other reading.
    pub fn predict(&self, oracle: &mut Oracle, reading: Reading) -> Prediction {
        let mut prediction = oracle.predict_with(reading, &self.sent);
        prediction.outcomes.iter_mut().for_each(|outcome| back(&mut outcome.answer));
        prediction
    }
}

/// Makes what was encoded what it was.
fn back(answer: &mut Answer) {
    let decode = |text: &mut String| {
        if let Some((path, query)) = text.split_once('?') {
            *text = format!("{path}?{}", query.replace("%25", "%"));
        }
    };
    match answer {
        Answer::Endpoint { head, .. } => decode(&mut head.line),
        Answer::Local { location, .. } => location.iter_mut().for_each(decode),
    }
}
