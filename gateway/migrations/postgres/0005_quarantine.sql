-- What waits for mending has a table of its own, in order of arrival and by cause, so that it is listed and replayed page by
-- page. What waited on the shelf (3) moves into it.
CREATE TABLE quarantine (
    owner     BIGINT NOT NULL,
    sha256    TEXT COLLATE "C" NOT NULL,
    label     TEXT COLLATE "C" NOT NULL,
    ordinal   BIGINT NOT NULL,
    cause     TEXT COLLATE "C" NOT NULL,
    map       TEXT COLLATE "C" NOT NULL,
    first_try BIGINT NOT NULL,
    last_try  BIGINT NOT NULL,
    size      BIGINT NOT NULL,
    document  BYTEA NOT NULL,
    discarded BIGINT NOT NULL,
    discard   TEXT NOT NULL,
    PRIMARY KEY (owner, sha256, label, ordinal)
);
INSERT INTO quarantine
SELECT owner, sha256, label, ordinal, cause, map, min(first_try) OVER (PARTITION BY owner, sha256), last_try,
       coalesce((SELECT length(o.document) FROM shelf o WHERE o.shelf = 2 AND o.owner = e.owner AND o.key = e.sha256), 0),
       document, 0, ''
FROM (SELECT owner, document,
             entry ->> 'sha256' AS sha256,
             entry ->> 'label' AS label,
             CAST(entry ->> 'ordinal' AS BIGINT) AS ordinal,
             substr(entry ->> 'cause', 1, 70) AS cause,
             entry ->> 'map' AS map,
             CAST(entry ->> 'first_try' AS BIGINT) AS first_try,
             CAST(entry ->> 'last_try' AS BIGINT) AS last_try
      FROM (SELECT owner, document, convert_from(document, 'UTF8')::json AS entry
            FROM shelf WHERE shelf = 3 AND key <> '') s) e;
DELETE FROM shelf WHERE shelf = 3;
CREATE INDEX quarantine_arrival ON quarantine (owner, discarded, first_try, sha256);
CREATE INDEX quarantine_cause ON quarantine (owner, discarded, cause, first_try, sha256);
