//! `ringway check`: what is wrong with manifests, without running anything.

use crate::diagnostic::{Diagnostic, Severity};
use crate::explain::Source;
use crate::lint::lint;
use crate::mesh::placement;
use crate::object::decode;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `ringway check`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Manifest files and folders, applied in order as `kubectl apply` would.
    #[arg(required = true, value_name = "FILE|DIR")]
    pub manifests: Vec<PathBuf>,
    /// Take security that is not enforced yet for a warning.
    #[arg(long)]
    pub allow_unenforced: bool,
    /// How proxies take request heads.
    #[command(flatten)]
    pub heads: super::heads::Heads,
    /// The least that makes the exit code 1.
    #[arg(long, value_enum, default_value_t, value_name = "SEVERITY")]
    pub fail_on: FailOn,
    /// How to write it.
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// The least finding that fails a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum FailOn {
    /// An object that is refused.
    #[default]
    Error,
    /// What works, though not in every respect as written.
    Warning,
    /// Anything at all.
    Notice,
}

/// How findings are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// For code hosts: SARIF 2.1.0.
    Sarif,
}

/// Prints every finding. 1 when there is one that fails.
pub fn run(arguments: &Arguments) -> ExitCode {
    let options = decode::Options { allow_unenforced: arguments.allow_unenforced };
    let source =
        Source::compile(&arguments.manifests, options, arguments.heads.mesh(), &mut placement::Sequential::default());
    let Source::Manifests { mesh, compiled, mut diagnostics } = source else { return ExitCode::from(2) };
    diagnostics.extend(lint(&compiled));
    let (objects, pods) = (mesh.objects.len(), mesh.pods.len());
    let count = |severity| diagnostics.iter().filter(|d| d.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let text = match arguments.output {
        Output::Text => text(&diagnostics, objects, pods, errors, warnings),
        Output::Json => {
            let findings: Vec<_> = diagnostics.iter().map(Diagnostic::to_json).collect();
            let json = serde_json::json!({"objects": objects, "pods": pods, "errors": errors, "warnings": warnings, "findings": findings});
            format!("{json:#}\n")
        }
        Output::Sarif => format!("{:#}\n", super::sarif::sarif(&diagnostics)),
    };
    let written = super::print(&text);
    let fails = match arguments.fail_on {
        FailOn::Error => Severity::Error,
        FailOn::Warning => Severity::Warning,
        FailOn::Notice => Severity::Notice,
    };
    if diagnostics.iter().any(|finding| finding.severity >= fails) { ExitCode::from(1) } else { written }
}

fn text(diagnostics: &[Diagnostic], objects: usize, pods: usize, errors: usize, warnings: usize) -> String {
    let colour = super::colour_on_stdout();
    let mut text: String = diagnostics.iter().map(|diagnostic| diagnostic.render(colour) + "\n").collect();
    let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    text.push_str(&format!(
        "{}, {}: {}, {}\n",
        plural(objects, "object"),
        plural(pods, "pod"),
        plural(errors, "error"),
        plural(warnings, "warning")
    ));
    text
}
