//! A snapshot for people: who the proxy is, its listeners with their hosts and routes, the clusters with their endpoints, the policy. Rules are
//! named by the manifest line that asked for them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use crate::model::*;
use crate::snapshot::Snapshot;

/// Writes the tree.
pub fn text(snapshot: &Snapshot, out: &mut impl Write) -> fmt::Result {
    let mut dump = Dump { out, origins: origins(snapshot) };
    writeln!(dump.out, "order {}  root {}", snapshot.order(), snapshot.root().hash())?;
    if let Model::Listeners(set) = snapshot.listeners().model() {
        dump.proxy(set)?;
        for listener in &set.listeners {
            dump.listener(listener, snapshot)?;
        }
    }
    let mut shown = BTreeSet::new();
    for cluster in models(snapshot, |m| if let Model::Cluster(c) = m { Some(c) } else { None }) {
        dump.cluster(cluster)?;
        if let Some(Model::Endpoints(set)) = snapshot.blob(Kind::Endpoints, &cluster.endpoints).map(|b| b.model()) {
            shown.insert(&set.name);
            dump.endpoints(set)?;
        }
    }
    for set in models(snapshot, |m| if let Model::Endpoints(e) = m { Some(e) } else { None }) {
        if !shown.contains(&set.name) {
            writeln!(dump.out, "\nendpoints {} (of no cluster)", set.name)?;
            dump.endpoints(set)?;
        }
    }
    models(snapshot, |m| if let Model::Policy(p) = m { Some(p) } else { None }).try_for_each(|p| dump.policy(p))?;
    writeln!(dump.out, "\n{} rules with a known origin", dump.origins.len())
}

fn models<'a, M>(snapshot: &'a Snapshot, pick: fn(&'a Model) -> Option<&'a M>) -> impl Iterator<Item = &'a M>
where
    M: 'a,
{
    snapshot.blobs().filter_map(move |b| pick(b.model()))
}

fn origins(snapshot: &Snapshot) -> BTreeMap<RuleId, &ProvenanceEntry> {
    models(snapshot, |m| if let Model::Provenance(p) = m { Some(p) } else { None })
        .flat_map(|p| p.entries.iter().map(|e| (e.rule, e)))
        .collect()
}

struct Dump<'a, W> {
    out: &'a mut W,
    origins: BTreeMap<RuleId, &'a ProvenanceEntry>,
}

