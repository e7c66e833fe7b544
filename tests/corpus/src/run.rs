//! How much of the corpus runs, and who is asked in which order.

use crate::chi_square;
use crate::coverage::Coverage;
use crate::dice::Dice;
use crate::envoy::Envoy;
use crate::envoy::differences::{Rows, is_authority_as_sent, settle, settle_copy};
use crate::generate::request::{CASE, Fail, Request};
use crate::generate::{Mesh, Place};
use crate::message::{Answer, Sharing};
use crate::mirrors;
use crate::origins::Origins;
use crate::predict::{Oracle, Outcome, Prediction, destination};
use crate::ringway::{Program, Proxies, reproducer};
use ringway_tests::harness::Case;
use std::collections::BTreeMap;
use std::path::Path;

/// Requests to one mesh.
pub const REQUESTS: usize = 250;
/// Meshes that one set of processes runs, one after the other.
const MESHES: usize = 12;
/// Requests, when nothing else is said.
const CASES: usize = 8_000;
/// What requests are called whose frequencies are counted.
const AGAIN: &str = "again";
/// Equal requests behind one χ².
const REPEATS: usize = 400;
/// Equal requests that go where their key leads.
const STEADY: usize = 3;
/// Requests of a mesh, among those with several outcomes, whose frequencies are counted.
const UNCERTAIN_MAX: usize = 1;

/// Requests of a whole run: `RINGWAY_CORPUS_CASES`, or a share that suits every `make test`.
pub fn cases() -> usize {
    match std::env::var("RINGWAY_CORPUS_CASES") {
        Ok(text) => text.parse().unwrap_or_else(|e| panic!("RINGWAY_CORPUS_CASES={text}: {e}")),
        Err(_) => CASES,
    }
}

/// Whether somebody asked for a run of a certain length, and wants to know what was in it.
pub fn is_asked_for() -> bool {
    std::env::var_os("RINGWAY_CORPUS_CASES").is_some()
}

