//! MeshConfig: what holds for the whole mesh, from the key `mesh` of the ConfigMap `istio` in `istio-system`.
//!
//! The key's value is text that is YAML once more; findings in it point at their own lines all the same.

use super::decode::{Field, Fields};
use super::destination_rule::keepalive;
use super::locality::{LocalitySetting, locality_setting};
use super::patterns::{ExportTo, Exports};
use super::proxy_config::{self, ProxyConfig};
use super::sidecar::{OutboundPolicy, outbound_policy};
use super::{Meta, ObjectRef, retries};
use crate::yaml::{self, Entry, Node, Span, Value};
use ringway_config::limits::LINE_BYTES_MAX;
use ringway_config::log_format::{self, LogFormatError};
use ringway_config::model::{AccessLog, Keepalive, PathNormalization, Retry};
use std::sync::Arc;

/// Kind, namespace and name of the object that holds a mesh's settings.
pub const REFERENCE: [&str; 3] = ["ConfigMap", "istio-system", "istio"];

/// Settings of a mesh. What is `None` is not said.
#[derive(Clone, Debug, PartialEq)]
pub struct MeshConfig {
    /// Who it is.
    pub meta: Meta,
    /// `accessLogFile` and `accessLogEncoding`.
    pub access_log: Option<AccessLog>,
    /// `accessLogFormat`, and of which encoding it is.
    pub access_log_format: Option<(AccessLog, String)>,
    /// `pathNormalization`.
    pub path_normalization: Option<PathNormalization>,
    /// `rootNamespace`.
    pub root_namespace: Option<String>,
    /// `connectTimeout`, of clusters whose DestinationRule has none.
    pub connect_timeout_ms: Option<u32>,
    /// Probes on idle connections, where a rule says nothing.
    pub keepalive: Option<Keepalive>,
    /// What becomes of requests for hosts that no manifest names, where a Sidecar says nothing.
    pub outbound: Option<OutboundPolicy>,
    /// `defaultHttpRetryPolicy`, of routes that say nothing; the inner `None` never tries again.
    pub retry: Option<Option<Retry>>,
    /// `localityLbSetting`, of clusters whose DestinationRule has none.
    pub locality: Option<LocalitySetting>,
    /// Who sees objects that do not say it.
    pub exports: Exports,
    /// `defaultConfig`.
    pub proxies: ProxyConfig,
}

impl MeshConfig {
    fn new(meta: Meta) -> Self {
        MeshConfig {
            meta,
            access_log: None,
            access_log_format: None,
            path_normalization: None,
            root_namespace: None,
            connect_timeout_ms: None,
            keepalive: None,
            outbound: None,
            retry: None,
            locality: None,
            exports: Exports::default(),
            proxies: ProxyConfig::default(),
        }
    }
}

/// Whether an object holds a mesh's settings; other ConfigMaps are the apps' business.
pub fn is_mesh_config(reference: &ObjectRef) -> bool {
    [&*reference.kind, &*reference.namespace, &*reference.name] == REFERENCE
}

/// Decodes the ConfigMap.
pub fn mesh_config(meta: Meta, mut root: Fields<'_>) -> Option<MeshConfig> {
    let data = root.require("data");
    root.harmless(&["binaryData", "immutable"]);
    root.finish();
    let mut data = data?.fields("the data of the mesh's settings")?;
    let mesh = data.get("mesh");
    if let Some(networks) = data.get("meshNetworks")
        && networks.text_among(&["networks: {}"]).is_some_and(|text| text.trim() != "networks: {}")
    {
        networks.warning("not-honoured", "`meshNetworks` is not honoured: there is one network", "");
    }
    data.finish();
    let mut config = MeshConfig::new(meta);
    let Some(mesh) = mesh else { return Some(config) };
    let node = inner(&mesh)?;
    let mesh = Field { context: mesh.context, node: &node, path: String::new() };
    if !node.is_null() {
        settings(&mut config, mesh.fields("MeshConfig")?);
    }
    Some(config)
}

