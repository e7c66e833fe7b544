//! Opaque connections: who answers them, before our proxies and before Envoy, for TCP and for TLS that nobody ends.

mod envoy;
mod generate;

use crate::chi_square;
use crate::dice::Dice;
use crate::envoy::Envoy;
use crate::generate::Place;
use crate::origins::Addresses;
use crate::ringway::{Program, Proxies};
use crate::run;
use control_shim::explain::Subject;
use generate::{Door, Mesh};
use ringway_tests::harness::{Case, Client, Upstream, client_hello};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// Connections to one mesh.
const CONNECTIONS: usize = 50;
/// Equal connections behind one χ².
const REPEATS: usize = 100;
/// Bytes behind a hello, or all that is said to a TCP listener.
const SAID_MAX: usize = 40_000;

/// What may become of a connection: who answers, with which probability. Nobody is the empty name.
type Shares = BTreeMap<String, f64>;

/// Opens so many connections to proxies of generated meshes, and to Envoy where there is one. `Err` tells the first that is answered by somebody whom the
/// evaluator does not name, or with other bytes.
pub fn run(case: Case, program: Option<&Path>, connections: usize) -> Result<(), String> {
    for seeds in run::seeds(connections.div_ceil(CONNECTIONS), 4) {
        // They keep the descriptors of their connections, of which a process has only so many.
        let endpoints = Endpoints::start();
        let meshes: Vec<Mesh> = seeds.iter().map(|seed| Mesh::new(*seed)).collect();
        let manifests: Vec<(String, Addresses)> =
            meshes.iter().map(|mesh| (mesh.yaml(), endpoints.addresses(mesh))).collect();
        let envoy = program.map(|program| Envoy::run(program.to_owned(), &envoy::config(&manifests)));
        let mut proxies: Option<Proxies> = None;
        for (number, (mesh, (yaml, addresses))) in meshes.iter().zip(&manifests).enumerate() {
            let compiled = Program::compile(yaml, addresses, number as u64 + 1);
            let proxies = match &mut proxies {
                Some(proxies) => {
                    proxies.publish(&compiled);
                    proxies
                }
                none => none.insert(Proxies::start(case, &compiled, None)),
            };
            let told = |problem: String| format!("seed {}: {problem}\n{}", mesh.seed, mesh.yaml());
            one_mesh(mesh, number, &compiled, proxies, envoy.as_ref()).map_err(told)?;
        }
    }
    Ok(())
}

fn one_mesh(
    mesh: &Mesh,
    number: usize,
    compiled: &Program,
    proxies: &Proxies,
    envoy: Option<&Envoy>,
) -> Result<(), String> {
    let mut dice = Dice::new(mesh.seed, 2);
    let subjects: BTreeMap<Place, Subject> = Place::ALL.map(|place| (place, compiled.subject(place))).into();
    let mut uncertain: Option<(&Door, Option<&str>)> = None;
    let ours = |door: &Door| proxies.at(door.place).listener(&door.listener);
    let theirs = |envoy: &Envoy, door: &Door| envoy.listener(&format!("{number}/{}", door.name()));
    for _ in 0..CONNECTIONS {
        let door = &mesh.doors[dice.below(mesh.doors.len())];
        let name = door.tls.then(|| dice.pick(&generate::NAMES)).flatten();
        let shares = shares(&subjects[&door.place], door, name);
        let said = said(&mut dice, door, name);
        let allowed = |who: &str, whose: &str| match shares.contains_key(who) {
            true => Ok(()),
            false => Err(format!("at {} for {name:?} {whose} has {who:?}, and {shares:?} is possible", door.name())),
        };
        allowed(&ask(ours(door), &said)?, "our proxy")?;
        if let Some(envoy) = envoy {
            allowed(&ask(theirs(envoy, door), &said)?, "Envoy")?;
        }
        if shares.len() > 1 {
            uncertain = Some((door, name));
        }
    }
    let Some((door, name)) = uncertain else { return Ok(()) };
    let shares = shares(&subjects[&door.place], door, name);
    let count = |address: SocketAddr| -> Result<(), String> {
        let mut counted = BTreeMap::new();
        for _ in 0..REPEATS {
            *counted.entry(ask(address, &said(&mut Dice::new(0, 0), door, name))?).or_default() += 1;
        }
        chi_square::check(&shares, &counted)
    };
    let told = |whose: &'static str| move |problem| format!("at {} for {name:?} {whose}: {problem}", door.name());
    count(ours(door)).map_err(told("our proxy"))?;
    envoy.map_or(Ok(()), |envoy| count(theirs(envoy, door)).map_err(told("Envoy")))
}

