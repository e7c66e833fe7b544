//! Any model that the format takes.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use ringway_config::model::*;

/// A model of any kind.
pub fn model() -> impl Strategy<Value = Model> {
    prop_oneof![
        listener_set().prop_map(Model::Listeners),
        host().prop_map(Model::Host),
        cluster().prop_map(Model::Cluster),
        endpoint_set().prop_map(Model::Endpoints),
        policy().prop_map(Model::Policy),
        provenance().prop_map(Model::Provenance),
    ]
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-z0-9|./ ü€-]{0,12}"]
}

fn name() -> impl Strategy<Value = String> {
    "[a-zü|./-]{1,10}"
}

fn free() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), any::<String>(), "[a-z(.*)]{0,8}"]
}

fn rule() -> impl Strategy<Value = RuleId> {
    any::<u32>().prop_map(RuleId)
}

fn weight() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), 1..200u32]
}

fn address() -> impl Strategy<Value = SocketAddr> {
    let v6 = any::<u128>().prop_map(Ipv6Addr::from).prop_filter("IPv4 is IPv4", |ip| ip.to_ipv4_mapped().is_none());
    let v4 = any::<u32>().prop_map(Ipv4Addr::from);
    prop_oneof![
        (v4, 1..=u16::MAX).prop_map(|(ip, port)| SocketAddr::from((ip, port))),
        (v6, 1..=u16::MAX).prop_map(|(ip, port)| SocketAddr::from((ip, port))),
    ]
}

fn workload() -> impl Strategy<Value = Workload> {
    (line(), line(), line(), line(), line(), line(), line(), line()).prop_map(
        |(namespace, name, app, version, canonical_name, canonical_revision, principal, cluster)| Workload {
            namespace,
            name,
            app,
            version,
            canonical_name,
            canonical_revision,
            principal,
            cluster,
        },
    )
}

fn listener_set() -> impl Strategy<Value = ListenerSet> {
    (name(), workload(), option::of(place()), line(), name(), vec(listener(), 0..4)).prop_map(
        |(name, node, place, pod, policy, mut listeners)| {
            for (i, listener) in listeners.iter_mut().enumerate() {
                listener.name.push_str(&i.to_string());
            }
            ListenerSet { name, node, place, pod, policy, listeners }
        },
    )
}

fn listener() -> impl Strategy<Value = Listener> {
    let role = prop_oneof![Just(Role::Outbound), Just(Role::Inbound), Just(Role::Gateway)];
    let http = (any::<bool>(), vec("[a-z]{1,5}(\\.[a-z]{1,5}){0,2}", 0..3), any::<u16>())
        .prop_map(|(on_demand, search, port)| ListenerProtocol::Http { on_demand, search, port });
    let backend = || {
        (prop_oneof![Just(String::new()), name()], weight())
            .prop_map(|(cluster, weight)| TcpBackend { cluster, weight })
    };
    let tcp = (vec(backend(), 0..3), rule(), 0..1_000_000u64)
        .prop_map(|(backends, rule, idle_timeout_ms)| ListenerProtocol::Tcp { backends, rule, idle_timeout_ms });
    let route =
        (rule(), vec("\\*|(\\*\\.)?[a-z0-9-]{1,6}(\\.[a-z]{1,4}){0,2}", 0..3), vec(backend(), 0..3), 0..1_000_000u64)
            .prop_map(|(rule, names, backends, idle_timeout_ms)| TlsRoute { rule, names, backends, idle_timeout_ms });
    let tls = vec(route, 0..3).prop_map(|routes| ListenerProtocol::Tls { routes });
    (name(), rule(), address(), role, prop_oneof![http, tcp, tls])
        .prop_map(|(name, rule, address, role, protocol)| Listener { name, rule, address, role, protocol })
}

fn host() -> impl Strategy<Value = Host> {
    let domain = ("\\*|(\\*\\.)?[a-z0-9-]{1,6}(\\.[a-z]{1,4}){0,2}|\\[::1\\]", any::<u16>())
        .prop_map(|(pattern, port)| Domain { pattern, port });
    (name(), name(), rule(), vec(domain, 0..3), vec(route(), 0..5), vec(action(), 1..4)).prop_map(
        |(name, listener, rule, domains, mut routes, mut actions)| {
            routes.iter_mut().for_each(|r| r.action %= actions.len() as u32);
            point_to_actions(&mut actions);
            Host { name, listener, rule, domains, routes, actions }
        },
    )
}

