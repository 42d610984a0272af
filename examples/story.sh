#!/usr/bin/env bash
# One patient, four care lines, with curl. Start the demo first (cargo run --release -- demo), then run this beside it:
#
#   examples/story.sh [DEMO_FOLDER]        default: demo
#
# Every step says what it does, shows the essence of the answer and stops when the answer is not what it should be.
# Needs bash, curl, grep and sed. It may be run again on the same demo; what an earlier run left is said. To start afresh,
# stop the demo, remove its folder and start it again.
source "$(dirname "$0")/with.sh"

RUN=$(date +%s)
PATIENT_BSN=999911120 # of the published test range
TABLE=$DEMO/mappings/gesp-export/codes/tests.csv

say "0. The gateway describes itself; that needs no token"
METADATA=$("${CURL[@]}" "$BASE/metadata")
has "$METADATA" CapabilityStatement
tell "$BASE: FHIR $(text fhirVersion <<< "$METADATA")"

say "1. The hospital posts an HL7v2 ORU^R01 with FVC, SNIP and ALSFRS-R, in ISO-8859-1"
UMC=$(token umc-epd)
oru() { sed "s/@RUN@/$RUN/g" "$HERE/documents/$1"; } # with message and order numbers of this run
HL7='x-application/hl7-v2+er7'
FIRST=$(oru oru-longfunctie.hl7 | ingest "$UMC" "$HL7")
has "$FIRST" Observation/
tell "$(outcome "$FIRST")"
same "$FIRST" "$(oru oru-longfunctie.hl7 | ingest "$UMC" "$HL7")" "resending gave another answer"
tell "sent again: the same answer, nothing twice"
FVC=$({ grep -o 'Observation/[0-9a-f-]*' | sed -n 1p; } <<< "$FIRST")
ORIGIN=$(get "$UMC" "Provenance?target=$FVC")
has "$ORIGIN" 'OBX['
tell "$FVC comes from $({ grep -o 'OBX\[[0-9]*\][^" ]*' | sed -n 1p; } <<< "$ORIGIN"), says its Provenance"
CORRECTED=$(oru oru-correctie.hl7 | ingest "$UMC" "$HL7")
HISTORY=$(get "$UMC" "$FVC/_history")
has "$HISTORY" '"total":2'; has "$HISTORY" '"status":"corrected"'
tell "a correction follows ($(outcome "$CORRECTED")): the same Observation, version 2, both kept"

say "2. The GeSp team posts its CSV export: good rows go through, bad ones wait to be mended"
FEED=$(token gesp-midden-epd --system)
CSV=$(ingest "$FEED" text/csv < "$HERE/documents/gesp-export.csv")
has "$CSV" 'row['
hasnot "$CSV" 999940003 # a BSN is never told back, not even a wrong one
tell "$(outcome "$CSV")"
waiting() { get "$FEED" "\$quarantine"; echo; }
has "$(waiting)" bsn-invalid
waiting | sed 's/{"name":"group"/\n/g' | sed -n 's/.*"cause","valueString":"\([^"]*\)".*"remedy","valueString":"\([^"]*\)".*/   waits: \1\n          -> \2/p'
if grep -q '^[^,]*,SNIF,' "$TABLE"; then
  tell "an earlier run taught the gateway SNIF: its row went through with the others"
else
  tell "the team typed SNIF for SNIP: add the row to ${TABLE#"$DEMO/"}, have it read, replay"
  has "$(waiting)" '|SNIF'
  SNIP='https://sluis.care/fhir/CodeSystem/als-observation,snip,Sniff nasal inspiratory pressure'
  printf '%s\n' "urn:oid:2.999.90000201.5,SNIF,SNIP,$SNIP,equivalent,typed so on the ward" >> "$TABLE"
  kill -HUP "$(cat "$DEMO/sluis.pid")"
  for _ in 1 2 3 4 5 6 7 8 9 10; do # until the gateway has read it
    REPLAYED=$(send "$FEED" "\$replay?dryrun=true" -X POST)
    case "$REPLAYED" in *'"created","valueInteger":1'*) break ;; *) sleep 0.5 ;; esac
  done
  REPLAYED=$(send "$FEED" "\$replay" -X POST)
  has "$REPLAYED" '"created","valueInteger":1'
  tell "replayed: 1 created, from the document as it came in"