fn settings(config: &mut MeshConfig, mut fields: Fields<'_>) {
    let encoding = fields.get("accessLogEncoding");
    let encoding = encoding.and_then(|f| f.word(&[("TEXT", AccessLog::Text), ("JSON", AccessLog::Json)]));
    let encoding = encoding.unwrap_or(AccessLog::Text);
    config.access_log = fields.get("accessLogFile").and_then(|f| access_log(&f, encoding));
    config.access_log_format = fields.get("accessLogFormat").and_then(|f| Some((encoding, log_line(&f, encoding)?)));
    config.path_normalization = fields.get("pathNormalization").and_then(|f| path_normalization(&f));
    config.root_namespace = fields.get("rootNamespace").and_then(|f| f.text()).map(String::from);
    let timeout = fields.get("connectTimeout").and_then(|f| f.duration_ms());
    config.connect_timeout_ms = timeout.map(|ms| u32::try_from(ms.max(1)).unwrap_or(u32::MAX));
    config.keepalive = fields.get("tcpKeepalive").and_then(|f| keepalive(&f));
    config.retry = fields.get("defaultHttpRetryPolicy").map(|f| retries::istio(&f, &[]));
    config.locality = fields.get("localityLbSetting").and_then(|f| locality_setting(&f));
    if let Some(mut policy) = fields.get("outboundTrafficPolicy").and_then(|f| f.fields("an outbound traffic policy")) {
        config.outbound = outbound_policy(&mut policy);
        policy.not_supported(&["tls"]);
        policy.finish();
    }
    config.exports = Exports {
        services: ExportTo::decode(fields.get("defaultServiceExportTo")),
        virtual_services: ExportTo::decode(fields.get("defaultVirtualServiceExportTo")),
        destination_rules: ExportTo::decode(fields.get("defaultDestinationRuleExportTo")),
    };
    if let Some(policy) = fields.get("h2UpgradePolicy")
        && policy.word(&[("DO_NOT_UPGRADE", false), ("UPGRADE", true)]) == Some(true)
    {
        policy.not_supported("`UPGRADE`");
    }
    if let Some(mtls) = fields.get("enableAutoMtls")
        && mtls.boolean() == Some(true)
    {
        mtls.context.unenforced(mtls.node.span, "mutual TLS between proxies is not done yet");
    }
    for name in ["meshMTLS", "tlsDefaults", "verifyCertificateAtClient"] {
        if let Some(field) = fields.get(name) {
            field.context.unenforced(field.node.span, format!("`{name}` is not enforced yet"));
        }
    }
    if let Some(defaults) = fields.get("defaultConfig").and_then(|f| f.fields("a proxy's settings")) {
        config.proxies = proxy_config::settings(defaults);
    }
    if let Some(mut providers) = fields.get("defaultProviders").and_then(|f| f.fields("default providers")) {
        providers.harmless(&["metrics"]);
        providers.not_honoured(&["tracing", "accessLogging"]);
        providers.finish();
    }
    fields.not_supported(&[
        "discoverySelectors",
        "zoneAwareLbSetting",
        "defaultTrafficPolicy",
        "serviceEntryVisibility",
    ]);
    fields.not_honoured(&[
        "enableEnvoyAccessLogService",
        "enableTracing",
        "protocolDetectionTimeout",
        "dnsRefreshRate",
        "inboundTrafficPolicy",
        "configSources",
    ]);
    fields.harmless(&[
        "proxyListenPort",
        "proxyInboundListenPort",
        "proxyHttpPort",
        "hboneIdleTimeout",
        "ingressClass",
        "ingressService",
        "ingressControllerMode",
        "ingressSelector",
        "disableEnvoyListenerLog",
        "trustDomain",
        "trustDomainAliases",
        "caCertificates",
        "certificates",
        "ca",
        "inboundClusterStatName",
        "outboundClusterStatName",
        "serviceSettings",
        "serviceScopeConfigs",
        "enablePrometheusMerge",
        "extensionProviders",
    ]);
    fields.finish();
}

/// `accessLogFile` turns it on; the encoding alone does not.
fn access_log(file: &Field<'_>, encoding: AccessLog) -> Option<AccessLog> {
    match file.text_among(&["/dev/stdout"])? {
        "" => Some(AccessLog::Off),
        path => {
            if path != "/dev/stdout" {
                let message = format!("the access log is not written to {path} but to standard output");
                file.warning("not-honoured", message, "write /dev/stdout");
            }
            Some(encoding)
        }
    }
}