/// The seeds of a run of so many meshes, in groups that share processes; `stream` keeps runs apart.
pub fn seeds(meshes: usize, stream: u64) -> Vec<Vec<u64>> {
    let first: u64 = match std::env::var("RINGWAY_CORPUS_SEED") {
        Ok(text) => return vec![vec![text.parse().unwrap_or_else(|e| panic!("RINGWAY_CORPUS_SEED={text}: {e}"))]],
        Err(_) => stream << 32,
    };
    let all: Vec<u64> = (first..).take(meshes).collect();
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
/// answer's edits, and the rule in the access log. `Ok` has what the cases had; `Err` tells the first that is otherwise, with what it takes to see it again.
pub fn against_the_evaluator(case: Case, seeds: &[u64], origins: &Origins) -> Result<Coverage, String> {
    let mut bench: Option<Bench> = None;
    let mut coverage = Coverage::default();
    for mesh in seeds.iter().map(|seed| Mesh::at(*seed, origins)) {
        let bench = Bench::next(&mut bench, case, &mesh, origins);
        let mut uncertain = Vec::new();
        for request in requests(&mesh) {
            let (prediction, answer, _) = bench.ask(&mesh, &request, origins)?;
            bench.come_back(&mesh, &request, &prediction, &answer, origins)?;
            coverage.note(&mesh, request.place, &prediction.met);
            if is_uncertain(&request, &prediction) && uncertain.len() < UNCERTAIN_MAX {
                uncertain.push((request, prediction));
            }
        }
        for (request, prediction) in uncertain {
            let counted = frequencies(&prediction, &request, |request| bench.proxies.ask(request, origins).0);
            counted.map_err(|e| format!("{e}\n{}", reproducer(&mesh, &request, &prediction)))?;
        }
        no_more_copies(origins, &[])?;
    }
    bench.map_or(Ok(()), |bench| bench.check_logs())?;
    Ok(coverage)
}

/// Our proxies with the evaluator beside them.
struct Bench {
    proxies: Proxies,
    program: Program,
    oracles: BTreeMap<Place, Oracle>,
    sequence: u64,
    /// Request → the rules of which the evaluator names one, and where they stand.
    rules: BTreeMap<String, Vec<String>>,
}

impl Bench {
    /// The bench with another mesh; the first time it is set up.
    fn next<'a>(bench: &'a mut Option<Bench>, case: Case, mesh: &Mesh, origins: &Origins) -> &'a mut Bench {
        let addresses = &origins.addresses(&mesh.documents);
        let sequence = bench.as_ref().map_or(1, |bench| bench.sequence + 1);
        let program = Program::compile(&mesh.yaml(addresses), addresses, sequence);
        let oracles = Place::ALL.into_iter().map(|place| (place, program.oracle(place))).collect();
        let bench = match bench {
            Some(bench) => {
                bench.proxies.publish(&program);
                (bench.program, bench.oracles, bench.sequence) = (program, oracles, sequence);
                bench
            }
            none => {
                let proxies = Proxies::start(case, &program, Some(origins.dns()));
                none.insert(Bench { proxies, program, oracles, sequence, rules: BTreeMap::new() })
            }
        };
        bench.proxies.expect_unknown(mesh, &bench.program);
        bench
    }

    fn oracle(&mut self, place: Place) -> &mut Oracle {
        self.oracles.get_mut(&place).expect("an oracle for every place")
    }

    /// Sends a request to our proxy. The answer is one of those that the evaluator says are possible.
    fn ask(
        &mut self,
        mesh: &Mesh,
        request: &Request,
        origins: &Origins,
    ) -> Result<(Prediction, Answer, Sharing), String> {
        let prediction = self.oracle(request.place).predict(request);
        let (answer, sharing) = self.proxies.ask(request, origins);
        if !prediction.allows(&answer) {
            return Err(format!(
                "the proxy's answer is not the evaluator's\n{answer}possible\n{}{}",
                self.tell(&prediction),
                reproducer(mesh, request, &prediction)
            ));
        }
        let copies = origins.take_copies(request.id(), mirrors::expected(&prediction.mirrors, &answer));
        mirrors::check(&prediction.mirrors, &answer, &copies)
            .map_err(|e| format!("{e}\n{}", reproducer(mesh, request, &prediction)))?;
        let rules = prediction.rules(&answer).into_iter().map(|rule| self.program.origin(rule)).collect();
        self.rules.insert(request.id().to_owned(), rules);
        Ok((prediction, answer, sharing))
    }

    /// A client that was given a cookie and brings it keeps its endpoint.
    fn come_back(
        &mut self,
        mesh: &Mesh,
        request: &Request,
        prediction: &Prediction,
        answer: &Answer,
        origins: &Origins,
    ) -> Result<(), String> {
        let Some(cookie) = self.proxies.cookie(request.place) else { return Ok(()) };
        if prediction.keys_of_several || Fail::of(&request.headers).is_some() {
            return Ok(());
        }
        let mut again = request.clone().named(AGAIN);
        again.headers.push(("Cookie".into(), cookie));
        // A fault may answer in its place.
        let endpoint = |answer: &Answer| matches!(answer, Answer::Endpoint { .. }).then(|| destination(answer));
        let (first, next) = (endpoint(answer), endpoint(&self.proxies.ask(&again, origins).0));
        if first.is_some() && next.is_some() && first != next {
            return Err(format!(
                "the cookie does not lead back to {first:?} but to {next:?}\n{}",
                reproducer(mesh, &again, prediction)
            ));
        }
        Ok(())
    }

    fn tell(&self, prediction: &Prediction) -> String {
        let tell = |outcome: &Outcome| format!("by rule {}\n{}", self.program.origin(&outcome.rule), outcome.answer);
        prediction.outcomes.iter().map(tell).collect()
    }

    /// The access log names the rule that the evaluator does, for every request.
    fn check_logs(&self) -> Result<(), String> {
        let logged = self.proxies.logged(self.rules.len());
        for (request, rules) in &self.rules {
            let found = logged.get(request).map_or("", String::as_str);
            if !rules.iter().any(|rule| rule.split(':').next() == Some(found)) {
                return Err(format!(
                    "the access log has rule {found:?} for request {request}; the evaluator says {rules:?}"
                ));
            }
        }
        Ok(())
    }
}