fi
has "$(send "$FEED" "\$replay" -X POST)" '"created","valueInteger":0'
hasnot "$(waiting)" SNIF
tell "replayed again: nothing new; the row with the wrong BSN goes on waiting"

say "3. The GP system posts STU3 (zib2017): a Condition and a treatment directive"
HIS=$(token gp-brug-his --system)
STU3='application/fhir+json; fhirVersion=3.0'
CONDITION=$(ingest "$HIS" "$STU3" < "$HERE/documents/stu3-condition.json")
DIRECTIVE=$(ingest "$HIS" "$STU3" < "$HERE/documents/stu3-treatment-directive.json")
has "$CONDITION" Condition/; has "$DIRECTIVE" Consent/
tell "both read as R4: $({ grep -o 'Condition/[0-9a-f-]*' | sed -n 1p; } <<< "$CONDITION"), $({ grep -o 'Consent/[0-9a-f-]*' | sed -n 1p; } <<< "$DIRECTIVE")"

say "4. A GeSp clinician opens the patient"
GESP=$(token gesp-midden-epd) # with a professional at the keys: the client vouches for her role
PATIENT=$(patient "$GESP" "$PATIENT_BSN")
ME=$(token portaal --patient "$PATIENT")
# consent RECIPIENT_URA PURPOSE FROM TO: the patient's consent for a recipient changes status; prints its id. Empty when
# she has none that is FROM.
consent() {
  local id body
  id=$(get "$ME" "Consent?patient=$PATIENT&status=$3&purpose=$2&actor:identifier=$URA|$1" | entries | text id)
  [ -n "$id" ] || return 0
  body=$(get "$ME" "Consent/$id" | sed "s/\"status\":\"$3\"/\"status\":\"$4\"/")
  body=$(send "$ME" "Consent/$id" -X PUT -H 'content-type: application/fhir+json' --data-binary "$body")
  has "$body" "\"status\":\"$4\""
  echo "Consent/$id"
}
for AGAIN in "$(consent 90000401 TREAT inactive active)" "$(consent 90000501 HRESCH inactive active)"; do
  [ -z "$AGAIN" ] || tell "(an earlier run withdrew $AGAIN; she gives it again)"
done
PAGE=$(get "$GESP" "Observation?patient=$PATIENT&code=http://loinc.org|19868-9&_sort=-date&_count=2&_include=Observation:subject")
has "$PAGE" '"mode":"include"'
MEASURED=$(number total <<< "$PAGE")
tell "FVC, latest first, $MEASURED measurements, two on a page:"
SEEN=0
while :; do
  while read -r ENTRY; do
    tell "  $(text effectiveDateTime <<< "$ENTRY" | cut -c1-10)  $(number value <<< "$ENTRY") L  from $(text source <<< "$ENTRY" | sed 's/.*#/URA /')"
    SEEN=$((SEEN + 1))
  done < <(entries <<< "$PAGE" | grep '"resourceType":"Observation"')
  NEXT=$(next <<< "$PAGE")
  [ -n "$NEXT" ] || break
  PAGE=$(get "$GESP" "${NEXT#"$BASE/"}")
done
same "$SEEN" "$MEASURED" "the pages do not hold what was counted"
for TYPE in Condition CarePlan Consent; do
  COUNT=$(total "$GESP" "$TYPE?patient=$PATIENT&_summary=count")
  [ "$COUNT" -gt 0 ] || fail "no $TYPE"
  tell "$TYPE: $COUNT"
done
DIRECTIVES=$(get "$GESP" "Consent?patient=$PATIENT&scope=treatment")
has "$DIRECTIVES" 40617009
tell "the directive on artificial respiration is there: type $({ grep -o '"type":"\(deny\|permit\)"' | sed -n '1s/.*:"\(.*\)"/\1/p'; } <<< "$DIRECTIVES")"