/// Where the first action draws among several and the last one draws no further, the first's last backend is sent as the last action says.
fn point_to_actions(actions: &mut [Action]) {
    let number = actions.len() as u32 - 1;
    let [Action::Forward(first), .., last] = actions else { return };
    if matches!(last, Action::Forward(f) if f.backends.len() != 1) {
        return;
    }
    if let [_, .., drawn] = &mut first.backends[..] {
        *drawn = Backend { weight: drawn.weight, rule: drawn.rule, action: Some(number), ..Backend::default() };
    }
}

fn string_match() -> impl Strategy<Value = StringMatch> {
    prop_oneof![
        free().prop_map(StringMatch::Exact),
        free().prop_map(StringMatch::Prefix),
        free().prop_map(StringMatch::Suffix),
        free().prop_map(StringMatch::Regex),
        Just(StringMatch::Present),
    ]
}

fn route() -> impl Strategy<Value = Route> {
    let path = prop_oneof![
        Just(PathMatch::Any),
        free().prop_map(PathMatch::Exact),
        free().prop_map(PathMatch::Prefix),
        "/|(/[a-z]{1,4}){1,3}".prop_map(PathMatch::Segments),
        free().prop_map(PathMatch::Regex),
    ];
    let header = ("[a-z-]{1,6}", string_match(), any::<bool>()).prop_map(|(name, value, invert)| HeaderMatch {
        name,
        value,
        invert,
    });
    let query =
        (any::<char>().prop_map(String::from), string_match()).prop_map(|(name, value)| QueryMatch { name, value });
    let three = (option::of(string_match()), option::of(string_match()), option::of(string_match()));
    let source = proptest::collection::btree_map(name(), line(), 0..3);
    let matches = (path, any::<bool>(), three, vec(header, 0..3), vec(query, 0..3), source).prop_map(
        |(path, ignore_case, (method, scheme, authority), headers, query, source)| Match {
            path,
            ignore_case,
            method,
            scheme,
            authority,
            headers,
            query,
            source: source.into_iter().collect(),
        },
    );
    (rule(), line(), matches, any::<u32>()).prop_map(|(rule, name, matches, action)| Route {
        rule,
        name,
        matches,
        action,
    })
}

fn action() -> impl Strategy<Value = Action> {
    let times = (0..1_000_000u64, option::of(retry()));
    let forward =
        (vec(backend(), 0..3), times, prop_oneof![rewrite(), regex_rewrite()], "([a-z]{1,5}(:80)?)?", edits(), edits());
    let forward = (forward, option::of(fault()), option::of(cors()), vec(mirror(), 0..3)).prop_map(
        |((backends, (timeout_ms, retry), path, authority, request, response), fault, cors, mirrors)| {
            Action::Forward(Forward {
                backends,
                timeout_ms,
                retry,
                path,
                authority,
                request,
                response,
                fault,
                cors,
                mirrors,
            })
        },
    );
    let status = prop_oneof![Just(301), Just(302), Just(303), Just(307), Just(308)];
    let redirect = (
        status,
        "(https?)?",
        "([A-Za-z.]{0,5}[a-z])?",
        option::of(any::<u16>()),
        rewrite(),
        edits(),
        option::of(fault()),
    );
    let redirect = redirect.prop_map(|(status, scheme, host, port, path, response, fault)| {
        Action::Redirect(Redirect { status, scheme, host, port, path, response, fault })
    });
    let respond = (200..=599u16, free(), edits(), option::of(fault()))
        .prop_map(|(status, body, response, fault)| Action::Respond(Respond { status, body, response, fault }));
    prop_oneof![forward, redirect, respond]
}

fn mirror() -> impl Strategy<Value = Mirror> {
    (name(), 0..=1_000_000u32, rule()).prop_map(|(cluster, per_million, rule)| Mirror { cluster, per_million, rule })
}

fn fault() -> impl Strategy<Value = Fault> {
    let status = prop_oneof![Just(0), 200..=599u16];
    (rule(), 0..1_000_000u64, 0..=1_000_000u32, status, 0..=1_000_000u32).prop_map(
        |(rule, delay_ms, delay_per_million, abort_status, abort_per_million)| Fault {
            rule,
            delay_ms,
            delay_per_million,
            abort_status,
            abort_per_million,
        },
    )
}

