# What the stories share: checks, tokens and requests to the demo, by curl. Sourced by them; DEMO names its folder.
# Needs bash, curl, grep and sed.
set -euo pipefail
export LC_ALL=C # documents are bytes; some are ISO-8859-1

DEMO=${1:-demo}
HERE=$(cd "$(dirname "$0")" && pwd)
SLUIS=${SLUIS:-$HERE/../target/release/sluis}
BSN='http://fhir.nl/fhir/NamingSystem/bsn'
URA='http://fhir.nl/fhir/NamingSystem/ura'

fail() { printf 'STORY BROKEN: %s\n%s\n' "$1" "${2:-}" >&2; exit 1; }
[ -f "$DEMO/sluis.toml" ] || fail "no demo in $DEMO; start one: cargo run --release -- demo"
[ -f "$DEMO/sluis.pid" ] || fail "the demo in $DEMO is not running"
[ -x "$SLUIS" ] || fail "no program at $SLUIS; build it, or name it: SLUIS=target/debug/sluis $0"
BASE=$(sed -n 's/^base = "\(.*\)"/\1/p' "$DEMO/sluis.toml")
CURL=(curl --silent --show-error --cacert "$DEMO/authority.pem")

say() { printf '\n== %s\n' "$*"; }
tell() { printf '   %s\n' "$*"; }
# has TEXT PART: the answer must hold this part.
has() { case "$1" in *"$2"*) ;; *) fail "the answer lacks $2" "$1" ;; esac; }
hasnot() { case "$1" in *"$2"*) fail "the answer holds $2" "$1" ;; *) ;; esac; }
same() { [ "$1" = "$2" ] || fail "$3" "$1 / $2"; }
# text NAME, number NAME: first value of a JSON member on standard input, empty when there is none.
text() { { grep -o "\"$1\":\"[^\"]*\"" || :; } | sed -n '1s/.*:"\(.*\)"/\1/p'; }
number() { { grep -o "\"$1\":[0-9.-][0-9.-]*" || :; } | sed -n '1s/.*://p'; }
# entries: the entries of a Bundle on standard input, one a line.
entries() { sed 's/{"fullUrl"/\n&/g' | { grep '^{"fullUrl"' || :; }; }

# token CLIENT [context...]: SMART Backend Services. The client signs an assertion with its own key; the gateway answers
# with a token for five minutes.
token() {
  local assertion answer
  assertion=$("$SLUIS" assertion --demo "$DEMO" "$@")
  answer=$("${CURL[@]}" "$BASE/oauth/token" \
    --data-urlencode grant_type=client_credentials \
    --data-urlencode scope='system/*.cruds patient/*.cruds' \
    --data-urlencode client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer \
    --data-urlencode client_assertion="$assertion")
  has "$answer" access_token
  text access_token <<< "$answer"
}
# get TOKEN PATH, send TOKEN PATH [curl options...]
get() { "${CURL[@]}" -H "authorization: Bearer $1" "$BASE/$2"; }
send() { local token=$1 path=$2; shift 2; "${CURL[@]}" -H "authorization: Bearer $token" "$@" "$BASE/$path"; }
total() { get "$1" "$2" | number total; }
next() { { grep -o '"relation":"next","url":"[^"]*"' || :; } | cut -d'"' -f8; }
# ingest TOKEN CONTENT_TYPE: standard input is the document, in whatever format the sender has. Prints what became of it.
ingest() { send "$1" "\$ingest" -H "content-type: $2" --data-binary @-; }
outcome() { grep -o '"diagnostics":"[0-9]* created[^.]*' <<< "$1" | cut -d'"' -f4; }
# patient TOKEN NUMBER: id of the patient with this BSN. By POST: a BSN belongs in no URL, because URLs end up in logs.
patient() {
  local id
  id=$(send "$1" Patient/_search --data-urlencode "identifier=$BSN|$2" | entries | text id)
  [ -n "$id" ] || fail "the patient is not found"
  echo "$id"
}
MANIFEST_FILE=$(mktemp)
trap 'rm -f "$MANIFEST_FILE"' EXIT
# export_cohort TOKEN GROUP: pulls a cohort; leaves the manifest in MANIFEST_FILE.
export_cohort() {
  local job status=none
  job=$(send "$1" "Group/$2/\$export" -D - -o /dev/null -H 'prefer: respond-async' | tr -d '\r' \
    | sed -n 's/^content-location: //Ip')
  [ -n "$job" ] || fail "the export did not start"
  for _ in $(seq 60); do
    status=$("${CURL[@]}" -o "$MANIFEST_FILE" -w '%{http_code}' -H "authorization: Bearer $1" "$job")
    [ "$status" = 202 ] || [ "$status" = 429 ] || break
    sleep 1
  done
  [ "$status" = 200 ] || fail "the export ended with $status" "$(cat "$MANIFEST_FILE")"
}
# outputs MEMBER: type, count and address of each file of the manifest's output or deleted.
outputs() {
  tr -d '\n' < "$MANIFEST_FILE" | sed "s/.*\"$1\":\[\([^]]*\)\].*/\1/; s/},/}\n/g" \
    | while read -r FILE || [ -n "$FILE" ]; do echo "$(text type <<< "$FILE") $(number count <<< "$FILE") $(text url <<< "$FILE")"; done
}
