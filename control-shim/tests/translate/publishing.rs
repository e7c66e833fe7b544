//! The stream to a proxy, first as a state machine, then over a socket.

use super::manifests::{Request, World, app, from, good, load, to};
use control_shim::publish::{Publisher, Session, SessionError, serve};
use ringway_config::message::{self, Message, VERSION};
use ringway_config::model::{Kind, RuleId};
use ringway_config::{Assembler, Hash, Order};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

fn mesh() -> World {
    good(&(app("a", &["v1"]) + &app("b", &["v1"])))
}

fn hello(node: &str, root: Option<(Hash, Order)>) -> Message {
    Message::Hello { version: VERSION, node: node.into(), labels: Vec::new(), root }
}

/// The proxy's side: takes everything in and answers.
struct Proxy {
    assembler: Assembler,
    absent: Vec<String>,
    blobs: usize,
}

impl Proxy {
    fn new() -> Self {
        Proxy { assembler: Assembler::new(None), absent: Vec::new(), blobs: 0 }
    }

    fn take(&mut self, messages: Vec<Message>) -> Vec<Message> {
        let mut answers = Vec::new();
        for message in messages {
            match message {
                Message::Blob { bytes } => {
                    self.blobs += 1;
                    self.assembler.blob(bytes).expect("a good blob");
                }
                Message::Root { delta, order } => {
                    self.assembler.root(delta, order).expect("a closed snapshot");
                    answers.push(Message::Ack { order });
                }
                Message::Absent { names, .. } => self.absent.extend(names),
                other => panic!("{other:?}"),
            }
        }
        answers
    }

    fn hosts(&self) -> Vec<String> {
        let snapshot = self.assembler.current().expect("something is in force");
        let hosts = snapshot.blobs().filter(|blob| blob.kind() == Kind::Host && blob.name().contains(".svc."));
        hosts.map(|blob| blob.name().to_string()).collect()
    }
}

/// Runs both sides until nobody has anything to say.
fn talk(session: &mut Session, proxy: &mut Proxy, world: &World, mut out: Vec<Message>) {
    while !out.is_empty() {
        let answers = proxy.take(std::mem::take(&mut out));
        for answer in answers {
            session.receive(answer, &world.compiled, &mut out).expect("in order");
        }
    }
}

#[test]
fn a_proxy_gets_its_base_then_what_it_asks_for_then_what_changes() {
    let world = mesh();
    let publisher = Publisher::new(1);
    let node = world.node("a-v1");
    let mut session = Session::open(publisher.clone(), &hello(&node, None)).expect("opens");
    let mut proxy = Proxy::new();
    let mut out = Vec::new();
    session.refresh(&world.compiled, &mut out);
    talk(&mut session, &mut proxy, &world, out);
    assert_eq!((proxy.hosts(), publisher.settled(1)), (vec![], true));

    let mut out = Vec::new();
    let want = Message::Want { names: vec!["b".into(), "nobody".into(), "b.default".into()] };
    session.receive(want, &world.compiled, &mut out).expect("in order");
    talk(&mut session, &mut proxy, &world, out);
    assert_eq!(
        (proxy.hosts(), proxy.absent.clone()),
        (vec!["b.default.svc.cluster.local:80".into()], vec!["nobody".to_string()])
    );

    // One weight more: one host and the provenance.
    let before = proxy.blobs;
    let route = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: b}\nspec:\n  hosts: [b]\n  http: [{timeout: 1s, route: [{destination: {host: b}}]}]\n";
    let next = from(load(&(app("a", &["v1"]) + &app("b", &["v1"]) + route)), Some(&world));
    assert!(!publisher.settled(next.compiled.version));
    let mut out = Vec::new();
    session.refresh(&next.compiled, &mut out);
    talk(&mut session, &mut proxy, &next, out);
    assert_eq!((proxy.blobs - before, publisher.settled(next.compiled.version)), (2, true));

    // The host goes: the want is given up, and said so.
    let last = from(load(&app("a", &["v1"])), Some(&next));
    let mut out = Vec::new();
    session.refresh(&last.compiled, &mut out);
    talk(&mut session, &mut proxy, &last, out);
    assert_eq!(proxy.hosts(), Vec::<String>::new());
    assert_eq!(proxy.absent, ["nobody", "b", "b.default"]);
    assert_eq!(publisher.status().nodes[&node].acked.map(|order| order.sequence), Some(4));
}

