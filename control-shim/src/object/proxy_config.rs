//! ProxyConfig: MeshConfig's `defaultConfig`, and what a pod's annotation `proxy.istio.io/config` says for its own proxy.

use super::decode::{Context, Field, Fields};
use super::mesh_config::at;
use crate::yaml::{self, Node, Value};
use ringway_config::limits::TRUSTED_PROXIES_MAX;

/// The annotation of a pod.
const ANNOTATION: &str = "proxy.istio.io/config";

/// Settings of a proxy. What is `None` is not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProxyConfig {
    /// `gatewayTopology.numTrustedProxies`.
    pub trusted_proxies: Option<u32>,
}

/// What a pod's annotations say: YAML in a text, so that all that is found in it is found where the text stands.
pub(super) fn of_annotations(context: &Context, annotations: &Node) -> ProxyConfig {
    let Some(annotation) = annotations.get(ANNOTATION) else { return ProxyConfig::default() };
    // What is no text was said elsewhere.
    let Value::Scalar { text, .. } = &annotation.value else { return ProxyConfig::default() };
    let mut documents = match yaml::parse(text, &yaml::Budget::default()) {
        Ok(documents) => documents,
        Err(error) => {
            context.error(annotation.span, error.code, format!("{ANNOTATION}: {}", error.message), error.mend);
            return ProxyConfig::default();
        }
    };
    let Some(node) = documents.pop().filter(|node| !node.is_null()) else { return ProxyConfig::default() };
    let node = at(&node, annotation.span);
    let field = Field { context, node: &node, path: String::new() };
    field.fields("a proxy's settings").map(settings).unwrap_or_default()
}

/// `defaultConfig`: how proxies start and what they report is not decided by manifests here; what changes requests is refused.
pub(super) fn settings(mut fields: Fields<'_>) -> ProxyConfig {
    let mut config = ProxyConfig::default();
    if let Some(mut topology) = fields.get("gatewayTopology").and_then(|f| f.fields("a gateway topology")) {
        let proxies = topology.get("numTrustedProxies").and_then(|f| f.number(0, TRUSTED_PROXIES_MAX.into()));
        config.trusted_proxies = proxies.and_then(|count| u32::try_from(count).ok());
        topology.not_supported(&["proxyProtocol", "forwardClientCertDetails"]);
        topology.finish();
    }
    fields.not_supported(&["connectionSettings", "proxyHeaders"]);
    fields.not_honoured(&[
        "concurrency",
        "drainDuration",
        "envoyAccessLogService",
        "envoyMetricsService",
        "envoyMetricsServiceAddress",
        "statsdUdpAddress",
        "extraStatTags",
        "runtimeValues",
        "terminationDrainDuration",
        "tracing",
        "zipkinAddress",
    ]);
    fields.harmless(&[
        "availabilityZone",
        "binaryPath",
        "caCertificatesPem",
        "configPath",
        "controlPlaneAuthPolicy",
        "customConfigFile",
        "discoveryAddress",
        "discoveryRefreshDelay",
        "fileFlushInterval",
        "fileFlushMinSizeKb",
        "holdApplicationUntilProxyStarts",
        "image",
        "interceptionMode",
        "meshId",
        "privateKeyProvider",
        "proxyAdminPort",
        "proxyBootstrapTemplatePath",
        "proxyMetadata",
        "proxyStatsMatcher",
        "readinessProbe",
        "sds",
        "serviceCluster",
        "statNameLength",
        "statsCompression",
        "statusPort",
        "tracingServiceName",
    ]);
    fields.finish();
    config
}
