//! What a terminal shows while the load runs: some lines that are drawn anew every second.

use std::collections::VecDeque;
use std::fmt::Write;

use crate::report::time;
use crate::run::Second;
use crate::tally::{Cause, Tally};

/// Seconds that the history of the rate shows.
const HISTORY: usize = 60;
/// Characters of the bar that shows how far the run is.
const BAR_WIDTH: u64 = 20;
/// Lines of the view.
const LINES: usize = 5;
const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The view.
#[derive(Debug)]
pub struct View {
    colours: bool,
    /// Requests of the last seconds.
    rates: VecDeque<u64>,
    drawn: bool,
}

impl View {
    /// Nothing is drawn yet.
    pub fn new(colours: bool) -> View {
        View { colours, rates: VecDeque::with_capacity(HISTORY), drawn: false }
    }

    /// Draws over what was drawn before.
    pub fn draw(&mut self, second: Second, seconds: u64) -> String {
        if self.rates.len() == HISTORY {
            self.rates.pop_front();
        }
        self.rates.push_back(second.tally.requests);
        let done = second.second + 1;
        let filled = (done * BAR_WIDTH / seconds.max(1)).min(BAR_WIDTH) as usize;
        let bar = "━".repeat(filled) + &"·".repeat(BAR_WIDTH as usize - filled);
        let lines = [
            format!("{done:>5} of {seconds} s  {bar}"),
            format!("rate        {:>9}/s  {}", second.tally.requests, self.painted("36", &self.history())),
            format!("this second {}", latencies(second.tally)),
            format!("all so far  {}", latencies(second.total)),
            self.failures(second.total),
        ];
        let mut out = self.erased();
        self.drawn = true;
        // A line that is too long for the terminal is cut off: were it wrapped, the next drawing would begin in the wrong place.
        out.push_str("\x1b[?7l");
        for line in lines {
            let _ = writeln!(out, "{line}");
        }
        out.push_str("\x1b[?7h");
        out
    }

    /// Takes it away again; what comes next on the terminal begins where it was.
    pub fn erase(&mut self) -> String {
        let out = self.erased();
        (self.drawn, self.rates) = (false, VecDeque::with_capacity(HISTORY));
        out
    }

    fn erased(&self) -> String {
        if self.drawn { format!("\r\x1b[{LINES}A\x1b[J") } else { String::new() }
    }

    fn history(&self) -> String {
        let most = self.rates.iter().copied().max().unwrap_or(0).max(1);
        self.rates.iter().map(|rate| STEPS[(rate * (STEPS.len() as u64 - 1)).div_ceil(most) as usize]).collect()
    }

    fn failures(&self, total: &Tally) -> String {
        let causes: Vec<String> = Cause::ALL
            .iter()
            .filter(|cause| total.failed_by(**cause) > 0)
            .map(|cause| format!("{} {}", cause.name(), total.failed_by(*cause)))
            .collect();
        let failed = total.failed();
        let line = format!("failed      {failed:>9}    {}", causes.join(", "));
        if failed > 0 { self.painted("31", &line) } else { line }
    }

    fn painted(&self, colour: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_string() }
    }
}

fn latencies(tally: &Tally) -> String {
    let at = |quantile| time(tally.latency.value_at_quantile(quantile));
    format!(
        "p50 {:>9}  p90 {:>9}  p99 {:>9}  p99.9 {:>9}  max {:>9}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        time(tally.latency.max())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(requests: u64, failed: u64) -> Tally {
        let mut tally = Tally::new(1);
        tally.requests = requests;
        (0..failed).for_each(|_| tally.fail(Cause::Timeout));
        tally.latency.record(1_000_000).unwrap();
        tally
    }

    fn draw(view: &mut View, second: u64, requests: u64, failed: u64) -> String {
        let (tally, total) = (tally(requests, failed), tally(requests * 2, failed));
        view.draw(Second { second, tally: &tally, total: &total }, 10)
    }

    #[test]
    fn a_view_says_how_the_run_goes() {
        let mut view = View::new(false);
        draw(&mut view, 0, 0, 0);
        draw(&mut view, 1, 40, 0);
        let shown = draw(&mut view, 2, 80, 2);
        for said in ["3 of 10 s  ━━━━━━······", "80/s  ▁▅█", "this second p50", "max   1.00 ms", "2    timeout 2"]
        {
            assert!(shown.contains(said), "`{said}` is missing:\n{shown}");
        }
        assert_eq!(shown.lines().count(), LINES + 1, "{shown}");
    }

    #[test]
    fn a_view_is_drawn_over_the_one_before_and_taken_away_at_the_end() {
        let mut view = View::new(false);
        assert_eq!(view.erase(), "");
        assert!(draw(&mut view, 0, 1, 0).starts_with("\x1b[?7l"));
        assert!(draw(&mut view, 1, 1, 0).starts_with("\r\x1b[5A\x1b[J"));
        assert_eq!(view.erase(), "\r\x1b[5A\x1b[J");
        assert_eq!(view.erase(), "");
    }

    #[test]
    fn colours_are_left_out_on_request_and_the_history_has_an_end() {
        let (mut plain, mut coloured) = (View::new(false), View::new(true));
        let mut last = String::new();
        for second in 0..100 {
            last = draw(&mut plain, second, second, 1);
        }
        assert_eq!(last.chars().filter(|c| STEPS.contains(c)).count(), HISTORY);
        assert!(!last.contains("\x1b[3"), "{last:?}");
        assert!(draw(&mut coloured, 0, 1, 1).contains("\x1b[31mfailed"));
    }
}
