#!/bin/sh
# One run with nothing but curl: `sh examples/curl.sh http://127.0.0.1:7400 TOKEN`, with the address and the token that
# `millrace serve` prints. Default address: http://127.0.0.1:7400, default token: that of MILLRACE_TOKEN.
set -eu
url=${1:-http://127.0.0.1:7400}
token=${2:-${MILLRACE_TOKEN:?set MILLRACE_TOKEN, or give the token as the second argument}}

call() {
  # Some shells do not end at a failure in here: it is handed on.
  curl -sS --fail-with-body -H "Authorization: Bearer $token" -H 'Content-Type: application/json' "$@" || return
  echo
}

echo '# start a run, and read what the server says of it'
started=$(call "$url/runs" -d '{"actor":"chat","input":"Tell me about millrace"}') || {
  echo "$started" >&2
  exit 1
}
echo "$started"
run=$(echo "$started" | sed 's/.*"run":"\([^"]*\)".*/\1/')

echo '# its first events, as server-sent events: Ctrl-C would leave the run alone'
curl -sN -m 1 -H "Authorization: Bearer $token" "$url/runs/$run/events" || test $? -eq 28

echo '# stop it: the answer is the receipt'
call "$url/runs/$run/cancel" -d '{"note":"heard enough"}'

echo '# it has one end, for everybody'
call "$url/runs/$run"
