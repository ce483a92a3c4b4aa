#!/usr/bin/env bash
# The daemon and what reports to it in one terminal. Ctrl-C ends all; when one of them ends, so do the others.
#
# usage: demo.sh BIN STATE [gateway]
# BIN: the folder of twistd and python. STATE: the daemon's state directory. What reports: ten simulated devices; or a gateway, to an
# emulated controller on a pseudo-terminal.
# Exit status: 0 ended from outside; otherwise that of what ended by itself, at least 1.
set -u

bin=$1
state=$2
what=${3:-devices}
port=21318
devices=10
start_s=30

say() { printf 'demo: %s\n' "$*" >&2; }

end_all() {
    trap '' INT TERM HUP
    local running tenths
    for ((tenths = 0; tenths < 150; tenths++)); do
        running=$(jobs -pr)
        [[ -z $running ]] && return
        # shellcheck disable=SC2086 # one word each
        ((tenths == 0)) && kill -TERM $running 2>/dev/null
        sleep 0.1
    done
    say "does not end, killed: $running"
    # shellcheck disable=SC2086
    kill -KILL $running 2>/dev/null
}

port_is_free() {
    "$bin/python" -c 'import socket, sys; socket.create_server(("", int(sys.argv[1]))).close()' "$port" 2>/dev/null
}

port_accepts() {
    "$bin/python" -c 'import socket, sys; socket.create_connection(("127.0.0.1", int(sys.argv[1]))).close()' "$port" 2>/dev/null
}

if ! port_is_free; then
    say "port $port is taken: end what listens there first"
    exit 1
fi

trap end_all EXIT
trap 'exit 0' INT TERM HUP

"$bin/twistd" --nodaemon cmmd --state "$state" &
daemon=$!
until port_accepts; do
    if [[ -z $(jobs -pr) ]]; then
        wait "$daemon"
        status=$?
        say "the daemon did not start"
        exit $((status ? status : 1))
    fi
    if ((SECONDS > start_s)); then
        say "the daemon does not accept on port $port after $start_s seconds"
        exit 1
    fi
    sleep 0.2
done

start_devices() {
    "$bin/twistd" --nodaemon cmm-sim --server "127.0.0.1:$port" --devices "$devices" &
    say "$devices simulated devices report to port $port; http://localhost:21380/ shows them; Ctrl-C ends all"
}

# A gateway says itself when what it kept during an outage was. That has to be allowed, once the gateway has logged in.
allow_history() {
    local hostid="$1/hostid" until_s=$((SECONDS + start_s))
    until "$bin/cmmctl" --state "$state" device "$(cat "$hostid" 2>/dev/null)" set history=true >/dev/null 2>&1; do
        if ((SECONDS > until_s || $(jobs -pr | wc -l) < 3)); then
            say "the gateway has not logged in; allow it history later: $bin/cmmctl --state $state device HOSTID set history=true"
            return
        fi
        sleep 0.5
    done
}

start_gateway() {
    local folder
    folder=$(realpath "$state")
    "$bin/cmm-emulator" --link "$folder/ttyController" --lively </dev/null &
    cat >"$folder/gateway.toml" <<END
[device]
hostname = "Emulated genset"
password = "123456"
[server]
login = "127.0.0.1:$port"
[serial]
rs485 = "$folder/ttyController"
END
    "$bin/twistd" --nodaemon cmm-gateway --config "$folder/gateway.toml" --state "$folder/gateway" &
    allow_history "$folder/gateway"
    say "an emulated controller is on $folder/ttyController, and a gateway reports it to port $port;"
    say "http://localhost:21380/ shows it; $bin/cmmctl --state $state devices lists it; Ctrl-C ends all"
}

"start_$what"

wait -n
status=$?
jobs -pr | grep -qx "$daemon" && ended="what reports" || ended="the daemon"
say "$ended has ended (exit status $status)"
exit $((status ? status : 1))