#[test]
fn a_refused_root_is_not_sent_again_and_the_next_one_starts_from_nothing() {
    let world = mesh();
    let publisher = Publisher::new(1);
    let node = world.node("a-v1");
    let mut session = Session::open(publisher.clone(), &hello(&node, None)).expect("opens");
    let mut out = Vec::new();
    session.refresh(&world.compiled, &mut out);
    let Some(Message::Root { order, .. }) = out.last().cloned() else { panic!("{out:?}") };
    out.clear();
    let nack = Message::Nack { order, reason: "port taken".into(), rule: RuleId(5) };
    session.receive(nack, &world.compiled, &mut out).expect("in order");
    session.refresh(&world.compiled, &mut out);
    assert!(out.is_empty(), "{out:?}");
    let status = publisher.status().nodes[&node].clone();
    assert_eq!((status.nacks, status.refused.map(|refusal| refusal.rule), status.acked), (1, Some(RuleId(5)), None));
    assert!(publisher.settled(1), "a refusal is an answer too");
    // Something changes: everything comes, and is complete.
    let next = from(load(&(app("a", &["v1"]).replace("8080", "8081") + &app("b", &["v1"]))), Some(&world));
    session.refresh(&next.compiled, &mut out);
    let mut proxy = Proxy::new();
    talk(&mut session, &mut proxy, &next, out);
    assert!(publisher.status().nodes[&node].refused.is_none());
}

#[test]
fn nothing_is_queued_behind_an_unanswered_root() {
    let world = mesh();
    let mut session = Session::open(Publisher::new(1), &hello(&world.node("a-v1"), None)).expect("opens");
    let mut out = Vec::new();
    session.refresh(&world.compiled, &mut out);
    let sent = out.len();
    let next = from(load(&app("a", &["v1"])), Some(&world));
    session.refresh(&next.compiled, &mut out);
    session.receive(Message::Want { names: vec!["a".into()] }, &next.compiled, &mut out).expect("in order");
    assert_eq!(out.len(), sent);
}

#[test]
fn a_returning_proxy_is_waited_for_and_strangers_are_refused() {
    let world = mesh();
    let node = world.node("a-v1");
    let publisher = Publisher::new(1);
    let mut session =
        Session::open(publisher.clone(), &hello(&node, Some((Hash([1; 32]), Order::default())))).expect("opens");
    let mut out = Vec::new();
    session.refresh(&world.compiled, &mut out);
    session.receive(Message::Want { names: vec!["b".into()] }, &world.compiled, &mut out).expect("in order");
    assert!(out.is_empty() && session.is_greeting());
    session.greeted(&world.compiled, &mut out);
    let mut proxy = Proxy::new();
    talk(&mut session, &mut proxy, &world, out);
    assert_eq!(proxy.hosts(), ["b.default.svc.cluster.local:80"]);
    drop(session);
    assert_eq!(publisher.status().nodes[&node].streams, 0);

    let open = |message: &Message| Session::open(publisher.clone(), message).map(|_| ()).expect_err("refused");
    assert_eq!(open(&Message::Want { names: vec![] }), SessionError::Order);
    assert_eq!(open(&hello("nameless", None)), SessionError::Node("nameless".into()));
    let other = Message::Hello { version: 9, node: "a/b".into(), labels: vec![], root: None };
    assert_eq!(open(&other), SessionError::Version(9));
}

#[test]
fn over_a_socket() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let world = mesh();
        let node = world.node("a-v1");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("shim.sock");
        let listener = UnixListener::bind(&path).expect("binds");
        let publisher = Publisher::starting_now();
        let (state, receiver) = watch::channel(Arc::new(world.compiled.clone()));
        let served = tokio::spawn(serve(listener, receiver, publisher.clone()));
        let mut stream = UnixStream::connect(&path).await.expect("connects");
        let mut proxy = Proxy::new();
        send(&mut stream, &hello(&node, None)).await;
        let mut input = Vec::new();
        exchange(&mut stream, &mut input, &mut proxy).await;
        send(&mut stream, &Message::Want { names: vec!["b".into()] }).await;
        exchange(&mut stream, &mut input, &mut proxy).await;
        assert_eq!(proxy.hosts(), ["b.default.svc.cluster.local:80"]);
        let next = from(load(&app("a", &["v1"])), Some(&world));
        state.send(Arc::new(next.compiled.clone())).expect("somebody listens");
        exchange(&mut stream, &mut input, &mut proxy).await;
        assert_eq!(proxy.hosts(), Vec::<String>::new());
        let mut ticks = publisher.subscribe();
        while !publisher.settled(next.compiled.version) {
            ticks.changed().await.expect("the publisher lives");
        }
        drop(stream);
        while publisher.status().nodes[&node].streams > 0 {
            ticks.changed().await.expect("the publisher lives");
        }
        drop(state);
        served.await.expect("no panic").expect("ends well");
        assert_eq!(world.ask("a-v1", "b", Request::default()), to("outbound|80||b.default.svc.cluster.local"));
    });
}

async fn send(stream: &mut UnixStream, message: &Message) {
    let mut bytes = Vec::new();
    message::encode(message, &mut bytes);
    stream.write_all(&bytes).await.expect("written");
}

/// Reads up to the next root and answers it.
async fn exchange(stream: &mut UnixStream, input: &mut Vec<u8>, proxy: &mut Proxy) {
    loop {
        while let Some((message, used)) = message::decode(input).expect("well formed") {
            input.drain(..used);
            let answers = proxy.take(vec![message]);
            for answer in &answers {
                send(stream, answer).await;
            }
            if !answers.is_empty() {
                return;
            }
        }
        assert_ne!(stream.read_buf(input).await.expect("readable"), 0, "the shim closed the stream");
    }
}
