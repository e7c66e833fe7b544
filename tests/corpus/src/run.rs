//! How much of the corpus runs, and who is asked in which order.

use crate::chi_square;
use crate::dice::Dice;
use crate::generate::request::{ID, Request};
use crate::generate::{Mesh, Place};
use crate::origins::Origins;
use crate::predict::{Oracle, Prediction, destination};
use crate::ringway::{Program, Proxies, reproducer};
use ringway_tests::harness::Case;
use std::collections::BTreeMap;

/// Requests to one mesh.
const REQUESTS: usize = 500;
/// Meshes that one set of processes runs, one after the other.
const MESHES: usize = 8;
/// Requests, when nothing else is said.
const CASES: usize = 6_000;
/// Equal requests behind one χ².
const REPEATS: usize = 400;

/// Requests of a whole run: `RINGWAY_CORPUS_CASES`, or a share that suits every `make test`.
pub fn cases() -> usize {
    match std::env::var("RINGWAY_CORPUS_CASES") {
        Ok(text) => text.parse().unwrap_or_else(|e| panic!("RINGWAY_CORPUS_CASES={text}: {e}")),
        Err(_) => CASES,
    }
}

/// The seeds of a run of so many requests, in groups that share processes; `stream` keeps runs apart.
pub fn seeds(cases: usize, stream: u64) -> Vec<Vec<u64>> {
    let first: u64 = match std::env::var("RINGWAY_CORPUS_SEED") {
        Ok(text) => return vec![vec![text.parse().unwrap_or_else(|e| panic!("RINGWAY_CORPUS_SEED={text}: {e}"))]],
        Err(_) => stream << 32,
    };
    let all: Vec<u64> = (first..).take(cases.div_ceil(REQUESTS)).collect();
    all.chunks(MESHES).map(<[u64]>::to_vec).collect()
}

/// The requests to a mesh, each with an id of its own.
pub fn requests(mesh: &Mesh) -> impl Iterator<Item = Request> + '_ {
    let mut dice = Dice::new(mesh.seed, 2);
    (0..REQUESTS).map(move |number| {
        let site = &mesh.sites[dice.below(mesh.sites.len())];
        Request::aim(&mut dice, mesh, site, &format!("{}-{number}", mesh.seed))
    })
}

/// Sends every request to the proxies of its mesh and compares what came of it with what the evaluator says: the endpoint, its view of the head, the
/// answer's edits, and the rule in the access log.
pub fn against_the_evaluator(case: Case, seeds: &[u64], origins: &Origins) {
    let mut proxies: Option<Proxies> = None;
    let mut rules = BTreeMap::new();
    for (seed, sequence) in seeds.iter().zip(1..) {
        let mesh = Mesh::new(*seed);
        let program = Program::compile(&mesh.yaml(), &origins.addresses(&mesh.documents), sequence);
        let mut oracles = BTreeMap::from(Place::ALL.map(|place| (place, program.oracle(place))));
        let proxies = match &mut proxies {
            Some(running) => {
                running.publish(&program);
                running
            }
            none => none.insert(Proxies::start(case, &program)),
        };
        let mut uncertain = Vec::new();
        for request in requests(&mesh) {
            let prediction = predict(&mut oracles, &request);
            let answer = proxies.ask(&request);
            assert!(
                prediction.allows(&answer),
                "the proxy's answer is not the evaluator's\n{answer}possible were\n{}rule {}\n{}",
                prediction.outcomes.iter().map(|o| o.answer.to_string()).collect::<String>(),
                program.origin(&format!("{:08x}", prediction.rule.0)),
                reproducer(&mesh, &request)
            );
            let said = (format!("{:08x}", prediction.rule.0), program.origin(&format!("{:08x}", prediction.rule.0)));
            rules.insert(request.headers[0].1.clone(), said);
            if prediction.outcomes.len() > 1 && uncertain.len() < 2 {
                uncertain.push((request, prediction));
            }
        }
        for (request, prediction) in uncertain {
            frequencies(&prediction, &request, |request| proxies.ask(request))
                .unwrap_or_else(|e| panic!("{e}\n{}", reproducer(&mesh, &request)));
        }
    }
    let Some(proxies) = proxies else { return };
    let logged = proxies.logged(rules.len());
    for (request, (rule, origin)) in rules {
        assert_eq!(
            logged.get(&request),
            Some(&rule),
            "the access log's rule of request {request}; the evaluator says {origin}"
        );
    }
}

/// Sends one request again and again, and counts where it goes.
pub fn frequencies(
    prediction: &Prediction,
    request: &Request,
    mut ask: impl FnMut(&Request) -> crate::message::Answer,
) -> Result<(), String> {
    let mut expected: BTreeMap<String, f64> = BTreeMap::new();
    for outcome in &prediction.outcomes {
        *expected.entry(destination(&outcome.answer)).or_default() += outcome.probability;
    }
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    let mut again = request.clone();
    again.headers[0] = (ID.into(), "again".into());
    for _ in 0..REPEATS {
        *counted.entry(destination(&ask(&again))).or_default() += 1;
    }
    chi_square::check(&expected, &counted)
}

fn predict(oracles: &mut BTreeMap<Place, Oracle>, request: &Request) -> Prediction {
    oracles.get_mut(&request.place).expect("an oracle for every place").predict(request)
}