fn cors() -> impl Strategy<Value = Cors> {
    let texts = ("[ -~]{0,6}", "[ -~]{0,6}", "[ -~]{0,6}");
    (vec(string_match(), 0..3), texts, option::of(any::<u32>()), any::<bool>(), any::<bool>()).prop_map(
        |(origins, (methods, headers, expose), max_age_s, credentials, forward_unmatched)| Cors {
            origins,
            methods,
            headers,
            expose,
            max_age_s,
            credentials,
            forward_unmatched,
        },
    )
}

fn retry() -> impl Strategy<Value = Retry> {
    let on = || (0..1u32 << RetryOn::NAMES.len()).prop_map(|bits| RetryOn::from_bits(bits).unwrap());
    let statuses = proptest::collection::btree_set(100..=599u16, 0..4);
    (1..=255u32, on(), on(), statuses, 0..1_000_000u64, 1..1000u32, 0..1000u32, any::<bool>()).prop_map(
        |(attempts, on, on_repeatable, statuses, try_timeout_ms, backoff_ms, more, avoid_previous)| Retry {
            attempts,
            on,
            on_repeatable,
            statuses: statuses.into_iter().collect(),
            try_timeout_ms,
            backoff_min_ms: backoff_ms / 2,
            backoff_ms,
            backoff_max_ms: backoff_ms + more,
            avoid_previous,
        },
    )
}

fn backend() -> impl Strategy<Value = Backend> {
    let missing = (Just(String::new()), 400..=599u16);
    let there = (name(), prop_oneof![Just(0), 400..=599u16]);
    (prop_oneof![missing, there], weight(), rule(), edits(), edits()).prop_map(
        |((cluster, missing_status), weight, rule, request, response)| Backend {
            cluster,
            weight,
            rule,
            missing_status,
            request,
            response,
            action: None,
        },
    )
}

fn regex_rewrite() -> impl Strategy<Value = PathRewrite> {
    (free(), "[a-z/0-9]{0,6}").prop_map(|(pattern, substitution)| PathRewrite::Regex { pattern, substitution })
}

fn rewrite() -> impl Strategy<Value = PathRewrite> {
    prop_oneof![
        Just(PathRewrite::Keep),
        "[a-z/%?=]{0,6}".prop_map(PathRewrite::Prefix),
        "/[a-z/]{0,6}".prop_map(PathRewrite::Segments),
        "/[a-z/]{0,6}".prop_map(PathRewrite::Full),
    ]
}

fn edits() -> impl Strategy<Value = HeaderEdits> {
    let pair = || vec(("x-[A-Za-z]{1,4}", header_value()), 0..3);
    (pair(), pair(), vec("x-[A-Za-z]{1,4}", 0..3)).prop_map(|(set, add, remove)| HeaderEdits { set, add, remove })
}

fn header_value() -> impl Strategy<Value = HeaderValue> {
    let text = || "[ -~ü]{0,8}";
    let header = (prop_oneof![Just(What::Req), Just(What::ReqWithoutQuery)], "(:path|x-[a-z]{1,4})", "(:method|x-b)?");
    let variable = prop_oneof![
        header,
        (Just(What::Resp), "x-[a-z]{1,4}", "(x-b)?"),
        (Just(What::StartTime), "%[YsT]%3f", ""),
        (proptest::sample::select(What::ALL), "", ""),
    ];
    let variable = (variable, 0..3u32).prop_filter_map("a header", |((what, header, alternative), bytes_max)| {
        let variable = Variable { what, header, alternative, bytes_max };
        (what == What::StartTime || what.has_header() != variable.header.is_empty()).then_some(Part::Variable(variable))
    });
    let part = prop_oneof![text().prop_map(Part::Text), variable];
    prop_oneof![text().prop_map(HeaderValue::Text), vec(part, 1..4).prop_map(HeaderValue::Format)]
}

fn place() -> impl Strategy<Value = Place> {
    let labels = proptest::collection::btree_map(name(), line(), 0..3);
    (line(), line(), line(), labels).prop_map(|(region, zone, subzone, labels)| Place {
        region,
        zone,
        subzone,
        labels: labels.into_iter().collect(),
    })
}

