"""Reads a snapshot file and prints it as JSON. Written from docs/config-format.md alone; needs nothing but Python's standard library."""

import hashlib
import ipaddress
import json
import struct
import sys

KINDS = {1: "Listeners", 2: "Host", 3: "Cluster", 4: "Endpoints", 5: "Policy", 7: "Provenance"}
UNKNOWN = 0xFFFFFFFF


def need(holds, what):
    if not holds:
        raise SystemExit("refused: " + what)


class Record:
    """Takes the fields of a record one after the other; what is left at its end is a newer writer's."""

    def __init__(self, blob, data):
        self.blob, self.data, self.at = blob, data, 0

    def take(self, form):
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values[0] if len(values) == 1 else values

    def u8(self):
        return self.take("B")

    def u16(self):
        return self.take("H")

    def u32(self):
        return self.take("I")

    def u64(self):
        return self.take("Q")

    def flag(self):
        value = self.u8()
        need(value <= 1, "flag")
        return value == 1

    def reserved(self, size):
        need(self.take("%ds" % size) == bytes(size), "reserved bytes")

    def rule(self):
        return "%08x" % self.u32()

    def str(self):
        return self.blob.str(self.u32(), self.u32())

    def span(self, section):
        start, count = self.take("II")
        return self.blob.records(section, start, count)

    def choice(self, names):
        value = self.u8()
        need(value in names, "enum value")
        return names[value]


class Blob:
    def __init__(self, data):
        self.data = data
        magic, self.kind, reserved, sections, size, name, name_size = struct.unpack_from("<4sBBHIII", data)
        need(magic == b"RWB1", "magic or version")
        need(reserved == 0 and self.kind in KINDS and size == len(data), "header")
        self.sections, end, last = {}, 20 + 12 * sections, 0
        for i in range(sections):
            ident, stride, offset, count = struct.unpack_from("<HHII", data, 20 + 12 * i)
            need(ident > last and stride > 0 and offset == end, "section table")
            self.sections[ident] = (stride, offset, count)
            last, end = ident, end + stride * count
        need(end == len(data), "length")
        stride, offset, count = self.sections.get(1, (1, 0, 0))
        self.pool = data[offset : offset + count]
        self.pool.decode("utf-8")
        self.name = self.str(name, name_size)

    def str(self, offset, size):
        need(offset + size <= len(self.pool), "string")
        return self.pool[offset : offset + size].decode("utf-8")

    def records(self, section, start, count):
        if count == 0:
            return []
        stride, offset, total = self.sections[section]
        need(start + count <= total, "span")
        first = offset + stride * start
        return [Record(self, self.data[first + stride * i : first + stride * (i + 1)]) for i in range(count)]

    def head(self):
        need(self.sections[2][2] == 1, "head")
        return self.records(2, 0, 1)[0]


WORKLOAD = ("namespace", "name", "app", "version", "canonical_name", "canonical_revision", "principal", "cluster")


def workload(r):
    return {field: r.str() for field in WORKLOAD}


def address(r):
    ip, port = ipaddress.IPv6Address(r.take("16s")), r.u16()
    return "%s:%d" % (ip.ipv4_mapped, port) if ip.ipv4_mapped else "[%s]:%d" % (ip.compressed, port)


def listeners(blob):
    h = blob.head()
    node, pod, policy = workload(h), h.str(), h.str()
    out = {"pod": pod, "policy": policy, "node": node, "listeners": [listener(r) for r in h.span(3)]}
    places = [place(r) for r in h.span(27)]
    out["place"] = places[0] if places else None
    return out


def listener(r):
    out = {"name": r.str(), "rule": r.rule(), "address": address(r)}
    out["role"] = r.choice({1: "outbound", 2: "inbound", 3: "gateway"})
    protocol = r.choice({1: "http", 2: "tcp", 3: "tls"})
    on_demand = r.flag()
    r.reserved(1)
    port, search, backends, route_rule, idle_timeout_ms = r.u16(), r.span(4), r.span(5), r.rule(), r.u64()
    tls_routes = r.span(16)
    if protocol == "http":
        content = {"on_demand": on_demand, "search": [s.str() for s in search], "port": port}
    elif protocol == "tcp":
        content = {"rule": route_rule, "idle_timeout_ms": idle_timeout_ms, "backends": tcp_backends(backends)}
    else:
        content = {"routes": [tls_route(t) for t in tls_routes]}
    out["protocol"] = {protocol: content}
    return out


def tcp_backends(records):
    return [{"cluster": b.str(), "weight": b.u32()} for b in records]


def tls_route(r):
    out = {"rule": r.rule(), "names": [name.str() for name in r.span(17)], "backends": tcp_backends(r.span(5))}
    out["idle_timeout_ms"] = r.u64()
    return out


