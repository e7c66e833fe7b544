//! Arguments apply in order, as `kubectl apply` would.

use super::manifests::file;
use control_shim::object::{Loaded, decode, objects};

const ONE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{name: http, port: 1}]}\n";
const TWO: &str =
    "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: default}\nspec: {ports: [{name: http, port: 2}]}\n";

fn load(groups: &[&[(&str, &str)]]) -> Loaded {
    let groups: Vec<Vec<_>> =
        groups.iter().map(|files| files.iter().map(|(name, text)| file(name, text)).collect()).collect();
    objects::load(&groups, decode::Options::default())
}

fn said(loaded: &Loaded) -> Vec<(&str, &str)> {
    loaded.diagnostics.iter().map(|d| (d.code, d.message.as_str())).collect()
}

#[test]
fn a_later_argument_replaces_and_says_so() {
    let loaded = load(&[&[("a.yaml", ONE)], &[("b.yaml", TWO)]]);
    assert_eq!(said(&loaded), [("replaced", "Service default/a replaces the one at a.yaml:1:1")]);
    assert_eq!(loaded.objects.len(), 1);
    // The same again is no replacement.
    assert_eq!(said(&load(&[&[("a.yaml", ONE)], &[("b.yaml", ONE)]])), []);
}

#[test]
fn twice_within_one_argument_is_an_error_that_names_both() {
    let loaded = load(&[&[("a.yaml", ONE), ("b.yaml", TWO)]]);
    assert_eq!(
        said(&loaded),
        [("duplicate-object", "Service default/a is there twice: at a.yaml:1:1 and at b.yaml:1:1")]
    );
    assert!(loaded.objects.is_empty());
}

#[test]
fn the_two_kinds_called_gateway_are_two() {
    let istio = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: a}\nspec: {selector: {a: b}, servers: []}\n";
    let k8s = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: a}\nspec: {gatewayClassName: x, listeners: []}\n";
    let loaded = load(&[&[("a.yaml", istio), ("b.yaml", k8s)]]);
    assert_eq!((said(&loaded), loaded.objects.len()), (vec![], 2));
}

#[test]
fn a_list_is_its_items() {
    let list = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ServiceAccount, metadata: {name: a}}\n- {apiVersion: v1, kind: ServiceAccount, metadata: {name: b}}\n";
    assert_eq!(load(&[&[("a.yaml", list)]]).objects.len(), 2);
}
