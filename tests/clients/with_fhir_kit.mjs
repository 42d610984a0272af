// What a vendor's JavaScript does with the gateway, on fhir-kit-client, which knows nothing of Sluis.
//
// Needs a running demo: SLUIS_BASE, NODE_EXTRA_CA_CERTS (its authority) and, as bearer tokens of the demo's clients,
// SLUIS_GESP (a coordinator of the GeSp team), SLUIS_GESP_SYSTEM (the team's system itself, which may delete what
// it sent) and SLUIS_ELDERS (a GP who does not treat the patient).
// Every step is an assertion; the first that does not hold ends the run.

import assert from 'node:assert/strict';
import { Client } from 'fhir-kit-client';

const BSN = 'http://fhir.nl/fhir/NamingSystem/bsn';
const PATIENT_BSN = '999911120'; // of the published test range
const client = (token) => new Client({ baseUrl: process.env.SLUIS_BASE, bearerToken: token });
const gesp = client(process.env.SLUIS_GESP);
const system = client(process.env.SLUIS_GESP_SYSTEM);
const told = (what) => process.stdout.write(`   ${what}\n`);
const refused = (call, status) => assert.rejects(call, (error) => error.response.status === status);

const statement = await client('').capabilityStatement();
assert.equal(statement.fhirVersion, '4.0.1');
const smart = await gesp.smartAuthMetadata();
assert.match(String(smart.tokenUrl), /\/oauth\/token$/);
told('reads what the gateway is and where tokens are had');

const found = await gesp.search({ resourceType: 'Patient', searchParams: { identifier: `${BSN}|${PATIENT_BSN}` } });
const patient = found.entry[0].resource;
told('finds the patient by BSN');

const weight = (kilograms, date) => ({
  resourceType: 'Observation',
  status: 'final',
  subject: { reference: `Patient/${patient.id}` },
  code: { coding: [{ system: 'http://loinc.org', code: '29463-7' }] },
  effectiveDateTime: date,
  valueQuantity: { value: kilograms, unit: 'kg', system: 'http://unitsofmeasure.org', code: 'kg' },
});
const made = await gesp.create({ resourceType: 'Observation', body: weight(71.5, '1986-05-01') });
const { response } = Client.httpFor(made);
assert.equal(response.status, 201);
assert.ok(response.headers.get('location').includes(`Observation/${made.id}/_history/1`));
told('creates an Observation and is told where it is');

const patched = await gesp.patch({
  resourceType: 'Observation',
  id: made.id,
  jsonPatch: [{ op: 'replace', path: '/valueQuantity/value', value: 71 }],
});
assert.equal(patched.valueQuantity.value, 71);
const replaced = await gesp.update({
  resourceType: 'Observation', id: made.id, body: { ...patched, status: 'amended' },
  options: { headers: { 'If-Match': 'W/"2"' } },
});
assert.equal(replaced.meta.versionId, '3');
await refused(
  gesp.update({ resourceType: 'Observation', id: made.id, body: patched, options: { headers: { 'If-Match': 'W/"2"' } } }),
  412,
);
const old = await gesp.vread({ resourceType: 'Observation', id: made.id, version: '1' });
assert.equal(old.valueQuantity.value, 71.5);
const history = await gesp.history({ resourceType: 'Observation', id: made.id });
assert.equal(history.total, 3);
told('patches and updates it; a stale If-Match is refused; every version is there');

const urn = (n) => `urn:uuid:6a0c8e0e-0000-4000-8000-00000000000${n}`;
const entry = (n, resource) => ({ fullUrl: urn(n), resource, request: { method: 'POST', url: 'Observation' } });
const transaction = await gesp.transaction({ body: {
  resourceType: 'Bundle',
  type: 'transaction',
  entry: [
    entry(1, weight(70, '1986-05-02')),
    entry(2, { ...weight(69, '1986-05-03'), derivedFrom: [{ reference: urn(1) }] }),
  ],
} });
const ids = transaction.entry.map((one) => /Observation\/([^/]+)/.exec(one.response.location)[1]);
const second = await gesp.read({ resourceType: 'Observation', id: ids[1] });
assert.equal(second.derivedFrom[0].reference, `Observation/${ids[0]}`);
const batch = await gesp.batch({ body: {
  resourceType: 'Bundle',
  type: 'batch',
  entry: [{ request: { method: 'GET', url: `Observation/${ids[0]}` } }, { request: { method: 'GET', url: 'Observation/none' } }],
} });
assert.deepEqual(batch.entry.map((one) => one.response.status.slice(0, 3)), ['200', '404']);
told('sends a transaction whose entries refer to each other, and a batch');

let page = await gesp.search({
  resourceType: 'Observation',
  searchParams: { patient: patient.id, date: '1986-05', _sort: 'date', _count: 1 },
  options: { postSearch: true },
});
const dates = [];
for (; page; page = await gesp.nextPage({ bundle: page })) {
  dates.push(...page.entry.filter((one) => ids.concat(made.id).includes(one.resource.id)).map((one) => one.resource.effectiveDateTime));
}
assert.deepEqual(dates, ['1986-05-01', '1986-05-02', '1986-05-03']);
told('searches by POST and walks the pages');

const compartment = { resourceType: 'Patient', id: patient.id };
const inside = await gesp.search({ resourceType: 'Observation', compartment, searchParams: { _id: made.id } });
assert.deepEqual(inside.entry.map((one) => one.resource.id), [made.id]);
const everything = await gesp.operation({
  name: 'everything', resourceType: 'Patient', id: patient.id, method: 'GET', input: { _type: 'Observation', _count: 200 },
});
assert.ok(everything.entry.some((one) => one.resource.id === made.id));
const last = await gesp.operation({
  name: 'lastn', resourceType: 'Observation', method: 'GET', input: { patient: patient.id, code: 'http://loinc.org|29463-7' },
});
assert.equal(last.entry.filter((one) => one.search.mode === 'match').length, 1);
told('searches her compartment, and asks for everything of her and for the last of a code');

await refused(gesp.create({ resourceType: 'Observation', body: { resourceType: 'Observation', status: 'final' } }), 422);
await refused(client(process.env.SLUIS_ELDERS).read({ resourceType: 'Observation', id: made.id }), 404);
await refused(gesp.delete({ resourceType: 'Observation', id: made.id }), 403);
for (const id of [made.id, ...ids]) await system.delete({ resourceType: 'Observation', id });
await refused(gesp.read({ resourceType: 'Observation', id: made.id }), 410);
told('is refused what is broken, what is hidden and what its role may not do; its system deletes what it sent');