/// A format of lines that can be written. Of another one, lines are Istio's.
fn log_line(field: &Field<'_>, encoding: AccessLog) -> Option<String> {
    let text = field.text()?;
    let object = || serde_json::from_str::<serde_json::Value>(text).map_or_else(|_| text.into(), |v| v.to_string());
    let line = if encoding == AccessLog::Json { object() } else { text.strip_suffix('\n').unwrap_or(text).to_string() };
    let why = match log_format::of(encoding, &line) {
        Err(LogFormatError::NoObject) => "with the encoding JSON it has to be a JSON object".to_string(),
        Err(LogFormatError::NoLine) => "it is not one line".to_string(),
        _ if line.len() > LINE_BYTES_MAX || line.chars().any(char::is_control) => "it is not one line".to_string(),
        Ok(_) => return Some(line),
        Err(LogFormatError::Unended(_)) => "a `%` in it begins nothing; one that stands for itself is `%%`".to_string(),
        Err(LogFormatError::Unknown(operator)) => format!("there is no `%{operator}%` here"),
    };
    let message = format!("`accessLogFormat` is not honoured: {why}");
    field.warning("not-honoured", message, "docs/telemetry.md lists what there is");
    None
}

fn path_normalization(field: &Field<'_>) -> Option<PathNormalization> {
    let mut fields = field.fields("a path normalization")?;
    let form = fields.get("normalization").and_then(|f| {
        f.word(&[
            ("DEFAULT", PathNormalization::Base),
            ("NONE", PathNormalization::None),
            ("BASE", PathNormalization::Base),
            ("MERGE_SLASHES", PathNormalization::MergeSlashes),
            ("DECODE_AND_MERGE_SLASHES", PathNormalization::DecodeAndMergeSlashes),
        ])
    });
    fields.finish();
    form
}

/// The YAML that a field's text is.
fn inner(field: &Field<'_>) -> Option<Node> {
    let context = field.context;
    if context.is_survey() {
        return Some(field.node.clone());
    }
    let text = field.text()?;
    let span = field.node.span;
    let block = in_place(&context.file.text, span);
    let parsed = yaml::parse(block.as_deref().unwrap_or(text), &yaml::Budget::default());
    // Quoted text has no lines of its own in the file: all that is found in it is found where it begins.
    let here = |inner: Span| if block.is_some() { inner } else { span };
    match parsed {
        Ok(mut documents) if documents.len() <= 1 => {
            let node = documents.pop().unwrap_or(Node { value: Value::Scalar { text: "".into(), plain: true }, span });
            Some(if block.is_some() { node } else { at(&node, span) })
        }
        Ok(_) => {
            field.error("yaml-syntax", format!("`{}` holds several documents", field.path), "write one");
            None
        }
        Err(error) => {
            context.error(here(error.span), error.code, error.message, error.mend);
            None
        }
    }
}

/// The file with nothing but the block scalar (`|`) at `span` in it, so that what is found stands where it does in the file. None for other scalars.
fn in_place(file: &str, span: Span) -> Option<String> {
    let (before, block) = (file.get(..span.start)?, file.get(span.start..span.end)?);
    let header = before.trim_end().lines().next_back()?;
    let header =
        header.split(" #").next()?.trim_end_matches(|c: char| matches!(c, '+' | '-' | ' ') || c.is_ascii_digit());
    if !header.ends_with('|') {
        return None;
    }
    let blank = before.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' });
    Some(blank.chain(block.chars()).collect())
}

/// The same node with everything in it standing at `span`.
pub(super) fn at(node: &Node, span: Span) -> Node {
    let value = match &node.value {
        Value::Sequence(items) => Value::Sequence(Arc::new(items.iter().map(|item| at(item, span)).collect())),
        Value::Mapping(entries) => {
            let moved = |entry: &Entry| Entry { key: entry.key.clone(), key_span: span, value: at(&entry.value, span) };
            Value::Mapping(Arc::new(entries.iter().map(moved).collect()))
        }
        scalar => scalar.clone(),
    };
    Node { value, span }
}

#[cfg(test)]
mod tests {
    use crate::object::decode::Options;
    use crate::object::{Loaded, Object, SourceFile, objects};
    use ringway_config::model::{AccessLog, PathNormalization};
    use std::sync::Arc;

    const HEAD: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n";

    fn load(data: &str) -> Loaded {
        let file = SourceFile { name: "mesh.yaml".into(), text: format!("{HEAD}{data}") };
        objects::load(&[vec![Arc::new(file)]], Options::default())
    }