def host(blob):
    h = blob.head()
    out = {"listener": h.str(), "rule": h.rule()}
    domains, routes, actions = h.span(6), h.span(7), h.span(8)
    out["domains"] = [domain(r) for r in domains]
    out["routes"] = [route(r) for r in routes]
    out["actions"] = [action(r) for r in actions]
    need(all(r["action"] < len(out["actions"]) for r in out["routes"]), "action")
    drawn = [b for a in out["actions"] for b in a.get("forward", {}).get("backends", [])]
    for number in [b["action"] for b in drawn if b["action"] is not None]:
        need(number < len(out["actions"]), "action of a backend")
        own = out["actions"][number].get("forward", {}).get("backends")
        need(own is None or [b["action"] for b in own] == [None], "action of a backend")
    return out


def domain(r):
    out = {"pattern": r.str(), "port": r.u16()}
    r.reserved(2)
    return out


def condition(r):
    value, kind = r.str(), r.choice({0: None, 1: "exact", 2: "prefix", 3: "suffix", 4: "regex", 5: "present"})
    r.reserved(3)
    return kind and {kind: True if kind == "present" else value}


def route(r):
    out = {"rule": r.rule(), "name": r.str()}
    path, kind = r.str(), r.choice({0: None, 1: "exact", 2: "prefix", 3: "segments", 4: "regex"})
    out["path"] = kind and {kind: path}
    out["ignore_case"] = r.flag()
    r.reserved(2)
    for field in ("method", "scheme", "authority"):
        out[field] = condition(r)
    out["headers"] = [header(h) for h in r.span(9)]
    out["query"] = [{"name": q.str(), "value": condition(q)} for q in r.span(10)]
    out["action"] = r.u32()
    out["source"] = [[label.str(), label.str()] for label in r.span(28)]
    return out


def header(r):
    out = {"name": r.str(), "value": condition(r), "invert": r.flag()}
    r.reserved(3)
    return out


def action(r):
    kind = r.choice({1: "forward", 2: "redirect", 3: "respond"})
    path_kind = r.choice({0: None, 1: "prefix", 2: "segments", 3: "full", 4: "regex"})
    status, port, has_port = r.u16(), r.u16(), r.flag()
    r.reserved(1)
    timeout_ms, text, scheme, path = r.u64(), r.str(), r.str(), r.str()
    path = path_kind and {path_kind: path}
    if path_kind == "regex":
        path["substitution"], scheme = scheme, ""
    backends = [backend(b) for b in r.span(11)]
    request, response = edits(r.span(12)), edits(r.span(12))
    injected, sharing = one(r.span(18), fault), one(r.span(19), cors)
    mirrors = [{"cluster": m.str(), "per_million": m.u32(), "rule": m.rule()} for m in r.span(26)]
    policy = one(r.span(24), retry)
    if kind == "forward":
        content = {"timeout_ms": timeout_ms, "path": path, "authority": text}
        content.update(request=request, response=response, backends=backends, fault=injected, cors=sharing, retry=policy, mirrors=mirrors)
    elif kind == "redirect":
        content = {"status": status, "scheme": scheme, "host": text, "port": port if has_port else None, "path": path, "response": response}
        content["fault"] = injected
    else:
        content = {"status": status, "body": text, "response": response, "fault": injected}
    return {kind: content}


def one(records, read):
    need(len(records) <= 1, "more than one")
    return read(records[0]) if records else None


def fault(r):
    out = {"rule": r.rule(), "delay_ms": r.u64()}
    out["delay_per_million"], out["abort_per_million"] = r.u32(), r.u32()
    out["abort_status"] = r.u16()
    r.reserved(2)
    return out


def cors(r):
    out = {"origins": [condition(o) for o in r.span(20)]}
    for field in ("methods", "headers", "expose"):
        out[field] = r.str()
    seconds = r.u32()
    out["max_age_s"] = seconds if r.flag() else None
    out["credentials"], out["forward_unmatched"] = r.flag(), r.flag()
    r.reserved(1)
    return out


RETRY_ON = (
    "connect-failure reset-before-request reset 5xx gateway-error retriable-4xx retriable-status-codes "
    "cancelled deadline-exceeded resource-exhausted internal unavailable"
).split()


def reasons(bits):
    need(bits < 1 << len(RETRY_ON), "retry reasons")
    return [name for bit, name in enumerate(RETRY_ON) if bits >> bit & 1]


