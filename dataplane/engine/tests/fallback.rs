//! Where io_uring is refused, `auto` takes epoll and says why; `uring` says why and ends.
//!
//! A seccomp filter cannot be taken off again, so each case runs in a process of its own.

#![allow(clippy::unwrap_used)]

mod child;

use std::collections::BTreeMap;

use child::in_child;
use ringway_engine::choose::{Choice, probe};
use ringway_engine::io::{Backend, Io, Limits};
use ringway_engine::{Completion, Epoll, Errno};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

/// Makes io_uring_setup fail with `errno` for this thread, as container runtimes do.
fn refuse(errno: i32) {
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let rules = BTreeMap::from([(libc::SYS_io_uring_setup, vec![])]);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno as u32), arch).unwrap();
    apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
}

fn takes_epoll_after(errno: i32, name: &str) {
    refuse(errno);
    let chosen = probe(Choice::Auto, Limits::default()).unwrap();
    assert_eq!((chosen.backend, chosen.reason()), (Backend::Epoll, name));
    let refused = chosen.refused.unwrap();
    assert_eq!((refused.errno, refused.step), (Errno(errno), "io_uring_setup"));
    assert_eq!(probe(Choice::Uring, Limits::default()), Err(refused));
    // What was chosen works.
    let mut epoll = Epoll::open(Limits::default()).unwrap();
    epoll.waker().wake();
    let mut out = Vec::new();
    let deadline = epoll.now();
    epoll.turn(deadline, &mut out);
    assert!(matches!(out[..], [Completion::Woken]), "{out:?}");
}

#[test]
fn eperm_as_docker_and_containerd_say() {
    in_child("eperm_as_docker_and_containerd_say", || takes_epoll_after(libc::EPERM, "EPERM"));
}

#[test]
fn enosys_as_podman_and_cri_o_say() {
    in_child("enosys_as_podman_and_cri_o_say", || takes_epoll_after(libc::ENOSYS, "ENOSYS"));
}

#[test]
fn other_refusals() {
    in_child("other_refusals", || takes_epoll_after(libc::EACCES, "EACCES"));
}

#[test]
fn uring_is_taken_where_the_kernel_allows_it() {
    // Says which on a machine that does not.
    let chosen = probe(Choice::Auto, Limits::default()).unwrap();
    match chosen.refused {
        None => assert_eq!((chosen.backend, chosen.reason()), (Backend::Uring, "")),
        Some(refused) => {
            assert_eq!(chosen.backend, Backend::Epoll);
            println!("this machine has no io_uring: {refused}");
        }
    }
}
