#!/usr/bin/env bash
# One patient, four care lines, with curl. Start the demo first (cargo run --release -- demo), then run this beside it:
#
#   examples/story.sh [DEMO_FOLDER]        default: demo
#
# Every step says what it does, shows the answer's essence and stops the script when the answer is not what it should be.
set -euo pipefail

DEMO=${1:-demo}
HERE=$(cd "$(dirname "$0")" && pwd)
SLUIS=${SLUIS:-$HERE/../target/release/sluis}
BASE=$(sed -n 's/^base = "\(.*\)"/\1/p' "$DEMO/sluis.toml")
CURL=(curl --silent --show-error --cacert "$DEMO/authority.pem")
BSN='http://fhir.nl/fhir/NamingSystem/bsn'
PATIENT_BSN=999911120
RUN=$(date +%s)

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'STORY BROKEN: %s\n%s\n' "$1" "${2:-}" >&2; exit 1; }
# has TEXT PART: the answer must hold this part.
has() { case "$1" in *"$2"*) ;; *) fail "the answer lacks $2" "$1" ;; esac; }
hasnot() { case "$1" in *"$2"*) fail "the answer holds $2" "$1" ;; *) ;; esac; }
# value NAME: first value of a JSON member on standard input.
value() { tr -d '\n' | sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p" | head -n 1; }
first() { grep -o "\"$1\":\"[^\"]*\"" | head -n 1 | cut -d'"' -f4; }

# token CLIENT [context...]: SMART Backend Services. The client signs an assertion with its own key; the gateway answers
# with a token for 300 seconds.
token() {
  local assertion
  assertion=$("$SLUIS" assertion --demo "$DEMO" "$@")
  "${CURL[@]}" "$BASE/oauth/token" \
    --data-urlencode grant_type=client_credentials \
    --data-urlencode scope='system/*.cruds patient/*.cruds' \
    --data-urlencode client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer \
    --data-urlencode client_assertion="$assertion" | first access_token
}
get() { "${CURL[@]}" -H "authorization: Bearer $1" "$BASE/$2"; }

say "0. The gateway describes itself, without a token"
has "$("${CURL[@]}" "$BASE/metadata" | head -c 200)" CapabilityStatement

say "1. The hospital posts an HL7v2 ORU^R01 with FVC, SNIP and ALSFRS-R (ISO-8859-1)"
UMC=$(token umc-epd)
oru() { # FILE -> the document with a control id of this run
  sed "s/@RUN@/$RUN/g" "$HERE/documents/$1"
}
ingest() { # TOKEN CONTENT_TYPE [curl options]: standard input is the document
  local token=$1 type=$2; shift 2
  "${CURL[@]}" -H "authorization: Bearer $token" -H "content-type: $type" "$@" --data-binary @- "$BASE/\$ingest"
}
FIRST=$(oru oru-longfunctie.hl7 | ingest "$UMC" 'x-application/hl7-v2+er7')
has "$FIRST" OperationOutcome; has "$FIRST" Observation/
AGAIN=$(oru oru-longfunctie.hl7 | ingest "$UMC" 'x-application/hl7-v2+er7')
[ "$FIRST" = "$AGAIN" ] || fail "resending gave another answer" "$AGAIN"
echo "sent twice: the same answer"
FVC=$(printf '%s' "$FIRST" | grep -o 'Observation/[0-9a-f-]*' | head -n 1)
CORRECTED=$(oru oru-correctie.hl7 | ingest "$UMC" 'x-application/hl7-v2+er7')
has "$CORRECTED" OperationOutcome
HISTORY=$(get "$UMC" "$FVC/_history")
has "$HISTORY" '"total":2'; has "$HISTORY" '"status":"corrected"'
echo "corrected: $FVC has two versions"

say "2. The GeSp team posts its CSV export: good rows go through, bad ones wait"
GESP=$(token gesp-midden-epd)
CSV=$(ingest "$(token gesp-midden-epd --system)" 'text/csv' < "$HERE/documents/gesp-export.csv")
has "$CSV" 'row['; has "$CSV" OperationOutcome
echo "$CSV" | head -c 600; echo

say "3. The GP system posts STU3 (zib2017): a Condition and a treatment directive"
HIS=$(token gp-brug-his --system)
has "$(ingest "$HIS" 'application/fhir+json; fhirVersion=3.0' < "$HERE/documents/stu3-condition.json")" Condition/
has "$(ingest "$HIS" 'application/fhir+json; fhirVersion=3.0' < "$HERE/documents/stu3-treatment-directive.json")" Consent/

say "4. A GeSp clinician opens the patient"
PATIENT=$("${CURL[@]}" -H "authorization: Bearer $GESP" "$BASE/Patient/_search" --data-urlencode "identifier=$BSN|$PATIENT_BSN" \
  | grep -o '"resource":{"resourceType":"Patient","id":"[^"]*"' | head -n 1 | cut -d'"' -f8)
[ -n "$PATIENT" ] || fail "the patient is not found"
PAGE=$(get "$GESP" "Observation?patient=$PATIENT&code=http://loinc.org|19868-9&_sort=-date&_count=2&_include=Observation:subject")
has "$PAGE" '"total":'; has "$PAGE" '"mode":"include"'
NEXT=$(printf '%s' "$PAGE" | grep -o '"relation":"next","url":"[^"]*"' | cut -d'"' -f8)
[ -z "$NEXT" ] || has "$(get "$GESP" "${NEXT#"$BASE/"}")" searchset
for type in Condition CarePlan Consent; do has "$(get "$GESP" "$type?patient=$PATIENT")" searchset; done
has "$(get "$GESP" "Consent?patient=$PATIENT")" 40617009
echo "Patient/$PATIENT: measurements page by page, diagnosis, care plan, directive"

say "5. CTB sees respiration and not the psychosocial; a GP elsewhere sees nothing"
CTB=$(token ctb-epd)
has "$(get "$CTB" "Observation?patient=$PATIENT&_count=100")" 19868-9
hasnot "$(get "$CTB" "Observation?patient=$PATIENT&_count=100")" psychosocial
ELDERS=$(token gp-elders-his)
has "$(get "$ELDERS" "Observation?patient=$PATIENT")" '"total":0'
HIDDEN=$(get "$ELDERS" "Patient/$PATIENT"); NEVER=$(get "$ELDERS" "Patient/00000000-0000-4000-8000-000000000000")
[ "$HIDDEN" = "$NEVER" ] || fail "hidden and never-existed differ" "$HIDDEN"

say "6. The patient withdraws consent for CTB: from that moment CTB sees nothing of others"
URA=http://fhir.nl/fhir/NamingSystem/ura
ME=$(token portaal --patient "$PATIENT")
OPEN_PAGE=$(get "$CTB" "Observation?patient=$PATIENT&_count=1" | grep -o '"relation":"next","url":"[^"]*"' | cut -d'"' -f8)
# withdraw RECIPIENT_URA PURPOSE: reads the patient's consent and puts it back inactive.
withdraw() {
  local id body
  id=$(get "$ME" "Consent?patient=$PATIENT&status=active&purpose=$2&actor:identifier=$URA|$1" \
    | grep -o '"resourceType":"Consent","id":"[^"]*"' | head -n 1 | cut -d'"' -f8)
  [ -n "$id" ] || fail "no active consent for $1"
  body=$(get "$ME" "Consent/$id" | sed 's/"status":"active"/"status":"inactive"/')
  has "$("${CURL[@]}" -X PUT -H "authorization: Bearer $ME" -H 'content-type: application/fhir+json' \
    --data-binary "$body" "$BASE/Consent/$id")" '"status":"inactive"'
  echo "Consent/$id"
}
BEFORE=$(get "$GESP" "Observation?patient=$PATIENT&_summary=count" | value total)
withdraw 90000401 TREAT
has "$(get "$CTB" "Observation?patient=$PATIENT")" '"total":0'
has "$(get "$CTB" "Observation?patient=$PATIENT&_summary=count")" '"total":0'
hasnot "$(get "$CTB" "${OPEN_PAGE#"$BASE/"}")" '"entry"'
AFTER=$(get "$GESP" "Observation?patient=$PATIENT&_summary=count" | value total)
[ "$BEFORE" = "$AFTER" ] || fail "GeSp noticed: $BEFORE became $AFTER"

say "7. ACN pulls the cohort: pseudonymised, consented, counted"
ACN=$(token acn-data)
GROUP=$(get "$ACN" Group | grep -o '"resourceType":"Group","id":"[^"]*"' | head -n 1 | cut -d'"' -f8)
export_cohort() { # prints the manifest
  local job status
  job=$("${CURL[@]}" -D - -o /dev/null -H "authorization: Bearer $ACN" -H 'prefer: respond-async' \
    "$BASE/Group/$GROUP/\$export" | tr -d '\r' | sed -n 's/^content-location: //Ip')
  [ -n "$job" ] || fail "the export did not start"
  for _ in $(seq 60); do
    status=$("${CURL[@]}" -o "$DEMO/manifest.json" -w '%{http_code}' -H "authorization: Bearer $ACN" "$job")
    [ "$status" = 202 ] || [ "$status" = 429 ] || break
    sleep 1
  done
  [ "$status" = 200 ] || fail "export ended with $status" "$(cat "$DEMO/manifest.json")"
  cat "$DEMO/manifest.json"
}
MANIFEST=$(export_cohort)
has "$MANIFEST" '"requiresAccessToken":true'
FILE=$(printf '%s' "$MANIFEST" | grep -o '"url":"[^"]*"' | head -n 1 | cut -d'"' -f4)
LINES=$("${CURL[@]}" -H "authorization: Bearer $ACN" "$FILE")
hasnot "$LINES" "$PATIENT_BSN"; hasnot "$LINES" Proefpersoon; hasnot "$LINES" "$PATIENT"
withdraw 90000501 HRESCH
SECOND=$(export_cohort)
has "$SECOND" '"deleted":['
echo "$SECOND" | head -c 1500; echo

say "8. The patient reads who looked"
LOG=$(get "$ME" "AuditEvent?patient=$PATIENT&_count=20")
has "$LOG" AuditEvent; has "$LOG" 90000401; has "$LOG" Consent/
"$SLUIS" audit verify --config "$DEMO/sluis.toml"

say "The story holds."