/// What `ringway explain` says of a connection.
fn shares(subject: &Subject, door: &Door, name: Option<&str>) -> Shares {
    let listener = subject.view().listener(&door.listener);
    let listener = listener.unwrap_or_else(|| panic!("there is no listener {}", door.listener));
    let told = subject.explain_tcp(listener, name.unwrap_or_default()).json();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut shares = Shares::new();
    for destination in list(&told["outcome"]["destinations"]) {
        let endpoints = list(&destination["endpoints"]);
        for endpoint in endpoints.iter().filter(|one| one["probability"] != 0.0) {
            let address = endpoint["address"].as_str().unwrap_or_default().to_owned();
            *shares.entry(address).or_default() += endpoint["probability"].as_f64().unwrap_or(0.0);
        }
        if !destination["status"].is_null() {
            *shares.entry(String::new()).or_default() += destination["probability"].as_f64().unwrap_or(0.0);
        }
    }
    if shares.is_empty() {
        shares.insert(String::new(), 1.0);
    }
    shares
}

/// What a client says: a hello first where there is TLS, then anything.
fn said(dice: &mut Dice, door: &Door, name: Option<&str>) -> Vec<u8> {
    let mut said = if door.tls { client_hello(name) } else { vec![0, 13, 10] };
    said.extend((0..dice.below(SAID_MAX)).map(|n| (n * 7) as u8));
    said
}

/// Who answers; nobody where the connection ends. `Err` where the endpoint did not get what was said, or the client not what it answered.
fn ask(address: SocketAddr, said: &[u8]) -> Result<String, String> {
    let stream = TcpStream::connect(address).map_err(|e| format!("connecting to {address}: {e}"))?;
    // A connection that leads nowhere may have ended before anybody looks.
    let Ok(mut client) = Client::over_tcp(stream) else { return Ok(String::new()) };
    if client.try_send(said).is_err() {
        return Ok(String::new());
    }
    let (mut name, mut byte) = (Vec::new(), [0]);
    while let Ok(1) = client.tcp().read(&mut byte) {
        if byte == *b"\n" {
            break;
        }
        name.extend(byte);
    }
    if name.is_empty() {
        return Ok(String::new());
    }
    client.finish();
    let back = client.rest().unwrap_or_default();
    match back == said {
        true => Ok(String::from_utf8_lossy(&name).into_owned()),
        false => Err(format!("{} bytes were said, and {} came back", said.len(), back.len())),
    }
}

/// Servers that say who they are, and all that was said to them.
struct Endpoints(Vec<Upstream>);

impl Endpoints {
    fn start() -> Endpoints {
        let one = |_| {
            let own = Arc::new(OnceLock::<String>::new());
            let upstream = Upstream::script({
                let own = own.clone();
                move |conn| {
                    // Its name at once: before Envoy has looked at a hello, a client that has said all it has to say is gone for it.
                    drop(conn.wire.try_send([own.wait().as_bytes(), b"\n"].concat()));
                    if let Ok(said) = conn.wire.rest() {
                        drop(conn.wire.try_send(said));
                    }
                }
            });
            own.set(upstream.address().to_string()).unwrap_or_else(|_| unreachable!("set once"));
            upstream
        };
        Endpoints((0..generate::PODS_MAX).map(one).collect())
    }

    fn addresses(&self, mesh: &Mesh) -> Addresses {
        mesh.pods.iter().cloned().zip(self.0.iter().map(Upstream::address)).collect()
    }
}