impl<W: Write> Dump<'_, W> {
    /// Ends a line with where a rule stands.
    fn rule(&mut self, rule: RuleId) -> fmt::Result {
        match self.origins.get(&rule) {
            _ if rule.0 == 0 => writeln!(self.out),
            None => writeln!(self.out, "  [rule {:08x}]", rule.0),
            Some(e) => {
                let ProvenanceEntry { kind, namespace, name, field, file, line, column, .. } = e;
                writeln!(self.out, "  [{kind} {namespace}/{name} {field} at {file}:{line}:{column}]")
            }
        }
    }

    fn proxy(&mut self, set: &ListenerSet) -> fmt::Result {
        write!(self.out, "proxy {}  pod {}  policy {}", set.name, set.pod, set.policy)?;
        for (label, value) in [
            ("workload", &set.node.name),
            ("namespace", &set.node.namespace),
            ("app", &set.node.app),
            ("version", &set.node.version),
            ("canonical", &set.node.canonical_name),
            ("revision", &set.node.canonical_revision),
            ("principal", &set.node.principal),
            ("cluster", &set.node.cluster),
        ] {
            if !value.is_empty() {
                write!(self.out, "  {label} {value}")?;
            }
        }
        if let Some(place) = &set.place {
            write!(self.out, "{}", Located(place))?;
        }
        writeln!(self.out)
    }

    fn listener(&mut self, l: &Listener, snapshot: &Snapshot) -> fmt::Result {
        let role = match l.role {
            Role::Outbound => "outbound",
            Role::Inbound => "inbound",
            Role::Gateway => "gateway",
        };
        write!(self.out, "\nlistener {}  {}  {role} ", l.name, l.address)?;
        match &l.protocol {
            ListenerProtocol::Http { on_demand, search, port } => {
                write!(self.out, "HTTP, port {port}")?;
                write!(self.out, "{}", if *on_demand { ", hosts on demand" } else { "" })?;
                if !search.is_empty() {
                    write!(self.out, ", search {}", search.join(" "))?;
                }
                self.rule(l.rule)?;
                for host in models(snapshot, |m| if let Model::Host(h) = m { Some(h) } else { None }) {
                    if host.listener == l.name {
                        self.host(host)?;
                    }
                }
                Ok(())
            }
            ListenerProtocol::Tcp { backends, rule, idle_timeout_ms } => {
                write!(self.out, "TCP, idle timeout {}", millis(*idle_timeout_ms))?;
                self.rule(l.rule)?;
                write!(self.out, "  → {}", tunnel(backends))?;
                self.rule(*rule)
            }
            ListenerProtocol::Tls { routes } => {
                write!(self.out, "TLS by server name")?;
                self.rule(l.rule)?;
                for r in routes {
                    write!(self.out, "  {}, idle timeout {}", r.names.join(" "), millis(r.idle_timeout_ms))?;
                    write!(self.out, " → {}", tunnel(&r.backends))?;
                    self.rule(r.rule)?;
                }
                Ok(())
            }
        }
    }

    fn host(&mut self, host: &Host) -> fmt::Result {
        let domain = |d: &Domain| match d.port {
            0 => d.pattern.clone(),
            port => format!("{}:{port}", d.pattern),
        };
        let domains: Vec<String> = host.domains.iter().map(domain).collect();
        write!(self.out, "  host {}  for {}", host.name, domains.join(" "))?;
        self.rule(host.rule)?;
        for route in &host.routes {
            write!(self.out, "    route {:?}  when ", route.name)?;
            self.matches(&route.matches)?;
            self.rule(route.rule)?;
            self.action(host, route.action)?;
        }
        let forwards = host.actions.iter().filter_map(|a| if let Action::Forward(f) = a { Some(f) } else { None });
        for number in forwards.flat_map(|f| &f.backends).filter_map(|b| b.action) {
            writeln!(self.out, "    action {number}")?;
            self.action(host, number)?;
        }
        Ok(())
    }

    fn action(&mut self, host: &Host, number: u32) -> fmt::Result {
        match host.actions.get(number as usize) {
            Some(Action::Forward(f)) => self.forward(f),
            Some(Action::Redirect(r)) => self.redirect(r),
            Some(Action::Respond(r)) => {
                writeln!(self.out, "      answer {} {:?}", r.status, r.body)?;
                self.edits("      ", "response", &r.response)?;
                self.fault(&r.fault)
            }
            None => Ok(()),
        }
    }

    fn matches(&mut self, m: &Match) -> fmt::Result {
        match &m.path {
            PathMatch::Any => write!(self.out, "any path")?,
            PathMatch::Exact(s) => write!(self.out, "path = {s:?}")?,
            PathMatch::Prefix(s) => write!(self.out, "path prefix {s:?}")?,
            PathMatch::Segments(s) => write!(self.out, "path under {s:?}")?,
            PathMatch::Regex(s) => write!(self.out, "path ~ {s:?}")?,
        }
        write!(self.out, "{}", if m.ignore_case { " in any case" } else { "" })?;
        for (what, condition) in [("method", &m.method), ("scheme", &m.scheme), ("authority", &m.authority)] {
            if let Some(condition) = condition {
                write!(self.out, ", {what} {}", Condition(condition))?;
            }
        }
        for h in &m.headers {
            write!(self.out, ", {}header {} {}", if h.invert { "not " } else { "" }, h.name, Condition(&h.value))?;
        }
        m.query.iter().try_for_each(|q| write!(self.out, ", query {:?} {}", q.name, Condition(&q.value)))?;
        m.source.iter().try_for_each(|(name, value)| write!(self.out, ", from {name}={value}"))
    }

    fn forward(&mut self, f: &Forward) -> fmt::Result {
        if f.backends.is_empty() {
            writeln!(self.out, "      → nowhere")?;
        }
        for b in &f.backends {
            match (b.action, b.cluster.as_str()) {
                (Some(number), _) => write!(self.out, "      → {} × as action {number} says", b.weight)?,
                (None, "") => write!(self.out, "      → {} × missing, answered with {}", b.weight, b.missing_status)?,
                (None, cluster) => write!(self.out, "      → {} × {cluster}", b.weight)?,
            }
            self.rule(b.rule)?;
            self.edits("        ", "request", &b.request)?;
            self.edits("        ", "response", &b.response)?;
        }
        if f.timeout_ms != 0 {
            writeln!(self.out, "      timeout {}", millis(f.timeout_ms))?;
        }
        if let Some(retry) = &f.retry {
            self.retry(retry)?;
        }
        if !f.authority.is_empty() {
            writeln!(self.out, "      authority becomes {}", f.authority)?;
        }
        self.rewrite(&f.path)?;
        self.edits("      ", "request", &f.request)?;
        self.edits("      ", "response", &f.response)?;
        self.fault(&f.fault)?;
        f.cors.iter().try_for_each(|cors| self.cors(cors))?;
        for m in &f.mirrors {
            write!(self.out, "      copies {} % to {}", percent(m.per_million), m.cluster)?;
            self.rule(m.rule)?;
        }
        Ok(())
    }

    fn fault(&mut self, fault: &Option<Fault>) -> fmt::Result {
        let Some(f) = fault else { return Ok(()) };
        if f.delay_ms != 0 {
            write!(self.out, "      delays {} % by {}", percent(f.delay_per_million), millis(f.delay_ms))?;
            self.rule(f.rule)?;
        }
        if f.abort_status != 0 {
            write!(self.out, "      aborts {} % with {}", percent(f.abort_per_million), f.abort_status)?;
            self.rule(f.rule)?;
        }
        Ok(())
    }

    fn cors(&mut self, c: &Cors) -> fmt::Result {
        let origins: Vec<String> = c.origins.iter().map(|origin| Condition(origin).to_string()).collect();
        write!(
            self.out,
            "      CORS for origins {}",
            if origins.is_empty() { "none".into() } else { origins.join(", ") }
        )?;
        for (what, value) in [("methods", &c.methods), ("headers", &c.headers), ("exposes", &c.expose)] {
            if !value.is_empty() {
                write!(self.out, "; {what} {value}")?;
            }
        }
        if let Some(seconds) = c.max_age_s {
            write!(self.out, "; for {seconds} s")?;
        }
        write!(self.out, "{}", if c.credentials { "; with credentials" } else { "" })?;
        writeln!(self.out, "{}", if c.forward_unmatched { "; other preflights pass" } else { "" })
    }

    fn retry(&mut self, r: &Retry) -> fmt::Result {
        let names = |on: RetryOn| on.names().collect::<Vec<_>>().join(" ");
        write!(self.out, "      retries {} on {}", r.attempts, names(r.on))?;
        let more = r.on_repeatable.without(r.on);
        if more != RetryOn::NONE {
            write!(self.out, "; of repeatable requests also on {}", names(more))?;
        }
        if !r.statuses.is_empty() {
            let statuses: Vec<String> = r.statuses.iter().map(ToString::to_string).collect();
            write!(self.out, "; statuses {}", statuses.join(" "))?;
        }
        if r.try_timeout_ms != 0 {
            write!(self.out, "; each try {}", millis(r.try_timeout_ms))?;
        }
        let [least, first, most] = [r.backoff_min_ms, r.backoff_ms, r.backoff_max_ms].map(|ms| millis(ms.into()));
        write!(self.out, "; back-off up to {first}, from {least} to {most} in all")?;
        writeln!(self.out, "{}", if r.avoid_previous { "; elsewhere first" } else { "" })
    }

    fn redirect(&mut self, r: &Redirect) -> fmt::Result {
        write!(self.out, "      redirect {}", r.status)?;
        for (what, value) in [("scheme", &r.scheme), ("host", &r.host)] {
            if !value.is_empty() {
                write!(self.out, " {what} {value}")?;
            }
        }
        match r.port {
            None => {}
            Some(0) => write!(self.out, " port of the scheme")?,
            Some(port) => write!(self.out, " port {port}")?,
        }
        writeln!(self.out)?;
        self.rewrite(&r.path)?;
        self.edits("      ", "response", &r.response)?;
        self.fault(&r.fault)
    }

    fn rewrite(&mut self, p: &PathRewrite) -> fmt::Result {
        match p {
            PathRewrite::Keep => Ok(()),
            PathRewrite::Prefix(s) => writeln!(self.out, "      matched prefix becomes {s:?}"),
            PathRewrite::Segments(s) => writeln!(self.out, "      matched segments become {s:?}"),
            PathRewrite::Full(s) => writeln!(self.out, "      path becomes {s:?}"),
            PathRewrite::Regex { pattern, substitution } => {
                writeln!(self.out, "      what matches {pattern:?} becomes {substitution:?}")
            }
        }
    }

    fn edits(&mut self, pad: &str, what: &str, e: &HeaderEdits) -> fmt::Result {
        e.remove.iter().try_for_each(|name| writeln!(self.out, "{pad}{what}: remove {name}"))?;
        e.set.iter().try_for_each(|(name, value)| writeln!(self.out, "{pad}{what}: set {name}: {value}"))?;
        e.add.iter().try_for_each(|(name, value)| writeln!(self.out, "{pad}{what}: add {name}: {value}"))
    }

    fn cluster(&mut self, c: &Cluster) -> fmt::Result {
        let protocol = match c.protocol {
            Protocol::Http1 => "HTTP/1.1",
            Protocol::Tcp => "TCP",
        };
        let balance = match c.balance {
            Balance::LeastRequest => "least request",
            Balance::RoundRobin => "round robin",
            Balance::Random => "random",
            Balance::RingHash => "ring hash",
            Balance::Maglev => "Maglev",
        };
        let mesh = if c.mesh_internal { ", of this mesh" } else { "" };
        write!(self.out, "\ncluster {}  {protocol}, {balance}{mesh}", c.name)?;
        self.rule(c.rule)?;
        if !c.service_host.is_empty() {
            let namespace = &c.service_namespace;
            writeln!(self.out, "  service {} ({} in {namespace})", c.service_host, c.service_name)?;
        }
        write!(self.out, "  connect timeout {}", millis(c.connect_timeout_ms.into()))?;
        write!(self.out, ", idle timeout {}", millis(c.idle_timeout_ms))?;
        write!(self.out, ", connections ≤ {}", limit(c.max_connections))?;
        write!(self.out, ", waiting requests ≤ {}", limit(c.max_pending_requests))?;
        write!(self.out, ", requests ≤ {}", limit(c.max_requests))?;
        write!(self.out, ", requests on a connection ≤ {}", limit(c.max_requests_per_connection))?;
        let RetryBudget { share, floor } = c.retry_budget;
        let (whole, part) = (share / 100, share % 100);
        let floor = if floor == u32::MAX { "∞".to_owned() } else { floor.to_string() };
        writeln!(self.out, ", retries ≤ {whole}.{part:02} % and always {floor}")?;
        c.connection.iter().try_for_each(|rules| self.connection(rules))?;
        c.outlier.iter().try_for_each(|outlier| self.outlier(outlier))?;
        c.hash.iter().try_for_each(|hash| self.hash(hash))?;
        c.locality.iter().try_for_each(|locality| self.locality(locality))?;
        c.warmup.iter().try_for_each(|w| {
            let (percent, aggression) = (f64::from(w.minimum) / 100.0, f64::from(w.aggression) / 1000.0);
            writeln!(self.out, "  warm-up {} from {percent} %, aggression {aggression}", millis(w.duration_ms))
        })
    }

    fn locality(&mut self, rule: &LocalityRule) -> fmt::Result {
        match rule {
            LocalityRule::Distribute(list) => list.iter().try_for_each(|d| {
                write!(self.out, "  from {} to", d.from)?;
                d.to.iter().try_for_each(|(locality, weight)| write!(self.out, " {weight} × {locality}"))?;
                writeln!(self.out)
            }),
            LocalityRule::Failover { priority, regions } => {
                write!(self.out, "  the nearest first, by")?;
                if priority.is_empty() {
                    write!(self.out, " region, zone, subzone")?;
                }
                priority.iter().try_for_each(|p| match &p.value {
                    Some(value) => write!(self.out, " {}={value}", p.name),
                    None => write!(self.out, " {}", p.name),
                })?;
                regions.iter().try_for_each(|(from, to)| write!(self.out, ", {from} fails over to {to}"))?;
                writeln!(self.out)
            }
        }
    }

    fn connection(&mut self, rules: &ConnectionRules) -> fmt::Result {
        let duration = rules.duration_max_ms;
        write!(
            self.out,
            "  a connection lasts {}",
            if duration == 0 { "any time".to_owned() } else { millis(duration) }
        )?;
        if let Some(k) = rules.keepalive {
            let own = |n: u32, unit: &str| if n == 0 { "the system's".to_owned() } else { format!("{n}{unit}") };
            let (probes, time, interval) = (own(k.probes, ""), own(k.time_s, " s"), own(k.interval_s, " s"));
            write!(self.out, ", keepalive after {time}, every {interval}, probes {probes}")?;
        }
        writeln!(self.out)
    }

    fn outlier(&mut self, o: &OutlierDetection) -> fmt::Result {
        write!(self.out, "  ejects after")?;
        for (count, what) in [
            (o.consecutive_5xx_errors, "errors"),
            (o.consecutive_gateway_errors, "gateway errors"),
            (if o.split_local_origin { o.consecutive_local_failures } else { 0 }, "local failures"),
        ] {
            if count > 0 {
                write!(self.out, " {count} {what},")?;
            }
        }
        write!(self.out, " for {} × n,", millis(o.base_ejection_ms))?;
        write!(self.out, " looked at every {}, at most {} %", millis(o.interval_ms), o.max_ejection_percent)?;
        if o.min_health_percent > 0 {
            write!(self.out, ", below {} % healthy all are used", o.min_health_percent)?;
        }
        if !o.error_codes.is_empty() {
            write!(self.out, ", errors are {:?}", o.error_codes)?;
        }
        writeln!(self.out)
    }

    fn hash(&mut self, hash: &ConsistentHash) -> fmt::Result {
        write!(self.out, "  by ")?;
        match &hash.key {
            HashKey::Header(name) => write!(self.out, "header {name}")?,
            HashKey::SourceIp => write!(self.out, "source address")?,
            HashKey::Query(name) => write!(self.out, "query {name:?}")?,
            HashKey::Cookie(cookie) => {
                write!(self.out, "cookie {}", cookie.name)?;
                match cookie.ttl_ms {
                    None => {}
                    Some(0) => write!(self.out, ", given for a session")?,
                    Some(ms) => write!(self.out, ", given for {}", millis(ms))?,
                }
                if !cookie.path.is_empty() {
                    write!(self.out, ", path {}", cookie.path)?;
                }
                cookie.attributes.iter().try_for_each(|(name, value)| match value.as_str() {
                    "" => write!(self.out, ", {name}"),
                    value => write!(self.out, ", {name}={value}"),
                })?;
            }
        }
        writeln!(self.out, ", table of {}", hash.table_size)
    }

    fn endpoints(&mut self, set: &EndpointSet) -> fmt::Result {
        for e in &set.endpoints {
            write!(self.out, "  {}  weight {}", e.address, e.weight)?;
            if let Some(w) = set.workloads.get(e.workload as usize) {
                write!(self.out, "  {}/{} version {}", w.namespace, w.name, w.version)?;
            }
            if let Some(place) = set.places.get(e.place as usize) {
                write!(self.out, "{}", Located(place))?;
            }
            writeln!(self.out, "{}", if e.draining { "  draining" } else { "" })?;
        }
        for n in &set.names {
            let which = if n.first_only { "first address" } else { "addresses" };
            write!(self.out, "  {which} of {}, port {}  weight {}", n.host, n.port, n.weight)?;
            let place = set.places.get(n.place as usize);
            writeln!(self.out, "{}", place.map(|place| Located(place).to_string()).unwrap_or_default())?;
        }
        if set.endpoints.is_empty() && set.names.is_empty() {
            writeln!(self.out, "  no endpoints")?;
        }
        Ok(())
    }

    fn policy(&mut self, p: &PolicySet) -> fmt::Result {
        let log = match p.access_log {
            AccessLog::Off => "off",
            AccessLog::Text => "text",
            AccessLog::Json => "JSON",
        };
        let paths = match p.path_normalization {
            PathNormalization::None => "NONE",
            PathNormalization::Base => "BASE",
            PathNormalization::MergeSlashes => "MERGE_SLASHES",
            PathNormalization::DecodeAndMergeSlashes => "DECODE_AND_MERGE_SLASHES",
        };
        let profile = match p.profile {
            Profile::Istio => "istio",
            Profile::Strict => "strict",
        };
        writeln!(self.out, "\npolicy {}  access log {log}  profile {profile}  paths {paths}", p.name)?;
        writeln!(
            self.out,
            "  head ≤ {} bytes, {} lines, {}; body idle {}; downstream idle {}; drain {}; ask {}",
            p.head_bytes_max,
            p.header_fields_max,
            millis(p.head_timeout_ms.into()),
            millis(p.body_idle_timeout_ms.into()),
            millis(p.downstream_idle_timeout_ms),
            millis(p.drain_timeout_ms.into()),
            millis(p.ask_timeout_ms.into()),
        )?;
        if !p.access_log_format.is_empty() {
            writeln!(self.out, "  lines of the log: {}", p.access_log_format)?;
        }
        if p.trusted_proxies > 0 {
            writeln!(self.out, "  gateways believe {} proxies in front of them", p.trusted_proxies)?;
        }
        Ok(())
    }
}

