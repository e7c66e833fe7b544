//! Which driver this process uses: asked for, or found out at start.
//!
//! Container runtimes refuse io_uring by seccomp (EPERM or ENOSYS), hosts by sysctl (EPERM) or LSM (EACCES), old kernels by
//! EINVAL, and small memory limits by ENOMEM. None of these is a reason not to start: `auto` takes epoll then, and says why.

use std::str::FromStr;

use crate::io::{Backend, Errno, Limits};
use crate::uring::{OpenError, Uring};

/// The refusals after which `auto` takes epoll.
const REFUSALS: [i32; 5] = [libc::EPERM, libc::ENOSYS, libc::EACCES, libc::EINVAL, libc::ENOMEM];

/// What the operator asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// io_uring where the kernel allows it, else epoll.
    #[default]
    Auto,
    /// io_uring or nothing.
    Uring,
    /// epoll.
    Epoll,
}

/// Not one of `auto`, `uring`, `epoll`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownChoice;

impl std::fmt::Display for UnknownChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("expected auto, uring or epoll")
    }
}

impl std::error::Error for UnknownChoice {}

impl FromStr for Choice {
    type Err = UnknownChoice;
    fn from_str(s: &str) -> Result<Choice, UnknownChoice> {
        match s {
            "auto" => Ok(Choice::Auto),
            "uring" => Ok(Choice::Uring),
            "epoll" => Ok(Choice::Epoll),
            _ => Err(UnknownChoice),
        }
    }
}

/// What was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// [`Backend::Uring`] or [`Backend::Epoll`].
    pub backend: Backend,
    /// Why not io_uring, when it was wanted: one log line and a metric label.
    pub refused: Option<OpenError>,
}

impl Chosen {
    /// The refusal's name for a metric label: `EPERM`, `ENOSYS`, …, or an empty string.
    pub fn reason(&self) -> &'static str {
        self.refused.map_or("", |refused| errno_name(refused.errno))
    }
}

/// Decides by opening a ring with these limits and closing it again. Each worker then opens its own, on its own thread.
pub fn probe(choice: Choice, limits: Limits) -> Result<Chosen, OpenError> {
    if choice == Choice::Epoll {
        return Ok(Chosen { backend: Backend::Epoll, refused: None });
    }
    match Uring::open(limits) {
        Ok(_) => Ok(Chosen { backend: Backend::Uring, refused: None }),
        Err(refused) if choice == Choice::Auto && REFUSALS.contains(&refused.errno.0) => {
            Ok(Chosen { backend: Backend::Epoll, refused: Some(refused) })
        }
        Err(refused) => Err(refused),
    }
}

fn errno_name(errno: Errno) -> &'static str {
    match errno.0 {
        libc::EPERM => "EPERM",
        libc::ENOSYS => "ENOSYS",
        libc::EACCES => "EACCES",
        libc::EINVAL => "EINVAL",
        libc::ENOMEM => "ENOMEM",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_command_line() {
        for (word, choice) in [
            ("auto", Ok(Choice::Auto)),
            ("uring", Ok(Choice::Uring)),
            ("epoll", Ok(Choice::Epoll)),
            ("kqueue", Err(UnknownChoice)),
        ] {
            assert_eq!(word.parse(), choice);
        }
    }

    #[test]
    fn every_refusal_has_a_name() {
        assert!(REFUSALS.iter().all(|errno| errno_name(Errno(*errno)).starts_with('E')));
    }

    #[test]
    fn epoll_is_taken_without_asking_the_kernel() {
        let chosen = probe(Choice::Epoll, Limits::default()).unwrap();
        assert_eq!((chosen.backend, chosen.reason()), (Backend::Epoll, ""));
    }
}