def retry(r):
    out = {"attempts": r.u32(), "on": reasons(r.u32()), "on_repeatable": reasons(r.u32())}
    out["statuses"] = [s.u16() for s in r.span(25)]
    out["try_timeout_ms"], out["backoff_min_ms"] = r.u64(), r.u32()
    out["backoff_ms"], out["backoff_max_ms"] = r.u32(), r.u32()
    out["avoid_previous"] = r.flag()
    r.reserved(3)
    return out


def backend(r):
    out = {"cluster": r.str(), "weight": r.u32(), "rule": r.rule(), "missing_status": r.u16()}
    r.reserved(2)
    out["request"], out["response"] = edits(r.span(12)), edits(r.span(12))
    number = r.u32()
    out["action"] = None if number == UNKNOWN else number
    return out


def edits(records):
    out = {"remove": [], "set": [], "add": []}
    for r in records:
        name, value, kind = r.str(), r.str(), r.choice({1: "remove", 2: "set", 3: "add"})
        r.reserved(3)
        parts = [part(p) for p in r.span(37)]
        out[kind].append(name if kind == "remove" else [name, {"format": "".join(parts)} if parts else value])
    return out


VARIABLES = (
    "DOWNSTREAM_REMOTE_ADDRESS DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT DOWNSTREAM_REMOTE_PORT DOWNSTREAM_LOCAL_ADDRESS "
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT DOWNSTREAM_LOCAL_PORT PROTOCOL REQ REQ_WITHOUT_QUERY ROUTE_NAME HOSTNAME "
    "UPSTREAM_CLUSTER RESP RESPONSE_CODE RESPONSE_CODE_DETAILS RESPONSE_FLAGS UPSTREAM_REMOTE_ADDRESS "
    "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT UPSTREAM_REMOTE_PORT "
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT DOWNSTREAM_DIRECT_REMOTE_PORT "
    "START_TIME"
).split()


def part(r):
    text, alternative, bytes_max, what = r.str(), r.str(), r.u32(), r.u8()
    r.reserved(3)
    if what == 0:
        return text.replace("%", "%%")
    need(what <= len(VARIABLES), "variable")
    out = "%" + VARIABLES[what - 1]
    if text:
        out += "(" + text + ("?" + alternative if alternative else "") + ")"
    return out + (":%d" % bytes_max if bytes_max else "") + "%"


def cluster(blob):
    r = blob.head()
    out = {"rule": r.rule(), "protocol": r.choice({1: "http1", 2: "tcp"})}
    out["balance"] = r.choice({1: "least_request", 2: "round_robin", 3: "random", 4: "ring_hash", 5: "maglev"})
    out["mesh_internal"] = r.flag()
    r.reserved(1)
    out["endpoints"] = r.str()
    out["connect_timeout_ms"] = r.u32()
    out["idle_timeout_ms"] = r.u64()
    for field in ("max_requests_per_connection", "max_connections", "max_pending_requests", "max_requests"):
        out[field] = r.u32()
    for field in ("service_host", "service_name", "service_namespace"):
        out[field] = r.str()
    hashes, warmups = [consistent_hash(h) for h in r.span(21)], [warmup(w) for w in r.span(23)]
    need(len(hashes) == (out["balance"] in ("ring_hash", "maglev")), "hash")
    need(len(warmups) <= (out["balance"] in ("least_request", "round_robin")), "warm-up")
    out["hash"] = hashes[0] if hashes else None
    out["warmup"] = warmups[0] if warmups else None
    out["retry_budget"] = {"share": r.u32(), "floor": r.u32()}
    localities = [locality(l) for l in r.span(29)]
    out["locality"] = localities[0] if localities else None
    found = [outlier(o) for o in r.span(35)]
    need(len(found) <= 1, "more than one outlier detection")
    out["outlier"] = found[0] if found else None
    rules = [connection(c) for c in r.span(36)]
    need(len(rules) <= 1, "more than one set of connection rules")
    out["connection"] = rules[0] if rules else None
    return out


def connection(r):
    out = {"duration_max_ms": r.u64()}
    keepalive = {name: r.u32() for name in ("probes", "time_s", "interval_s")}
    out["keepalive"] = keepalive if r.flag() else None
    r.reserved(3)
    return out


def consistent_hash(r):
    kind, generated = r.choice({1: "header", 2: "cookie", 3: "source_ip", 4: "query"}), r.flag()
    r.reserved(2)
    size, name, path, ttl_ms = r.u32(), r.str(), r.str(), r.u64()
    attributes = [[a.str(), a.str()] for a in r.span(22)]
    if kind == "cookie":
        ttl_ms = ttl_ms if generated else None
        key = {"name": name, "path": path, "ttl_ms": ttl_ms, "attributes": attributes}
    else:
        key = True if kind == "source_ip" else name
    return {"table_size": size, "key": {kind: key}}


