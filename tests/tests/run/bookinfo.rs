//! Istio's own example, from its own files as they are.

use std::path::PathBuf;

use ringway_tests::harness::{Client, Mesh, binary, skip};

use super::load::assert_share;

const FILES: [&str; 4] = [
    "platform/kube/bookinfo.yaml",
    "networking/bookinfo-gateway.yaml",
    "networking/destination-rule-all.yaml",
    "networking/virtual-service-reviews-90-10.yaml",
];

/// The samples lie beside the repository, or nowhere.
fn samples() -> Option<Vec<String>> {
    let folder: PathBuf = binary::repository().parent()?.join("shared/data/istio-samples/bookinfo");
    let files: Vec<PathBuf> = FILES.iter().map(|file| folder.join(file)).collect();
    if let Some(missing) = files.iter().find(|file| !file.is_file()) {
        skip(&format!("Istio's samples are not there: {}", missing.display()));
        return None;
    }
    Some(files.iter().map(|file| file.display().to_string()).collect())
}

#[test]
fn unmodified_manifests_run_and_split_as_they_say() {
    const REQUESTS: usize = 2_000;
    let Some(files) = samples() else { return };
    let mut mesh = Mesh::start(&files.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(mesh.pods().iter().filter(|pod| pod["stand_in"] == false).count(), 6);
    let stand_in = mesh.events().iter().any(|event| event["code"] == "stand-in-gateway");
    assert!(stand_in, "nobody said that a gateway was added");
    let mut client = Client::connect(mesh.gateway(8080));
    assert_eq!(client.get("bookinfo.example", "/elsewhere").status, 404);
    let mut second = 0;
    for _ in 0..REQUESTS {
        let page = client.get("bookinfo.example", "/productpage?call=http://reviews:9080/reviews/0").json();
        assert_eq!(page["app"], "productpage");
        let call = &page["calls"][0];
        match call["answer"]["version"].as_str() {
            Some("v1") => {}
            Some("v2") => second += 1,
            _ => panic!("the reviews did not answer: {call}"),
        }
    }
    assert_share(second, REQUESTS, 0.1, 4.5);
}