/// Where it runs, and the labels that are compared.
struct Located<'a>(&'a Place);

impl fmt::Display for Located<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { region, zone, subzone, labels } = self.0;
        if !region.is_empty() {
            write!(f, "  in {region}")?;
        }
        [zone, subzone].iter().filter(|part| !part.is_empty()).try_for_each(|part| write!(f, "/{part}"))?;
        labels.iter().try_for_each(|(name, value)| write!(f, "  {name}={value}"))
    }
}

struct Condition<'a>(&'a StringMatch);

impl fmt::Display for Condition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            StringMatch::Exact(s) => write!(f, "= {s:?}"),
            StringMatch::Prefix(s) => write!(f, "prefix {s:?}"),
            StringMatch::Suffix(s) => write!(f, "suffix {s:?}"),
            StringMatch::Regex(s) => write!(f, "~ {s:?}"),
            StringMatch::Present => write!(f, "present"),
        }
    }
}

fn tunnel(backends: &[TcpBackend]) -> String {
    let name = |b: &TcpBackend| if b.cluster.is_empty() { "missing".to_owned() } else { b.cluster.clone() };
    let list: Vec<String> = backends.iter().map(|b| format!("{} × {}", b.weight, name(b))).collect();
    if list.is_empty() { "refuse".to_owned() } else { list.join(", ") }
}

fn percent(per_million: u32) -> f64 {
    f64::from(per_million) / 10_000.0
}

fn millis(ms: u64) -> String {
    match ms {
        0 => "none".to_owned(),
        ms if ms.is_multiple_of(1000) => format!("{} s", ms / 1000),
        ms => format!("{ms} ms"),
    }
}

fn limit(n: u32) -> String {
    if n == 0 { "∞".to_owned() } else { n.to_string() }
}
