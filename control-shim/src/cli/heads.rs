//! Options on how the proxies of a mesh take request heads, for every command that starts some.

use ringway_config::model::{PathNormalization, PolicySet, Profile};

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
    /// Puts what was asked for into a policy.
    pub fn apply(self, policy: &mut PolicySet) {
        (policy.profile, policy.path_normalization) = match self.profile {
            Named::Istio => (Profile::Istio, PathNormalization::Base),
            Named::Strict => (Profile::Strict, PathNormalization::MergeSlashes),
        };
        if let Some(form) = self.path_normalization {
            policy.path_normalization = match form {
                Form::None => PathNormalization::None,
                Form::Base => PathNormalization::Base,
                Form::MergeSlashes => PathNormalization::MergeSlashes,
                Form::DecodeAndMergeSlashes => PathNormalization::DecodeAndMergeSlashes,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
            let mut policy = PolicySet::default();
            Command::try_parse_from(words).unwrap().heads.apply(&mut policy);
            assert_eq!((policy.profile, policy.path_normalization), (profile, form), "{line}");
        }
        assert!(Command::try_parse_from(["ringway", "--path-normalization", "RFC"]).is_err());
    }
}
