-- A history of one type walks its own superseded versions, not those of every type: the type stands beside them.
ALTER TABLE version ADD COLUMN kind INTEGER NOT NULL DEFAULT 0;
UPDATE version SET kind = (SELECT r.kind FROM resource r WHERE r.key = version.key);
CREATE INDEX version_kind ON version (kind, updated, key, version);
