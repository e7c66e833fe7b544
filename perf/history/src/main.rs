//! The history of the figures: one JSON line a revision and machine, and a page that plots them.
//!
//! `history append FILE REVISION DATE < figures` adds the figures of a revision, as `instructions --write`, `budgets` and `first-figures` print them.
//! `history page FILE PAGE` draws all of it. `make history` does both.

mod page;
mod record;

use std::io::Read;
use std::process::ExitCode;

use record::History;

const USAGE: &str = "usage: history append FILE REVISION DATE < figures, or history page FILE PAGE";

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(mistake) => {
            eprintln!("error: {mistake}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Result<(), String> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["append", file, revision, date] => {
            let mut figures = String::new();
            std::io::stdin().read_to_string(&mut figures).map_err(|e| format!("the figures: {e}"))?;
            let mut history = History::read(file)?;
            let count = history.add(revision, date, &figures)?;
            history.write(file)?;
            println!("{file}: {count} figures of {revision}");
            Ok(())
        }
        ["page", file, page] => {
            std::fs::write(page, page::draw(&History::read(file)?)).map_err(|e| format!("{page}: {e}"))?;
            println!("{page}");
            Ok(())
        }
        _ => Err(USAGE.into()),
    }
}
