//! The workflow that other projects use: it is YAML of the shape that GitHub reads, says nothing of inputs that do not exist, and calls `ringway-load` by
//! flags that there are.

// Test code: what cannot happen in a sound environment may panic.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use saphyr_parser::{Event, Parser, Span};

const FILE: &str = include_str!("../../.github/workflows/performance-gate.yml");

/// YAML, as far as the workflow has it.
#[derive(Debug)]
enum Node {
    Text(String),
    List(Vec<Node>),
    Map(BTreeMap<String, Node>),
}

impl Node {
    fn read() -> Node {
        let mut events = Parser::new_from_str(FILE).map(|event: Result<(Event, Span), _>| event.unwrap().0);
        let first = events.find(|event| !matches!(event, Event::StreamStart | Event::DocumentStart(_))).unwrap();
        Node::of(first, &mut events)
    }

    fn of<'e>(first: Event<'e>, rest: &mut impl Iterator<Item = Event<'e>>) -> Node {
        match first {
            Event::Scalar(text, ..) => Node::Text(text.into_owned()),
            Event::SequenceStart(..) => {
                let mut list = Vec::new();
                while let Some(event) = rest.next().filter(|event| !matches!(event, Event::SequenceEnd)) {
                    list.push(Node::of(event, rest));
                }
                Node::List(list)
            }
            Event::MappingStart(..) => {
                let mut map = BTreeMap::new();
                while let Some(event) = rest.next().filter(|event| !matches!(event, Event::MappingEnd)) {
                    let Node::Text(key) = Node::of(event, rest) else { panic!("a key is text") };
                    let value = rest.next().unwrap();
                    assert!(map.insert(key.clone(), Node::of(value, rest)).is_none(), "{key} is there twice");
                }
                Node::Map(map)
            }
            other => panic!("{other:?}"),
        }
    }

    fn at(&self, path: &str) -> &Node {
        path.split('/').fold(self, |node, key| match node {
            Node::Map(map) => map.get(key).unwrap_or_else(|| panic!("no {key} in {path}")),
            other => panic!("{path}: {other:?}"),
        })
    }

    fn keys(&self) -> BTreeSet<String> {
        let Node::Map(map) = self else { panic!("no map: {self:?}") };
        map.keys().cloned().collect()
    }

    fn text(&self) -> &str {
        let Node::Text(text) = self else { panic!("no text: {self:?}") };
        text
    }
}

#[test]
fn every_input_is_declared_and_used() {
    let inputs = Node::read();
    let inputs = inputs.at("on/workflow_call/inputs");
    let used: BTreeSet<String> =
        FILE.split("${{ inputs.").skip(1).map(|rest| rest.split(' ').next().unwrap().to_string()).collect();
    assert_eq!(inputs.keys(), used);
    for name in inputs.keys() {
        let input = inputs.at(&name);
        let kind = input.at("type").text();
        assert!(["string", "number", "boolean"].contains(&kind), "{name}: {kind}");
        assert!(!input.at("description").text().is_empty(), "{name}");
        assert!(input.keys().contains("default") != input.keys().contains("required"), "{name}");
    }
}

#[test]
fn steps_call_ringway_load_by_flags_that_it_has() {
    let workflow = Node::read();
    let Node::List(steps) = workflow.at("jobs/compare/steps") else { panic!("steps are a list") };
    let runs: Vec<&str> = steps.iter().filter(|s| s.keys().contains("run")).map(|s| s.at("run").text()).collect();
    // What a caller writes reaches the shell by the environment alone.
    assert!(runs.iter().all(|run| !run.contains("${{")), "{runs:#?}");
    let compare = runs.iter().find(|run| run.contains("ringway-load ab")).unwrap();
    let program = env!("CARGO_BIN_EXE_ringway-load");
    let help = Command::new(program).args(["ab", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let known: BTreeSet<&str> = help.split(|c: char| c.is_whitespace() || c == ',').collect();
    let load = workflow.at("on/workflow_call/inputs/load/default").text();
    let flags: BTreeSet<&str> =
        compare.split_whitespace().chain(load.split_whitespace()).filter(|word| word.starts_with('-')).collect();
    assert!(flags.contains("--step-summary") && flags.contains("--closed"), "{flags:?}");
    for flag in flags {
        assert!(known.contains(flag), "{flag} is not in\n{help}");
    }
}
