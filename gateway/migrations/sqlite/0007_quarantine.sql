-- What waits for mending has a table of its own, in order of arrival and by cause, so that it is listed and replayed page by
-- page. What waited on the shelf (3) moves into it.
CREATE TABLE quarantine (
    owner     INTEGER NOT NULL,
    sha256    TEXT NOT NULL,
    label     TEXT NOT NULL,
    ordinal   INTEGER NOT NULL,
    cause     TEXT NOT NULL,
    map       TEXT NOT NULL,
    first_try INTEGER NOT NULL,
    last_try  INTEGER NOT NULL,
    size      INTEGER NOT NULL,
    document  BLOB NOT NULL,
    discarded INTEGER NOT NULL,
    discard   TEXT NOT NULL,
    PRIMARY KEY (owner, sha256, label, ordinal)
) STRICT;
INSERT INTO quarantine
SELECT owner, sha256, label, ordinal, cause, map, min(first_try) OVER (PARTITION BY owner, sha256), last_try,
       coalesce((SELECT length(o.document) FROM shelf o WHERE o.shelf = 2 AND o.owner = e.owner AND o.key = e.sha256), 0),
       document, 0, ''
FROM (SELECT owner, document,
             json_extract(entry, '$.sha256') AS sha256,
             json_extract(entry, '$.label') AS label,
             json_extract(entry, '$.ordinal') AS ordinal,
             substr(json_extract(entry, '$.cause'), 1, 70) AS cause,
             json_extract(entry, '$.map') AS map,
             json_extract(entry, '$.first_try') AS first_try,
             json_extract(entry, '$.last_try') AS last_try
      FROM (SELECT owner, document, CAST(document AS TEXT) AS entry FROM shelf WHERE shelf = 3 AND key <> '')) e;
DELETE FROM shelf WHERE shelf = 3;
CREATE INDEX quarantine_arrival ON quarantine (owner, discarded, first_try, sha256);
CREATE INDEX quarantine_cause ON quarantine (owner, discarded, cause, first_try, sha256);