fn locality() -> impl Strategy<Value = LocalityRule> {
    let distribute = (line(), vec((line(), weight()), 0..3)).prop_map(|(from, to)| Distribute { from, to });
    let label = (name(), option::of(line())).prop_map(|(name, value)| FailoverLabel { name, value });
    prop_oneof![
        vec(distribute, 0..3).prop_map(LocalityRule::Distribute),
        (vec(label, 0..3), vec((line(), line()), 0..3))
            .prop_map(|(priority, regions)| LocalityRule::Failover { priority, regions }),
    ]
}

fn consistent_hash() -> impl Strategy<Value = ConsistentHash> {
    let token = || "[A-Za-z_-]{1,6}";
    let attributes = vec((token(), "[ -:<-~]{0,6}"), 0..3);
    let cookie = (token(), "(/[a-z ]{0,4})?", option::of(0..1_000_000u64), attributes)
        .prop_map(|(name, path, ttl_ms, attributes)| HashCookie { name, path, ttl_ms, attributes });
    let key = prop_oneof![
        "[a-z-]{1,6}".prop_map(HashKey::Header),
        cookie.prop_map(HashKey::Cookie),
        Just(HashKey::SourceIp),
        any::<char>().prop_map(|name| HashKey::Query(name.into())),
    ];
    (key, prop_oneof![Just(2), Just(1021), Just(65_537)])
        .prop_map(|(key, table_size)| ConsistentHash { key, table_size })
}

/// A way to balance with what belongs to it.
fn balance() -> impl Strategy<Value = (Balance, Option<ConsistentHash>, Option<Warmup>)> {
    let warmup = (1..1_000_000u64, 0..=10_000u32, 1..=1_000_000u32)
        .prop_map(|(duration_ms, minimum, aggression)| Warmup { duration_ms, minimum, aggression });
    let warming = (prop_oneof![Just(Balance::LeastRequest), Just(Balance::RoundRobin)], option::of(warmup));
    let consistent = (prop_oneof![Just(Balance::RingHash), Just(Balance::Maglev)], consistent_hash());
    prop_oneof![
        warming.prop_map(|(balance, warmup)| (balance, None, warmup)),
        Just((Balance::Random, None, None)),
        consistent.prop_map(|(balance, hash)| (balance, Some(hash), None)),
    ]
}

fn outlier() -> impl Strategy<Value = Option<OutlierDetection>> {
    let codes = proptest::collection::btree_set(100..=599u16, 0..4);
    let one = (any::<[u32; 3]>(), any::<bool>(), 1..1_000_000u64, 0..1_000_000u64, (0..=100u8, 0..=100u8), codes)
        .prop_map(
            |(
                counts,
                split_local_origin,
                interval_ms,
                base_ejection_ms,
                (max_ejection_percent, min_health_percent),
                codes,
            )| {
                OutlierDetection {
                    consecutive_5xx_errors: counts[0],
                    consecutive_gateway_errors: counts[1],
                    consecutive_local_failures: counts[2],
                    split_local_origin,
                    interval_ms,
                    base_ejection_ms,
                    max_ejection_percent,
                    min_health_percent,
                    error_codes: codes.into_iter().collect(),
                }
            },
        );
    option::of(one)
}

fn connection() -> impl Strategy<Value = ConnectionRules> {
    let keepalive = (0..=127u32, 0..=32_767u32, 0..=32_767u32);
    let keepalive = keepalive.prop_map(|(probes, time_s, interval_s)| Keepalive { probes, time_s, interval_s });
    (0..1_000_000u64, option::of(keepalive))
        .prop_map(|(duration_max_ms, keepalive)| ConnectionRules { duration_max_ms, keepalive })
}

fn cluster() -> impl Strategy<Value = Cluster> {
    let protocol = prop_oneof![Just(Protocol::Http1), Just(Protocol::Tcp)];
    let numbers = (any::<u32>(), 0..1_000_000u64, any::<u32>(), any::<[u32; 3]>());
    let texts = (name(), name(), line(), line(), line());
    let budget = (0..=10_000u32, any::<u32>()).prop_map(|(share, floor)| RetryBudget { share, floor });
    (
        texts,
        rule(),
        protocol,
        balance(),
        numbers,
        (budget, outlier(), option::of(connection())),
        any::<bool>(),
        option::of(locality()),
    )
        .prop_map(
            |(
                texts,
                rule,
                protocol,
                (balance, hash, warmup),
                numbers,
                (retry_budget, outlier, connection),
                mesh_internal,
                locality,
            )| {
                let (name, endpoints, service_host, service_name, service_namespace) = texts;
                let (connect_timeout_ms, idle_timeout_ms, max_requests_per_connection, limits) = numbers;
                let [max_connections, max_pending_requests, max_requests] = limits;
                Cluster {
                    name,
                    rule,
                    protocol,
                    balance,
                    hash,
                    warmup,
                    locality,
                    endpoints,
                    connect_timeout_ms,
                    idle_timeout_ms,
                    max_requests_per_connection,
                    max_connections,
                    max_pending_requests,
                    max_requests,
                    retry_budget,
                    outlier,
                    connection,
                    service_host,
                    service_name,
                    service_namespace,
                    mesh_internal,
                }
            },
        )
}

