//! `ringway check`: what is wrong with manifests, without running anything.

use super::Output;
use crate::diagnostic::{Diagnostic, Severity};
use crate::mesh::{Mesh, Options, placement};
use crate::object::decode;
use crate::source::folder;
use crate::translate;
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
    /// How to write it.
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// Prints every finding. 1 when there is an error.
pub fn run(arguments: &Arguments) -> ExitCode {
    let options = decode::Options { allow_unenforced: arguments.allow_unenforced };
    let loaded = folder::load_with(&arguments.manifests, options);
    let objects = loaded.objects.len();
    let mut diagnostics = loaded.diagnostics;
    let mesh = Mesh::new(loaded.objects, &mut placement::Sequential::default(), Options::default());
    diagnostics.extend(mesh.diagnostics.iter().cloned());
    diagnostics.extend(translate::translate(&mesh, None).diagnostics);
    let count = |severity| diagnostics.iter().filter(|d| d.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let text = match arguments.output {
        Output::Text => text(&diagnostics, objects, mesh.pods.len(), errors, warnings),
        Output::Json => {
            let findings: Vec<_> = diagnostics.iter().map(Diagnostic::to_json).collect();
            let json = serde_json::json!({"objects": objects, "pods": mesh.pods.len(), "errors": errors, "warnings": warnings, "findings": findings});
            format!("{json:#}\n")
        }
    };
    let written = super::print(&text);
    if errors > 0 { ExitCode::from(1) } else { written }
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
