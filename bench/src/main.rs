//! `ringway-load`: see the library and `docs/load.md`.

fn main() -> std::process::ExitCode {
    ringway_load::cli::main()
}
