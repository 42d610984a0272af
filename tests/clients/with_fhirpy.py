"""What a vendor's Python does with the gateway, on fhirpy, which knows nothing of Sluis.

Needs a running demo: SLUIS_BASE, SLUIS_AUTHORITY (PEM file) and, as bearer tokens of the demo's clients, SLUIS_GESP (a
coordinator of the GeSp team), SLUIS_GESP_SYSTEM (the team's system itself, which may delete what it sent), SLUIS_ELDERS (a
GP who does not treat the patient) and SLUIS_PATIENT (her portal).
Every step is an assertion; the first that does not hold ends the run.
"""

import os
import uuid

from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import ForbiddenError, OperationOutcome, ResourceNotFound

BSN = "http://fhir.nl/fhir/NamingSystem/bsn"
PATIENT_BSN = "999911120"  # of the published test range
LOINC = "http://loinc.org"


def client(name, **headers):
    return SyncFHIRClient(
        os.environ["SLUIS_BASE"],
        authorization=f"Bearer {os.environ[f'SLUIS_{name}']}",
        extra_headers=headers,
        requests_config={"verify": os.environ["SLUIS_AUTHORITY"], "timeout": 30},
    )


def capacity(fhir, patient, litres, date):
    """A forced vital capacity of this patient."""
    return fhir.resource(
        "Observation",
        status="final",
        subject=patient.to_reference(),
        code={"coding": [{"system": LOINC, "code": "19868-9"}]},
        effectiveDateTime=date,
        valueQuantity={"value": litres, "unit": "L", "system": "http://unitsofmeasure.org", "code": "L"},
    )


def refused(exception, call):
    try:
        call()
    except exception as error:
        return error
    raise AssertionError(f"not refused as {exception.__name__}")


def hold(what, truth):
    assert truth, what
    print(f"   {what}")


gesp = client("GESP")
patient = gesp.resources("Patient").search(identifier=f"{BSN}|{PATIENT_BSN}").get()
hold("finds the patient by BSN", patient.id)

made = capacity(gesp, patient, 2.75, "1987-03-01").create()
hold("creates an Observation and is told its id", made.id and made.meta.versionId == "1")
hold("reads it again", gesp.get("Observation", made.id)["valueQuantity"]["value"] == 2.75)
made.refresh()
hold("asks again with If-None-Match and is told that nothing changed", made.meta.versionId == "1")

made["valueQuantity"]["value"] = 2.5
made.update()
hold("updates it", made.meta.versionId == "2" and made.valueQuantity.value == 2.5)

key = f"{uuid.uuid4()}"
once = client("GESP", **{"If-None-Exist": f"identifier=urn:fhirpy|{key}"})
draft, resent = (capacity(once, patient, 2.4, "1987-03-02") for _ in range(2))
draft["identifier"] = resent["identifier"] = [{"system": "urn:fhirpy", "value": key}]
same = gesp.resources("Observation").search(identifier=f"urn:fhirpy|{key}")
refused(OperationOutcome, lambda: same.get_or_create(draft))  # criteria in the URL of a create: not R4's
draft.create()
resent.create()
hold("a conditional create, sent twice, makes one", draft.id == resent.id and len(same.fetch()) == 1)
draft["valueQuantity"]["value"] = 2.3
changed, created = same.update(draft)
hold("a conditional update changes that one", not created and changed.id == draft.id)

for day in range(3, 8):
    capacity(gesp, patient, 2.2, f"1987-03-{day:02}").create()
of_month = gesp.resources("Observation").search(patient=patient.id, date="1987-03").sort("-date").limit(2)
dates = [found.effectiveDateTime for found in of_month.fetch_all()]
hold("walks every page in order", len(dates) >= 7 and dates == sorted(dates, reverse=True))
lenient = client("GESP", Prefer="handling=lenient")  # count() sends _totalMethod, which is no parameter of R4
total = lenient.resources("Observation").search(patient=patient.id, date="1987-03").count()
hold("counts without reading", total == len(dates))
bundle = gesp.resources("Observation").search(_id=made.id).include("Observation", "subject").fetch_raw()
kinds = sorted(entry.resource["resourceType"] for entry in bundle.entry)
hold("includes the subject", kinds == ["Observation", "Patient"])
having = gesp.resources("Patient").has("Observation", "patient", _id=made.id).fetch()
hold("finds a patient by what others say of her (_has)", [one.id for one in having] == [patient.id])

error = refused(OperationOutcome, lambda: gesp.resources("Observation").search(datum="1987").fetch())
hold("a parameter misspelt is refused, and the near one named", "date" in str(error))
broken = gesp.resource("Observation", status="final", subject=patient.to_reference())
hold("asks whether it is valid ($validate)", made.is_valid() and not broken.is_valid())
error = refused(OperationOutcome, broken.save)
hold("an Observation without a code is refused with the place", "code" in str(error))

refused(ForbiddenError, made.delete)
system = client("GESP_SYSTEM")
for entry in system.resources("Observation").search(patient=patient.id, date="1987-03").fetch_all():
    entry.delete()
refused(ResourceNotFound, lambda: gesp.get("Observation", made.id))
hold("a coordinator may not delete it; the system that sent it does, and it is gone", True)

refused(ResourceNotFound, lambda: client("ELDERS").get("Patient", patient.id))
hold("a practice that does not treat her is told nothing", True)
own = client("PATIENT").resources("Patient").fetch()
hold("the patient finds herself alone", [one.id for one in own] == [patient.id])