def locality(r):
    kind = r.choice({1: "distribute", 2: "failover"})
    r.reserved(3)
    distribute, priority, regions = r.span(30), r.span(32), r.span(33)
    if kind == "distribute":
        return {kind: [{"from": d.str(), "to": [[s.str(), s.u32()] for s in d.span(31)]} for d in distribute]}
    return {kind: {"priority": [failover_label(p) for p in priority], "regions": [[p.str(), p.str()] for p in regions]}}


def failover_label(r):
    out = {"name": r.str(), "value": r.str()}
    if not r.flag():
        out["value"] = None
    r.reserved(3)
    return out


def place(r):
    out = {field: r.str() for field in ("region", "zone", "subzone")}
    out["labels"] = [[l.str(), l.str()] for l in r.span(28)]
    return out


def warmup(r):
    return {"duration_ms": r.u64(), "minimum": r.u32(), "aggression": r.u32()}


def outlier(r):
    names = ("consecutive_5xx_errors", "consecutive_gateway_errors", "consecutive_local_failures")
    out = {name: r.u32() for name in names}
    out["interval_ms"], out["base_ejection_ms"] = r.u64(), r.u64()
    out["split_local_origin"] = r.flag()
    out["max_ejection_percent"], out["min_health_percent"] = r.u8(), r.u8()
    r.reserved(1)
    out["error_codes"] = [status.u16() for status in r.span(25)]
    return out


def endpoints(blob):
    h = blob.head()
    out = {"workloads": [workload(r) for r in h.span(13)]}
    out["endpoints"] = [endpoint(r) for r in h.span(14)]
    out["places"] = [place(r) for r in h.span(27)]
    out["names"] = [named_endpoint(r) for r in h.span(34)]
    return out


def named_endpoint(r):
    out = {"host": r.str(), "weight": r.u32(), "port": r.u16(), "first_only": r.flag()}
    r.reserved(1)
    index = r.u32()
    out["place"] = None if index == UNKNOWN else index
    return out


def endpoint(r):
    out = {"address": address(r), "draining": r.flag()}
    r.reserved(1)
    out["weight"], index = r.u32(), r.u32()
    out["workload"] = None if index == UNKNOWN else index
    index = r.u32()
    out["place"] = None if index == UNKNOWN else index
    return out


def policy(blob):
    r = blob.head()
    out = {"access_log": r.choice({1: "off", 2: "text", 3: "json"})}
    out["path_normalization"] = r.choice({1: "none", 2: "base", 3: "merge_slashes", 4: "decode_and_merge_slashes"})
    out["profile"] = r.choice({1: "istio", 2: "strict"})
    r.reserved(1)
    for field in ("head_bytes_max", "header_fields_max", "head_timeout_ms", "body_idle_timeout_ms"):
        out[field] = r.u32()
    out["downstream_idle_timeout_ms"] = r.u64()
    for field in ("drain_timeout_ms", "ask_timeout_ms", "trusted_proxies"):
        out[field] = r.u32()
    out["access_log_format"] = r.str()
    return out


def provenance(blob):
    return {"entries": [origin(r) for r in blob.head().span(15)]}


def origin(r):
    out = {"rule": r.rule()}
    out.update((field, r.str()) for field in ("kind", "namespace", "name", "field", "file"))
    out["line"], out["column"] = r.u32(), r.u32()
    return out


CONTENT = {1: listeners, 2: host, 3: cluster, 4: endpoints, 5: policy, 7: provenance}


def snapshot(data):
    need(data[:8] == b"RWSNAP1\n", "magic or version of the file")
    incarnation, sequence, count = struct.unpack_from("<QQI", data, 40)
    at = 60 + 36 * count
    need(hashlib.sha256(data[40:at]).digest() == data[8:40], "hash of the header")
    blobs, root = [], b""
    for i in range(count):
        size, digest = struct.unpack_from("<I32s", data, 60 + 36 * i)
        raw = data[at : at + size]
        need(hashlib.sha256(raw).digest() == digest, "hash of blob %d" % i)
        blob, at = Blob(raw), at + size
        name = blob.name.encode("utf-8")
        root += struct.pack("<BI", blob.kind, len(name)) + name + digest
        content = CONTENT[blob.kind](blob)
        blobs.append({"kind": KINDS[blob.kind], "name": blob.name, "hash": digest.hex(), "content": content})
    need(at == len(data), "length of the file")
    digest = hashlib.sha256(root).hexdigest() if count else "00" * 32
    return {"order": {"incarnation": incarnation, "sequence": sequence}, "root": digest, "blobs": blobs}


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as file:
        json.dump(snapshot(file.read()), sys.stdout)
