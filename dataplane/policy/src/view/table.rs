//! A pattern for a whole value as a table: the next state for each state and byte. Matching reads one row a byte and allocates nothing.
//!
//! The library makes the automaton; what it keeps of one (start states for every kind of search, 32 bits for each transition) is several times what is needed here.

use std::collections::HashMap;

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::primitives::StateID;
use regex_automata::{Anchored, Input};
use regex_syntax::hir::{Hir, Look};

/// Bytes of an automaton, and of what making it takes; a pattern that needs more has no table.
const AUTOMATON_BYTES_MAX: usize = 16 << 10;
const WORK_BYTES_MAX: usize = 128 << 10;
/// The state from which nothing matches.
const DEAD: u16 = 0;
const START: u16 = 1;

/// The table.
pub(crate) struct Table {
    /// Bytes that no state tells apart share a column.
    columns: [u8; 256],
    /// Entries of a row: one for each column, and whether a value may end there.
    row: usize,
    /// By state, as numbers of rows.
    rows: Box<[u16]>,
}

impl Table {
    /// None where it would be too large.
    pub(super) fn new(pattern: Hir, nfa_bytes_max: usize) -> Option<Table> {
        let whole = Hir::concat(vec![Hir::look(Look::Start), pattern, Hir::look(Look::End)]);
        let nfa =
            thompson::Config::new().utf8(false).which_captures(WhichCaptures::None).nfa_size_limit(Some(nfa_bytes_max));
        let nfa = thompson::Compiler::new().configure(nfa).build_from_hir(&whole).ok()?;
        let dfa = dense::Config::new()
            .start_kind(StartKind::Anchored)
            .accelerate(false)
            .dfa_size_limit(Some(AUTOMATON_BYTES_MAX))
            .determinize_size_limit(Some(WORK_BYTES_MAX));
        Table::of(&dense::Builder::new().configure(dfa).build_from_nfa(&nfa).ok()?)
    }

    /// States in the order in which they are met.
    fn of(dfa: &dense::DFA<Vec<u32>>) -> Option<Table> {
        let classes = dfa.byte_classes();
        let mut columns = [0; 256];
        (0..=u8::MAX).zip(&mut columns).for_each(|(byte, column)| *column = classes.get(byte));
        let mut samples = Vec::new();
        for (byte, column) in (0..=u8::MAX).zip(&columns) {
            // Classes are numbered as their first bytes come.
            if usize::from(*column) == samples.len() {
                samples.push(byte);
            }
        }
        let start = dfa.start_state_forward(&Input::new(b"").anchored(Anchored::Yes)).ok()?;
        let mut numbers: HashMap<StateID, u16> = HashMap::from([(start, START)]);
        let mut states = vec![start];
        let row = samples.len() + 1;
        let mut rows = vec![DEAD; row];
        let mut at = 0;
        while let Some(state) = states.get(at).copied() {
            for byte in &samples {
                let next = dfa.next_state(state, *byte);
                if dfa.is_quit_state(next) {
                    return None;
                }
                if dfa.is_dead_state(next) {
                    rows.push(DEAD);
                    continue;
                }
                let number = *numbers.entry(next).or_insert_with(|| {
                    states.push(next);
                    states.len() as u16
                });
                rows.push(number);
            }
            rows.push(u16::from(dfa.is_match_state(dfa.next_eoi_state(state))));
            at += 1;
        }
        Some(Table { columns, row, rows: rows.into() })
    }

    /// Whether the whole value matches.
    #[inline]
    pub(super) fn is_match(&self, value: &[u8]) -> bool {
        let mut state = START;
        for byte in value {
            state = self.rows[usize::from(state) * self.row + usize::from(self.columns[usize::from(*byte)])];
            if state == DEAD {
                return false;
            }
        }
        self.rows[usize::from(state) * self.row + self.row - 1] != 0
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        size_of::<Table>() + size_of_val(&*self.rows)
    }
}
