# Sourced by what compares whole proxies: an origin, and the command that starts a proxy in front of it.
# Wants $load (the ringway-load to use), $dir (a temporary folder) and $driver; the caller ends $origin_pid.

mkfifo "$dir/said"
# Beside the proxy, which `ab` puts on the first processor.
beside=()
[ "$(nproc)" -lt 2 ] || beside=(taskset -c "1-$(($(nproc) - 1))")
"${beside[@]}" "$load" serve --listen 127.0.0.1:0 2>"$dir/said" &
origin_pid=$!
read -r _ _ origin _ <"$dir/said"
origin=${origin#http://} origin=${origin%/N}

# Each build reads a snapshot that its own revision wrote: the format is free to change between revisions.
start_of() { # a name, what writes a snapshot, what starts the proxy
  echo "$2 $dir/$1-{port} 127.0.0.1:{port} $origin && exec $3 --config file:$dir/$1-{port} --node default/sample --workers 1 --io-backend $driver"
}