    fn findings(loaded: &Loaded) -> Vec<(u32, u32, &str)> {
        let place =
            |d: &crate::diagnostic::Diagnostic| d.place.as_ref().map_or((0, 0), |place| (place.line, place.column));
        loaded.diagnostics.iter().map(|d| (place(d).0, place(d).1, d.code)).collect()
    }

    #[test]
    fn a_block_is_read_with_its_own_lines() {
        let loaded = load(
            "  mesh: |-  # of the mesh\n    # ü\n    accessLogFile: /dev/stdout\n    accessLogEncoding: JSON\n    pathNormalization:\n      normalisation: BASE\n    rootNamespce: x\n",
        );
        assert_eq!(findings(&loaded), [(10, 7, "unknown-field"), (11, 5, "unknown-field")]);
        assert_eq!(loaded.diagnostics[1].mend, "did you mean `rootNamespace`?");
        assert_eq!(&*loaded.diagnostics[1].place.as_ref().unwrap().source, "    rootNamespce: x");
    }

    #[test]
    fn what_is_said_is_kept_and_what_is_not_said_is_not() {
        for (data, access_log, form) in [
            ("  mesh: |\n    accessLogFile: /dev/stdout\n", Some(AccessLog::Text), None),
            ("  mesh: |\n    accessLogFile: \"\"\n", Some(AccessLog::Off), None),
            ("  mesh: \"accessLogEncoding: JSON\\naccessLogFile: /dev/stdout\\n\"\n", Some(AccessLog::Json), None),
            ("  mesh: '{\"pathNormalization\": {\"normalization\": \"NONE\"}}'\n", None, Some(PathNormalization::None)),
            ("  mesh: |\n    # nothing\n  meshNetworks: \"networks: {}\"\n", None, None),
        ] {
            let loaded = load(data);
            assert!(findings(&loaded).is_empty(), "{data}: {:?}", findings(&loaded));
            let entry = loaded.objects.iter().next().expect(data);
            let Object::MeshConfig(config) = &entry.object else { panic!("{data}") };
            assert_eq!((config.access_log, config.path_normalization), (access_log, form), "{data}");
        }
    }

    #[test]
    fn each_outcome() {
        for (line, found) in [
            ("enableAutoMtls: true", vec![(6, 21, "not-enforced")]),
            ("enableAutoMtls: false", vec![]),
            ("outboundTrafficPolicy: {mode: ALLOW_ANY}", vec![]),
            ("outboundTrafficPolicy: {mode: REGISTRY_ONLY}", vec![]),
            ("defaultServiceExportTo: ['.']", vec![]),
            ("accessLogFormat: \"%REQ(:METHOD)% %RESPONSE_CODE%\\n\"", vec![]),
            ("accessLogFormat: '%REQ(X-OWN)%'", vec![(6, 22, "not-honoured")]),
            ("accessLogFormat: '100 %'", vec![(6, 22, "not-honoured")]),
            ("accessLogFormat: '%START_TIME(%Q)%'", vec![(6, 22, "not-honoured")]),
            ("{accessLogEncoding: JSON, accessLogFormat: '{\"a\": {\"b\": [\"%START_TIME(%s)%\"]}}'}", vec![]),
            ("{accessLogEncoding: JSON, accessLogFormat: '%PROTOCOL%'}", vec![(6, 48, "not-honoured")]),
            ("{accessLogEncoding: JSON, accessLogFormat: '{\"a\": \"%NO%\"}'}", vec![(6, 48, "not-honoured")]),
            ("defaultConfig: {gatewayTopology: {numTrustedProxies: 1}}", vec![]),
            ("defaultConfig: {gatewayTopology: {numTrustedProxies: 256}}", vec![(6, 58, "wrong-number")]),
            ("defaultConfig: {gatewayTopology: {numTrustedProxies: 0}, concurrency: 2}", vec![(6, 75, "not-honoured")]),
            ("trustDomain: cluster.local", vec![]),
            ("a: [", vec![(7, 1, "yaml-syntax")]),
        ] {
            let loaded = load(&format!("  mesh: |\n    {line}\n"));
            assert_eq!(findings(&loaded), found, "{line}");
        }
        assert_eq!(findings(&load("  mesh: |\n    - 1\n")), [(6, 5, "wrong-type")]);
        assert_eq!(findings(&load("  mesh:\n    rootNamespace: x\n")), [(6, 5, "wrong-type")]);
    }
}
