//! Where the kernel or a seccomp profile refuses io_uring, the proxy takes epoll by itself, and says so.

use ringway_config::model::Role;
use ringway_tests::harness::{Config, ProxyBuilder, Upstream, proxy::Refusal};

#[test]
fn epoll_is_chosen_when_seccomp_says_eperm() {
    chooses_epoll(Refusal::Eperm);
}

#[test]
fn epoll_is_chosen_when_seccomp_says_enosys() {
    chooses_epoll(Refusal::Enosys);
}

#[test]
fn uring_alone_ends_when_it_is_refused() {
    let config = Config::http(Role::Gateway);
    let case = ringway_tests::harness::Case { backend: ringway_tests::harness::Backend::Uring, workers: 1 };
    let mut program = ProxyBuilder::new(case, config).refuse_io_uring(Refusal::Eperm).start_unready();
    assert!(!program.wait().success());
    assert!(program.stderr().contains("io_uring"), "{}", program.stderr());
}

fn chooses_epoll(refusal: Refusal) {
    let upstream = Upstream::echo();
    let config = Config::http(Role::Gateway).upstream(upstream.address());
    let proxy = ProxyBuilder::auto(config).workers(2).refuse_io_uring(refusal).start();
    assert_eq!(proxy.backend(), "epoll");
    let mut client = proxy.client();
    for _ in 0..100 {
        client.expect_alive("up.test");
    }
    let (name, number) = match refusal {
        Refusal::Eperm => ("EPERM", "os error 1)"),
        Refusal::Enosys => ("ENOSYS", "os error 38)"),
    };
    assert_eq!(proxy.metric("ringway_io_backend", &[("backend", "epoll"), ("reason", name)]), 1.0);
    let said: Vec<String> = proxy.program.stderr().lines().filter(|l| l.contains("epoll")).map(str::to_owned).collect();
    assert!(said.len() == 1 && said[0].contains(number), "one line about it: {said:?}");
}
