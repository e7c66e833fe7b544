//! The subcommands of `ringway`. Each module owns its arguments and returns an exit code: 0 ok, 1 findings, 2 usage.

pub mod check;
pub mod dump;
pub mod explain;
pub mod heads;
pub mod leash;
pub mod plan;
pub mod run;
mod sarif;
pub mod status;

/// How a subcommand writes its result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Whether standard error may carry colours: a terminal, and nobody set `NO_COLOR`.
pub fn colour_on_stderr() -> bool {
    use std::io::IsTerminal;
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Whether standard output may carry colours.
pub fn colour_on_stdout() -> bool {
    use std::io::IsTerminal;
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Writes to standard output; a reader that went away (`| head`) is no error.
pub(crate) fn print(text: &str) -> std::process::ExitCode {
    use std::io::Write;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: standard output: {error}");
            std::process::ExitCode::from(1)
        }
    }
}