/// Sends every request to our proxies and to Envoy. Ours answer as the evaluator says, Envoy does too, or a documented difference says why not. `Ok`
/// has the rows that were looked up.
pub fn beside_envoy(case: Case, program: &Path, seeds: &[u64], origins: &Origins) -> Result<Rows, String> {
    let meshes: Vec<Mesh> = seeds.iter().map(|seed| Mesh::at(*seed, origins)).collect();
    let manifests = |mesh: &Mesh| {
        let addresses = origins.addresses(&mesh.documents);
        (mesh.yaml(&addresses), addresses)
    };
    let manifests: Vec<_> = meshes.iter().map(manifests).collect();
    let mut envoy = Envoy::start(program.to_owned(), &manifests, origins);
    let mut bench: Option<Bench> = None;
    let mut rows = Rows::new();
    for (number, mesh) in meshes.iter().enumerate() {
        let bench = Bench::next(&mut bench, case, mesh, origins);
        let (mut uncertain, mut aside) = (Vec::new(), Vec::new());
        for request in requests(mesh) {
            let (prediction, ours, our_sharing) = bench.ask(mesh, &request, origins)?;
            let (theirs, their_sharing) = envoy.ask(number, &request, origins);
            let settled = settle(bench.oracle(request.place), &request, &prediction, &theirs);
            let Some(settled) = settled else {
                if is_authority_as_sent(&request, &conditions(mesh, &request)) {
                    rows.extend(["authority-as-sent"]);
                    aside.push(request.id().to_owned());
                    continue;
                }
                return Err(format!(
                    "Envoy does otherwise, and no row of docs/envoy-differences.md says why\nEnvoy: {theirs}we\n{}{}",
                    bench.tell(&prediction),
                    reproducer(mesh, &request, &prediction)
                ));
            };
            let wanted = mirrors::expected(&settled.theirs.mirrors, &theirs);
            let mut copies = origins.take_copies(request.id(), wanted);
            rows.extend(copies.iter_mut().filter_map(|copy| settle_copy(&theirs, &mut copy.head)));
            mirrors::check(&settled.theirs.mirrors, &theirs, &copies)
                .map_err(|e| format!("Envoy's copies: {e}\n{}", reproducer(mesh, &request, &prediction)))?;
            if settled.keeps {
                let again = request.clone().named(AGAIN);
                if (0..STEADY).any(|_| destination(&envoy.ask(number, &again, origins).0) != destination(&theirs)) {
                    return Err(format!(
                        "Envoy does not keep to one endpoint\n{}",
                        reproducer(mesh, &request, &prediction)
                    ));
                }
            }
            let same_rule = settled.same_rule;
            rows.extend(settled.rows);
            // Which of several destinations was drawn decides on cookies.
            let compared = |sharing: &Sharing| -> Sharing {
                let lines = sharing.iter().filter(|(name, _)| !settled.theirs.keys_of_several || name != "set-cookie");
                // Envoy gives a cookie with each try.
                let mut lines: Sharing = lines.cloned().collect();
                lines.dedup();
                lines
            };
            let (our_sharing, their_sharing) = (compared(&our_sharing), compared(&their_sharing));
            if same_rule && kind(&ours) == kind(&theirs) && our_sharing != their_sharing {
                let told = reproducer(mesh, &request, &prediction);
                return Err(format!("Envoy shares otherwise: {their_sharing:?}, and we {our_sharing:?}\n{told}"));
            }
            // By a key Envoy goes elsewhere, whatever it drew of the destinations this time.
            let keyed = settled.other_hash
                || their_sharing.iter().any(|(name, _)| name == "set-cookie")
                || settled.theirs.keys_of_several
                || bench.oracle(request.place).goes_by_a_key(&request);
            if !keyed && is_uncertain(&request, &settled.theirs) && uncertain.len() < UNCERTAIN_MAX {
                uncertain.push((request, settled.theirs));
            }
        }
        for (request, theirs) in uncertain {
            let counted = frequencies(&theirs, &request, |request| envoy.ask(number, request, origins).0);
            counted.map_err(|e| format!("Envoy's shares are others: {e}\n{}", reproducer(mesh, &request, &theirs)))?;
        }
        no_more_copies(origins, &aside)?;
    }
    Ok(rows)
}

/// Sends one request again and again, and counts where it goes.
pub fn frequencies(
    prediction: &Prediction,
    request: &Request,
    mut ask: impl FnMut(&Request) -> Answer,
) -> Result<(), String> {
    let mut expected: BTreeMap<String, f64> = BTreeMap::new();
    for outcome in &prediction.outcomes {
        *expected.entry(destination(&outcome.answer)).or_default() += outcome.probability;
    }
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    let again = request.clone().named(AGAIN);
    for _ in 0..REPEATS {
        *counted.entry(destination(&ask(&again))).or_default() += 1;
    }
    chi_square::check(&expected, &counted)
}

/// A copy that came late is one too many, but for requests whose copies nobody looked at.
fn no_more_copies(origins: &Origins, aside: &[String]) -> Result<(), String> {
    let counts = |case: &str| case != AGAIN && !aside.iter().any(|one| one == case);
    let late: Vec<_> = origins.take_rest().into_iter().filter(|copy| copy.head.get(CASE).is_none_or(counts)).collect();
    if late.is_empty() { Ok(()) } else { Err(format!("copies that nobody asked for: {late:#?}")) }
}

/// Whether a request's frequencies are worth counting: there are several, no waits between tries, and no copies, which take their turns too.
fn is_uncertain(request: &Request, prediction: &Prediction) -> bool {
    prediction.outcomes.len() > 1 && prediction.mirrors.is_empty() && Fail::of(&request.headers).is_none()
}

/// Who answered; by the proxy, with which status.
fn kind(answer: &Answer) -> u16 {
    match answer {
        Answer::Endpoint { .. } => 0,
        Answer::Local { status, .. } => *status,
    }
}

/// The conditions of the rules that a request may meet.
fn conditions(mesh: &Mesh, request: &Request) -> Vec<serde_json::Value> {
    let sites =
        mesh.sites.iter().filter(|site| site.place == request.place && site.authorities.contains(&request.authority));
    sites.flat_map(|site| mesh.conditions(site)).collect()
}