fn endpoint_set() -> impl Strategy<Value = EndpointSet> {
    let endpoint = (address(), 1..1000u32, any::<bool>(), any::<u32>(), any::<u32>()).prop_map(
        |(address, weight, draining, workload, place)| Endpoint { address, weight, draining, workload, place },
    );
    let named = ("[a-z_][a-z0-9-]{0,5}(\\.[a-z]{1,4}){0,2}", 1..=u16::MAX, 1..1000u32, any::<bool>(), any::<u32>())
        .prop_map(|(host, port, weight, first_only, place)| NamedEndpoint { host, port, weight, first_only, place });
    (name(), vec(workload(), 0..3), vec(place(), 0..3), vec(endpoint, 0..5), vec(named, 0..3)).prop_map(
        |(name, workloads, places, mut endpoints, mut names)| {
            for endpoint in &mut endpoints {
                endpoint.workload = endpoint.workload.checked_rem(workloads.len() as u32).unwrap_or(u32::MAX);
                endpoint.place = endpoint.place.checked_rem(places.len() as u32).unwrap_or(u32::MAX);
            }
            for name in &mut names {
                name.place = name.place.checked_rem(places.len() as u32).unwrap_or(u32::MAX);
            }
            EndpointSet { name, workloads, places, endpoints, names }
        },
    )
}

fn policy() -> impl Strategy<Value = PolicySet> {
    let log = prop_oneof![Just(AccessLog::Off), Just(AccessLog::Text), Just(AccessLog::Json)];
    let paths = prop_oneof![
        Just(PathNormalization::None),
        Just(PathNormalization::Base),
        Just(PathNormalization::MergeSlashes),
        Just(PathNormalization::DecodeAndMergeSlashes)
    ];
    let profile = prop_oneof![Just(Profile::Istio), Just(Profile::Strict)];
    let format = prop_oneof![
        Just(("", "")),
        Just(("%START_TIME% %REQ(:METHOD)% 100%%", r#"{"a": "%START_TIME(%s)%"}"#)),
        Just(("%RESPONSE_CODE:2%", "{}"))
    ];
    let words = (log, paths, profile, 0..=255u32, format);
    (name(), words, 256..=60_000u32, 1..=250u32, any::<[u32; 4]>(), 0..1_000_000u64).prop_map(
        |(name, words, head_bytes_max, header_fields_max, ms, downstream_idle_timeout_ms)| PolicySet {
            name,
            access_log: words.0,
            path_normalization: words.1,
            profile: words.2,
            head_bytes_max,
            header_fields_max,
            head_timeout_ms: ms[0],
            body_idle_timeout_ms: ms[1],
            downstream_idle_timeout_ms,
            drain_timeout_ms: ms[2],
            ask_timeout_ms: ms[3],
            trusted_proxies: words.3,
            access_log_format: if words.0 == AccessLog::Json { words.4.1 } else { words.4.0 }.into(),
        },
    )
}

fn provenance() -> impl Strategy<Value = Provenance> {
    let entry = (1..=u32::MAX, (line(), line(), line(), line(), line()), any::<u32>(), any::<u32>()).prop_map(
        |(rule, (kind, namespace, name, field, file), line, column)| ProvenanceEntry {
            rule: RuleId(rule),
            kind,
            namespace,
            name,
            field,
            file,
            line,
            column,
        },
    );
    (name(), vec(entry, 0..6)).prop_map(|(name, mut entries)| {
        entries.sort_by_key(|e| e.rule);
        entries.dedup_by_key(|e| e.rule);
        Provenance { name, entries }
    })
}
