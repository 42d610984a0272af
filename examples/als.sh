#!/usr/bin/env bash
# ALS care between three lines, with curl: a GeSp team's visits (CSV) and care plan (its EPD's JSON) and a home-ventilation centre's
# settings arrive, are read by the people who need them, and each value is traced to its source. Start the demo first
# (cargo run --release -- demo), then run this beside it:
#
#   examples/als.sh [DEMO_FOLDER]        default: demo
#
# May be run again on the same demo: what is the same is answered as before and stored once.
source "$(dirname "$0")/with.sh"

PATIENT_BSN=111222333 # of the published test range; a patient of GeSp-team Noord
OWN='https://sluis.care/fhir/CodeSystem/als-observation'

# course TOKEN CODE: date, value and position of each result of a code, latest first, with who says so.
course() {
  get "$1" "Observation?patient=$PATIENT&code=$2&_sort=-date&_count=50" | entries | while read -r ENTRY; do
    tell "  $(text effectiveDateTime <<< "$ENTRY" | cut -c1-10)  $(number value <<< "$ENTRY") $(text unit <<< "$ENTRY")$({ grep -o '"display":"\(Sitting\|Supine\)"' || :; } <<< "$ENTRY" | sed 's/.*:"\(.*\)"/ \1/' | tr 'A-Z' 'a-z')  from $(text source <<< "$ENTRY" | sed 's/.*#/URA /')"
  done
}

say "1. GeSp-team Noord posts its visits: a CSV line each, a column per measure"
FEED=$(token gesp-noord-epd --system)
VISITS=$(ingest "$FEED" text/csv < "$HERE/documents/als-visit.csv")
has "$VISITS" Observation/
tell "$(outcome "$VISITS")"
same "$VISITS" "$(ingest "$FEED" text/csv < "$HERE/documents/als-visit.csv")" "resending gave another answer"
tell "sent again: the same answer, nothing twice"

say "2. ... and its care plan: phases, team, tasks with their category, and what was agreed with the patient"
PLAN=$(ingest "$FEED" application/json < "$HERE/documents/als-plan.json")
for TYPE in EpisodeOfCare CareTeam CarePlan Procedure Consent; do has "$PLAN" "$TYPE/"; done
tell "$(outcome "$PLAN")"

say "3. The home-ventilation centre posts the settings of the ventilator and the blood gases"
SETTINGS=$(ingest "$(token ctb-epd --system)" application/json < "$HERE/documents/ctb-settings.json")
has "$SETTINGS" Observation/; has "$SETTINGS" Procedure/
tell "$(outcome "$SETTINGS")"

say "4. The rehabilitation physician of the team opens the patient"
GESP=$(token gesp-noord-epd)
PATIENT=$(patient "$GESP" "$PATIENT_BSN")
tell "ALSFRS-R, total:"
TOTALS=$(course "$GESP" "$OWN|alsfrs-r-total")
has "$TOTALS" "2026-06-09  34 score"; has "$TOTALS" "2025-12-09  40 score"
echo "$TOTALS"
tell "FVC:"
CAPACITY=$(course "$GESP" "http://loinc.org|19868-9")
has "$CAPACITY" "2026-06-09  3.72 L"; has "$CAPACITY" "2026-06-09  3.10 L"
echo "$CAPACITY"
NIV=$(get "$GESP" "Observation?patient=$PATIENT&code=$OWN|niv-settings")
has "$NIV" 'BA-0031'; has "$NIV" '"code":"ipap"'; has "$NIV" "$URA#90000401"
tell "the settings of the ventilator are there, from the centre that made them"
TASKS=$(get "$GESP" "CarePlan?patient=$PATIENT")
has "$TASKS" 'Controle ademhaling'; has "$TASKS" 'care-task-category'
tell "who does what: $({ grep -o 'Controle ademhaling\|Logopedie thuis\|Pijnbestrijding' || :; } <<< "$TASKS" | sort -u | paste -sd, | sed 's/,/, /g')"
DIRECTIVES=$(get "$GESP" "Consent?patient=$PATIENT&scope=treatment&status=active")
has "$DIRECTIVES" '"type":"deny"'; has "$DIRECTIVES" 'stoppen op verzoek'
tell "directives in force: $(number total <<< "$DIRECTIVES"), each with its decision; 'anders' with its text and no decision made of it"

say "5. The centre sees breathing, function and plan, and nothing psychosocial"
CTB=$(token ctb-epd)
has "$(course "$CTB" "http://loinc.org|19868-9")" "2026-06-09  3.72 L"
has "$(get "$CTB" "CarePlan?patient=$PATIENT")" 'Controle ademhaling'
hasnot "$(get "$CTB" "Observation?patient=$PATIENT&_count=1000")" '"psychosocial"'
tell "told by the next request, without anybody having sent it there"

say "6. Where does 3.72 L come from?"
FVC=$(get "$GESP" "Observation?patient=$PATIENT&code=http://loinc.org|19868-9&date=2026-06-09&value-quantity=3.72" | entries | text id)
TRACE=$(get "$GESP" "Observation/$FVC/\$trace")
has "$TRACE" 'fvc_zit_l'; has "$TRACE" 'als-visit'
tell "column fvc_zit_l of row 3 of the document as it came in, by mapping $({ grep -o 'als-visit|[0-9.]*' || :; } <<< "$TRACE" | sed -n 1p), says its trace"

say "7. The ALS centre pulls its cohort; the scores are in it, the patient is not to be known from it"
ACN=$(token acn-data)
GROUP=$(get "$ACN" Group | entries | text id)
export_cohort "$ACN" "$GROUP"
FOUND=0
while read -r TYPE COUNT URL; do
  FILE=$("${CURL[@]}" -H "authorization: Bearer $ACN" "$URL")
  for SECRET in $PATIENT_BSN Proefpersoon "$PATIENT"; do hasnot "$FILE" "$SECRET"; done
  [ "$TYPE" != Observation ] || FOUND=$({ grep -c '"als-1"' || :; } <<< "$FILE")
done < <(outputs output)
[ "$FOUND" -ge 3 ] || fail "the export lacks the ALSFRS-R items" "$FOUND"
tell "ALSFRS-R item 1 of $FOUND visits, without name, BSN or id"

say "The story holds."
