-- Tables of the embedded store. Masks are u64 bit patterns held in signed integers; moments are microseconds UTC;
-- party, patient and system keys start at 1, and 0 stands for "none".

-- Names whose numbers must outlive a change of the definitions or of the program.
CREATE TABLE kind (
    key  INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- A facet is one search parameter of one type (or, with `#n`, a component of a composite one).
CREATE TABLE facet (
    key       INTEGER PRIMARY KEY,
    kind      INTEGER NOT NULL,
    parameter TEXT NOT NULL,
    UNIQUE (kind, parameter)
) STRICT;

-- Interned code systems, naming systems and units' systems.
CREATE TABLE symbol (
    key  INTEGER PRIMARY KEY,
    text TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE party (
    key  INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- Single numbers: `commit` is the sequence of applied works, `probe` is written by the readiness check.
CREATE TABLE counter (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO counter (name, value) VALUES ('commit', 0), ('probe', 0);

-- Current versions, without their bodies: what a filter and a sort look at stays dense.
CREATE TABLE resource (
    key             INTEGER PRIMARY KEY,
    kind            INTEGER NOT NULL,
    id              TEXT NOT NULL,
    version         INTEGER NOT NULL,
    updated         INTEGER NOT NULL,
    deleted         INTEGER NOT NULL,
    method          INTEGER NOT NULL,
    patient         INTEGER NOT NULL,
    category        INTEGER NOT NULL,
    labels          INTEGER NOT NULL,
    confidentiality INTEGER NOT NULL,
    day             INTEGER NOT NULL,
    author          INTEGER NOT NULL,
    created         INTEGER NOT NULL,
    changed         INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX resource_id ON resource (kind, id);
CREATE INDEX resource_patient ON resource (patient, kind, key) WHERE deleted = 0;
CREATE INDEX resource_kind ON resource (kind, key) WHERE deleted = 0;
CREATE INDEX resource_updated ON resource (kind, updated, key) WHERE deleted = 0;

CREATE TABLE body (
    key  INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;

-- Superseded versions. The current one is in `resource` and `body` alone, so a resource that never changes costs
-- nothing here.
CREATE TABLE version (
    key             INTEGER NOT NULL,
    version         INTEGER NOT NULL,
    updated         INTEGER NOT NULL,
    deleted         INTEGER NOT NULL,
    method          INTEGER NOT NULL,
    patient         INTEGER NOT NULL,
    category        INTEGER NOT NULL,
    labels          INTEGER NOT NULL,
    confidentiality INTEGER NOT NULL,
    day             INTEGER NOT NULL,
    author          INTEGER NOT NULL,
    body            BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX version_of ON version (key, version);

-- Search index. Every table is clustered by row, so that the entries of a new resource are appended, a probe for one
-- row is one seek and a deletion is one range. The second index of each finds rows by value; it leaves out
-- components of composites (`part` > 0), which are only ever probed.
CREATE TABLE index_token (
    row     INTEGER NOT NULL,
    facet   INTEGER NOT NULL,
    part    INTEGER NOT NULL,
    code    TEXT NOT NULL,
    system  INTEGER NOT NULL,
    patient INTEGER NOT NULL,
    PRIMARY KEY (row, facet, part, code, system)
) STRICT, WITHOUT ROWID;
CREATE INDEX index_token_value ON index_token (facet, code, patient, row, system) WHERE part = 0;
CREATE INDEX index_token_system ON index_token (facet, system, patient, row) WHERE part = 0 AND system > 0;

CREATE TABLE index_string (
    row   INTEGER NOT NULL,
    facet INTEGER NOT NULL,
    part  INTEGER NOT NULL,
    value TEXT NOT NULL,
    exact TEXT NOT NULL,
    PRIMARY KEY (row, facet, part, value, exact)
) STRICT, WITHOUT ROWID;
CREATE INDEX index_string_value ON index_string (facet, value, row) WHERE part = 0;

-- [low, high) in microseconds. `edge`: 1 for the row's earliest entry of the facet, 2 for its latest, 3 for both:
-- the one a sort goes by when a row has several.
CREATE TABLE index_date (
    row     INTEGER NOT NULL,
    facet   INTEGER NOT NULL,
    part    INTEGER NOT NULL,
    low     INTEGER NOT NULL,
    high    INTEGER NOT NULL,
    edge    INTEGER NOT NULL,
    patient INTEGER NOT NULL,
    PRIMARY KEY (row, facet, part, low, high)
) STRICT, WITHOUT ROWID;
CREATE INDEX index_date_value ON index_date (facet, low, row, high, edge) WHERE part = 0;
CREATE INDEX index_date_patient ON index_date (patient, facet, low, row, high, edge) WHERE part = 0 AND patient > 0;

-- A number that stands for itself has low = value = high; one with a comparator is open on its side.
CREATE TABLE index_number (
    row   INTEGER NOT NULL,
    facet INTEGER NOT NULL,
    part  INTEGER NOT NULL,
    value REAL NOT NULL,
    low   REAL NOT NULL,
    high  REAL NOT NULL,
    PRIMARY KEY (row, facet, part, value, low, high)
) STRICT, WITHOUT ROWID;
CREATE INDEX index_number_value ON index_number (facet, low, high, row) WHERE part = 0;

CREATE TABLE index_quantity (
    row    INTEGER NOT NULL,
    facet  INTEGER NOT NULL,
    part   INTEGER NOT NULL,
    value  REAL NOT NULL,
    low    REAL NOT NULL,
    high   REAL NOT NULL,
    system INTEGER NOT NULL,
    code   TEXT NOT NULL,
    unit   TEXT NOT NULL,
    PRIMARY KEY (row, facet, part, value, low, high, system, code, unit)
) STRICT, WITHOUT ROWID;
CREATE INDEX index_quantity_value ON index_quantity (facet, low, high, row) WHERE part = 0;

-- `kind` 0: `id` is an absolute address outside this gateway.
CREATE TABLE index_reference (
    row   INTEGER NOT NULL,
    facet INTEGER NOT NULL,
    part  INTEGER NOT NULL,
    id    TEXT NOT NULL,
    kind  INTEGER NOT NULL,
    PRIMARY KEY (row, facet, part, id, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX index_reference_value ON index_reference (facet, id, kind, row) WHERE part = 0;

CREATE TABLE index_uri (
    row   INTEGER NOT NULL,
    facet INTEGER NOT NULL,
    part  INTEGER NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (row, facet, part, value)
) STRICT, WITHOUT ROWID;
CREATE INDEX index_uri_value ON index_uri (facet, value, row) WHERE part = 0;

-- Compiled permissions, judged in the snapshot of the rows they open. `author` 0: of every author.
CREATE TABLE grant_arm (
    patient             INTEGER NOT NULL,
    purpose             INTEGER NOT NULL,
    recipient           INTEGER NOT NULL,
    arm                 INTEGER NOT NULL,
    categories          INTEGER NOT NULL,
    deny_labels         INTEGER NOT NULL,
    confidentiality_max INTEGER NOT NULL,
    day_from            INTEGER NOT NULL,
    day_to              INTEGER NOT NULL,
    author              INTEGER NOT NULL,
    valid_from          INTEGER NOT NULL,
    valid_to            INTEGER NOT NULL,
    consent             TEXT NOT NULL,
    PRIMARY KEY (patient, purpose, recipient, arm)
) STRICT, WITHOUT ROWID;

CREATE TABLE care_relation (
    patient    INTEGER NOT NULL,
    party      INTEGER NOT NULL,
    ordinal    INTEGER NOT NULL,
    valid_from INTEGER NOT NULL,
    valid_to   INTEGER NOT NULL,
    source     TEXT NOT NULL,
    PRIMARY KEY (patient, party, ordinal)
) STRICT, WITHOUT ROWID;

-- The record of every look, chained by hash.
CREATE TABLE audit (
    sequence     INTEGER PRIMARY KEY,
    at           INTEGER NOT NULL,
    organisation INTEGER NOT NULL,
    body         BLOB NOT NULL,
    hash         BLOB NOT NULL
) STRICT;
CREATE TABLE audit_patient (
    patient  INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (patient, sequence)
) STRICT, WITHOUT ROWID;
CREATE TABLE audit_party (
    party    INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (party, sequence)
) STRICT, WITHOUT ROWID;
CREATE TABLE checkpoint (
    sequence INTEGER NOT NULL,
    note     TEXT NOT NULL,
    PRIMARY KEY (sequence, note)
) STRICT, WITHOUT ROWID;

CREATE TABLE jti (
    issuer  TEXT NOT NULL,
    jti     TEXT NOT NULL,
    expires INTEGER NOT NULL,
    PRIMARY KEY (issuer, jti)
) STRICT, WITHOUT ROWID;
CREATE INDEX jti_expires ON jti (expires);

CREATE TABLE shelf (
    row      INTEGER PRIMARY KEY,
    shelf    INTEGER NOT NULL,
    owner    INTEGER NOT NULL,
    key      TEXT NOT NULL,
    document BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX shelf_place ON shelf (shelf, owner, key);
