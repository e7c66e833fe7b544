//! `compare` from outside: servers whose cost per request is known, and whoever of the real ones is there.

// Test code: what cannot happen in a sound environment may panic.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_ringway-load");

fn compare(args: &[&str]) -> Output {
    Command::new(PROGRAM).arg("compare").args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Something that answers by itself and burns this much CPU a request.
fn burning(name: &str, work: &str) -> String {
    format!("{name}=exec {PROGRAM} serve --listen 127.0.0.1:{{port}} --work {work}")
}

#[test]
fn the_table_tells_known_costs_apart() {
    let (lean, stout) = (burning("lean", "250us"), burning("stout", "1ms"));
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("race.json");
    let output = compare(&[
        "--peer",
        &stout,
        "--peer",
        &lean,
        "--only",
        "lean,stout",
        "--workload",
        "one-connection",
        "--rounds",
        "7",
        "-d",
        "200ms",
        "--warmup",
        "20ms",
        "--no-system-calls",
        "--json",
        json.to_str().unwrap(),
    ]);
    let table = text(&output.stdout);
    assert!(output.status.success(), "{table}{}", text(&output.stderr));
    let row = |who: &str| {
        let line = table.lines().find(|line| line.starts_with(&format!("| one-connection | {who} |"))).unwrap();
        line.split('|').map(|cell| cell.trim().to_string()).collect::<Vec<_>>()
    };
    // The first that was asked for is what the others are compared with.
    assert_eq!(row("lean")[4], "1", "{table}");
    let (ratio, chance) =
        row("stout")[4].split_once("), p = ").map(|(r, p)| (r.to_string(), p.parse::<f64>().unwrap())).unwrap();
    let ratio: f64 = ratio.split(' ').next().unwrap().parse().unwrap();
    assert!((0.25..0.5).contains(&ratio), "{table}");
    // Two signs of 2⁷ are as extreme.
    assert!((chance - 2.0 / 128.0).abs() < 1e-3, "{table}");
    assert!(table.contains("\nstout leaves out: not known here.\n"), "{table}");

    let outcome: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(outcome["results"].as_array().unwrap().len(), 2, "{outcome:#}");
    assert!(outcome["results"].as_array().unwrap().iter().all(|cell| cell["rounds"].as_array().unwrap().len() == 7));
}

#[test]
fn everybody_who_is_there_forwards() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("race.json");
    let workloads = "keepalive-16,new-connections,tcp-bulk";
    let output = compare(&[
        "--workload",
        workloads,
        "--rounds",
        "1",
        "-d",
        "100ms",
        "--warmup",
        "0s",
        "--no-system-calls",
        "--json",
        json.to_str().unwrap(),
    ]);
    if text(&output.stderr).contains("nobody to compare") {
        println!("SKIPPED: no proxy is built or installed");
        return;
    }
    assert!(output.status.success(), "{}", text(&output.stderr));
    let outcome: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    for note in outcome["notes"].as_array().unwrap() {
        assert!(note.as_str().unwrap().contains("it has no mode for that here"), "{note}");
    }
    for cell in outcome["results"].as_array().unwrap() {
        assert_eq!(cell["rounds"][0]["errors"], 0.0, "{cell:#}");
        assert!(cell["rounds"][0]["cpu_us_per_request"].as_f64() > Some(0.0), "{cell:#}");
    }
}

