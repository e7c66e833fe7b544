//! `ringway status`: what the `status` of the Gateway API's objects would say, without a cluster.

use super::Output;
use crate::mesh::{Mesh, Options, placement};
use crate::object::decode;
use crate::source::folder;
use crate::status::{ObjectStatus, to_json, to_text};
use crate::translate::statuses;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `ringway status`.
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

/// Prints the status of every GatewayClass, Gateway and route. 1 when something of it is not as one would want it, or cannot be read.
pub fn run(arguments: &Arguments) -> ExitCode {
    let options = decode::Options { allow_unenforced: arguments.allow_unenforced };
    let loaded = folder::load_with(&arguments.manifests, options);
    let mesh = Mesh::new(loaded.objects, &mut placement::Sequential::default(), Options::default());
    let all = statuses(&mesh, &loaded.refused, &loaded.diagnostics);
    // What has no name has no status either.
    for found in loaded.diagnostics.iter().filter(|found| found.is_error() && found.object.is_none()) {
        eprintln!("{}", found.render(super::colour_on_stderr()));
    }
    let written = super::print(&match arguments.output {
        Output::Text => to_text(&all),
        Output::Json => {
            let items: Vec<_> = all.iter().map(to_json).collect();
            format!("{:#}\n", serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items}))
        }
    });
    let good = all.iter().all(ObjectStatus::is_good) && loaded.unreadable.is_empty();
    if good { written } else { ExitCode::from(1) }
}
