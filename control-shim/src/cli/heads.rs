//! Options on how the proxies of a mesh take request heads, for every command that starts some.

use crate::mesh::Options;
use ringway_config::model::{PathNormalization, Profile};

/// How request heads are taken.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct Heads {
    /// What is refused: as much as Istio refuses, or everything that two readers could understand in two ways.
    #[arg(long, value_name = "PROFILE", value_enum, default_value_t)]
    profile: Named,
    /// The form of paths that routes, logs and upstreams see, by its name in MeshConfig's pathNormalization; default is BASE, and MERGE_SLASHES under
    /// the strict profile.
    #[arg(long, value_name = "FORM", value_enum, ignore_case = true)]
    path_normalization: Option<Form>,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, Default)]
enum Named {
    #[default]
    Istio,
    Strict,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
#[value(rename_all = "SCREAMING_SNAKE_CASE")]
enum Form {
    None,
    Base,
    MergeSlashes,
    DecodeAndMergeSlashes,
}

impl Heads {
    /// A mesh's settings with what was asked for.
    pub fn mesh(self) -> Options {
        let mut options = Options::default();
        self.apply(&mut options);
        options
    }

    /// Puts what was asked for into a mesh's settings. A form of paths that is named here goes before MeshConfig's.
    pub fn apply(self, options: &mut Options) {
        let policy = &mut options.policy;
        (policy.profile, policy.path_normalization) = match self.profile {
            Named::Istio => (Profile::Istio, PathNormalization::Base),
            Named::Strict => (Profile::Strict, PathNormalization::MergeSlashes),
        };
        options.fixed.path_normalization = self.path_normalization.map(|form| match form {
            Form::None => PathNormalization::None,
            Form::Base => PathNormalization::Base,
            Form::MergeSlashes => PathNormalization::MergeSlashes,
            Form::DecodeAndMergeSlashes => PathNormalization::DecodeAndMergeSlashes,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Objects;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        heads: Heads,
    }

    #[test]
    fn forms_by_profile_and_by_name() {
        use PathNormalization::{Base, DecodeAndMergeSlashes, MergeSlashes, None};
        for (line, profile, form) in [
            ("", Profile::Istio, Base),
            ("--profile strict", Profile::Strict, MergeSlashes),
            ("--path-normalization MERGE_SLASHES", Profile::Istio, MergeSlashes),
            ("--path-normalization none", Profile::Istio, None),
            ("--profile strict --path-normalization DECODE_AND_MERGE_SLASHES", Profile::Strict, DecodeAndMergeSlashes),
        ] {
            let words = ["ringway"].into_iter().chain(line.split_whitespace());
            let mut options = Options::default();
            Command::try_parse_from(words).unwrap().heads.apply(&mut options);
            let settled = options.settled(&Objects::default()).policy;
            assert_eq!((settled.profile, settled.path_normalization), (profile, form), "{line}");
        }
        assert!(Command::try_parse_from(["ringway", "--path-normalization", "RFC"]).is_err());
    }
}