say "5. The home-ventilation centre sees respiration but nothing psychosocial; a GP elsewhere sees nothing"
CTB=$(token ctb-epd)
ALL=$(get "$CTB" "Observation?patient=$PATIENT&_count=1000")
has "$ALL" 19868-9; hasnot "$ALL" psychosocial
has "$(get "$GESP" "Observation?patient=$PATIENT&_count=1000")" psychosocial
tell "CTB: $(number total <<< "$ALL") of the $(total "$GESP" "Observation?patient=$PATIENT&_summary=count") observations GeSp sees, none psychosocial"
ELDERS=$(token gp-elders-his)
same 0 "$(total "$ELDERS" "Observation?patient=$PATIENT")" "a GP without relation or consent saw something"
NEVER=$(get "$ELDERS" Patient/00000000-0000-4000-8000-000000000000)
same "$(get "$ELDERS" "Patient/$PATIENT")" "$NEVER" "hidden and never-existed differ"
tell "the other GP: 0, and her Patient answers as one that never existed"

say "6. The patient withdraws her consent for CTB"
OPEN_PAGE=$(get "$CTB" "Observation?patient=$PATIENT&_count=1" | next)
BEFORE=$(total "$GESP" "Observation?patient=$PATIENT&_summary=count")
WITHDRAWN=$(consent 90000401 TREAT active inactive)
[ -n "$WITHDRAWN" ] || fail "she has no active consent for CTB"
same 0 "$(total "$CTB" "Observation?patient=$PATIENT")" "CTB still sees"
same 0 "$(total "$CTB" "Observation?patient=$PATIENT&_summary=count")" "CTB still counts"
hasnot "$(get "$CTB" "${OPEN_PAGE#"$BASE/"}")" '"entry"'
same "$(get "$CTB" "Patient/$PATIENT")" "$NEVER" "CTB can tell that she is there"
tell "$WITHDRAWN is inactive: CTB's next request, next page and next count are empty"
same "$BEFORE" "$(total "$GESP" "Observation?patient=$PATIENT&_summary=count")" "GeSp noticed"
tell "GeSp, whose consent stands, sees the same $BEFORE"

say "7. The ALS centre pulls its cohort: consented, pseudonymised, counted"
ACN=$(token acn-data)
GROUP=$(get "$ACN" Group | entries | text id)
export_cohort "$ACN" "$GROUP"
has "$(cat "$MANIFEST_FILE")" '"requiresAccessToken":true'
while read -r TYPE COUNT URL; do
  FILE=$("${CURL[@]}" -H "authorization: Bearer $ACN" "$URL")
  for SECRET in $PATIENT_BSN Proefpersoon "$PATIENT"; do hasnot "$FILE" "$SECRET"; done
  same "$(grep -c . <<< "$FILE")" "$COUNT" "$TYPE: lines and count differ"
  tell "$TYPE: $COUNT, without name, BSN or id"
done < <(outputs output)
PATIENTS=$(outputs output | sed -n 's/^Patient \([0-9]*\).*/\1/p')
WITHDRAWN=$(consent 90000501 HRESCH active inactive)
[ -n "$WITHDRAWN" ] || fail "she has no active consent for research"
export_cohort "$ACN" "$GROUP"
same "$((PATIENTS - 1))" "$(outputs output | sed -n 's/^Patient \([0-9]*\).*/\1/p')" "her withdrawal does not count"
has "$(cat "$MANIFEST_FILE")" '"deleted":[{'
tell "she withdraws $WITHDRAWN: the next export has $((PATIENTS - 1)) patients and says what to delete"

say "8. The patient reads who looked, in what role, for what, and by which consent"
LOG=$(get "$ME" "AuditEvent?patient=$PATIENT&_count=50")
has "$LOG" 90000401; has "$LOG" Consent/
entries <<< "$LOG" | while read -r EVENT; do
  WHO=$(sed -n "s|.*\"$URA\",\"value\":\"[0-9]*\"},\"display\":\"\([^\"]*\)\".*|\1|p" <<< "$EVENT")
  ROLE=$({ grep -o '"https://sluis.care/fhir/CodeSystem/role","code":"[^"]*"' || :; } <<< "$EVENT" | cut -d'"' -f6)
  BY=$({ grep -o 'Consent/[0-9a-f-]*' || :; } <<< "$EVENT" | sed -n 1p)
  tell "$(text recorded <<< "$EVENT" | cut -c1-19)  ${WHO:-she herself}${ROLE:+ ($ROLE)}, $(text code <<< "$(sed 's/.*"subtype"//' <<< "$EVENT")")${BY:+, by $BY}"
done > "$MANIFEST_FILE"
sed -n 1,12p "$MANIFEST_FILE"
"$SLUIS" audit verify --config "$DEMO/sluis.toml" | sed 's/^/   /'

say "The story holds."