#[test]
fn what_is_no_load_is_looked_at_too() {
    let sound = burning("sound", "0s");
    let trials = "idle-10,memory,start";
    let times = ["-d", "100ms", "--rest", "100ms", "--output", "json"];
    let output =
        compare(&[&["--peer", &sound, "--only", "sound", "--workload", trials, "--rounds", "1"][..], &times].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
    let results = outcome["results"].as_array().unwrap();
    let samples = |trial: &str| results.iter().find(|cell| cell["workload"] == trial).unwrap()["rounds"].as_array();
    assert!(samples("idle-10").unwrap()[0]["memory"].as_f64() > Some(0.0), "{outcome:#}");
    assert!(samples("memory").unwrap()[0]["memory_rested"].as_f64() > Some(0.0), "{outcome:#}");
    // It starts more often than it is loaded.
    let starts: Vec<_> = samples("start").unwrap().iter().map(|round| round["served_ms"].as_f64()).collect();
    assert!(starts.len() == 2 && starts.iter().all(|time| *time > Some(0.0)), "{outcome:#}");
}

/// All of the table: what the origin would answer, and what it never gets.
#[test]
fn a_table_is_the_same_for_all_who_route() {
    let list = text(&compare(&["--list"]).stdout);
    let known = ["ringway", "ringway+log", "nginx", "nginx+log", "haproxy", "haproxy+log", "envoy", "envoy+log"];
    let there: Vec<&str> = known.into_iter().filter(|name| list.contains(&format!("\n  {name} "))).collect();
    if there.is_empty() {
        println!("SKIPPED: no proxy is built or installed");
        return;
    }
    let only = there.join(",");
    let times = ["--rounds", "1", "-d", "300ms", "--warmup", "0s", "--no-system-calls", "--output", "json"];
    let output = compare(&[&["--only", &only, "--workload", "keepalive-16,routes-10"][..], &times].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(outcome["notes"].as_array().map(Vec::len), Some(0), "{outcome:#}");
    let results = outcome["results"].as_array().unwrap();
    assert!(results.len() >= there.len(), "{outcome:#}");
    for cell in results {
        assert!(cell["rounds"][0]["errors"] == 0.0 && cell["rounds"][0]["requests"].as_u64() > Some(0), "{cell:#}");
    }
}

#[test]
fn a_contender_that_fails_is_named_and_the_others_go_on() {
    let sound = burning("sound", "0s");
    let output = compare(&[
        "--peer",
        &sound,
        "--peer",
        "broken=echo no tea; exit 1",
        "--only",
        "sound,broken",
        "--workload",
        "keepalive-16",
        "--rounds",
        "2",
        "-d",
        "100ms",
        "--warmup",
        "0s",
        "--no-system-calls",
    ]);
    let table = text(&output.stdout);
    assert!(output.status.success() && table.contains("| keepalive-16 | sound |"), "{table}{}", text(&output.stderr));
    assert!(table.contains("broken is left out of keepalive-16") && table.contains("no tea"), "{table}");
}

/// What `perf/ab` and the check of the image start the proxy from.
#[test]
fn a_snapshot_for_the_proxy_in_front_of_an_origin() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("snapshot");
    let write = |more: &[&str]| {
        let fixed = ["snapshot", file.to_str().unwrap(), "127.0.0.1:8080", "127.0.0.1:8081"];
        let output = Command::new(PROGRAM).args(fixed).args(more).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        ringway_config::Snapshot::read_file(&file).unwrap().blobs().count()
    };
    let (one, table) = (write(&[]), write(&["--table", "--access-log"]));
    // A host for every authority.
    assert_eq!((one, table), (5, 105));
}

/// One round says little, but every bar that was run for has its verdict, and the others none.
#[test]
fn the_race_judges_every_bar_that_it_ran_for() {
    let list = text(&compare(&["--list"]).stdout);
    if !list.contains("\n  ringway ") {
        println!("SKIPPED: the proxy is not built");
        return;
    }
    let only = ["--only", "ringway,ringway+log", "--workload", "keepalive-16,idle-100,start"];
    let times = ["--rounds", "1", "-d", "100ms", "--warmup", "0s", "--no-system-calls"];
    let folder = tempfile::tempdir().unwrap();
    let [json, html] = ["race.json", "race.html"].map(|name| folder.path().join(name));
    let files = ["--race", "--json", json.to_str().unwrap(), "--html", html.to_str().unwrap()];
    let output = compare(&[&files, &only[..], &times].concat());
    let table = text(&output.stdout);
    assert!(output.status.success(), "{table}{}", text(&output.stderr));
    let outcome: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let verdicts = outcome["verdicts"].as_array().unwrap();
    let words = |workload: &str| {
        let of = verdicts.iter().filter(|verdict| verdict["workload"] == workload);
        of.map(|verdict| verdict["outcome"].as_object().unwrap().keys().next().unwrap().clone()).collect::<Vec<_>>()
    };
    // Nobody is there to be compared with.
    assert_eq!(words("keepalive-16"), ["open", "open"], "{table}");
    assert!(words("idle-100").len() == 2 && words("start").len() == 1, "{table}");
    let own = words("idle-100").into_iter().chain(words("start"));
    assert!(own.clone().all(|word| word == "met" || word == "missed"), "{table}");
    assert_eq!(verdicts.len(), 5, "{table}");
    let met = own.filter(|word| word == "met").count();
    assert!(table.contains(&format!("**{met} of 5 bars are met**, {} missed, 0 unsure, 2 open.", 3 - met)), "{table}");
    assert!(table.contains("| keepalive-16 | ringway+log |"), "{table}");

    let page = std::fs::read_to_string(&html).unwrap();
    assert!(page.contains(&format!("<h2>{met} of 5 bars are met, {} missed", 3 - met)), "{page}");
    assert!(page.contains("<td>ringway+log</td>") && page.contains("class=\"bar c0\""), "{page}");
    // It is whole: nothing is loaded, nothing runs, and a part that is opened is closed.
    assert!(!["<script", "src=", "href=", "url("].iter().any(|outside| page.contains(outside)), "{page}");
    for part in ["section", "svg", "table", "tr", "td", "th"] {
        let count = |text: String| page.matches(&text).count();
        assert_eq!(
            count(format!("<{part}>")) + count(format!("<{part} ")),
            count(format!("</{part}>")),
            "{part}: {page}"
        );
    }
}

#[test]
fn wrong_use_is_told_before_anything_is_started() {
    let sound = burning("sound", "0s");
    for (args, said) in [
        (vec!["--workload", "keepalive"], "no workload `keepalive`"),
        (vec!["--only", "sound,nobody"], "no contender `nobody`"),
        (vec!["--reference", "nobody"], "no contender `nobody`"),
        (vec!["--rounds", "0"], "--rounds: from 1"),
        (vec!["--rest", "1ms"], "--rest: at least 100ms"),
        (vec!["--workload", "idle-0"], "from 1 to 20000 connections"),
        (vec!["--workload", "half-load"], "has to run before it"),
        (vec!["--duration", "5"], "is no time"),
        (vec!["--peer", "sound=true"], "two contenders `sound`"),
        (vec!["--peer", "nameless"], "NAME=COMMAND"),
    ] {
        let output = compare(&[&["--peer", &sound][..], &args].concat());
        let said_so = text(&output.stderr);
        assert!(output.status.code() == Some(2) && said_so.contains(said), "{args:?}: {:?} {said_so}", output.status);
    }
}
