-- A history of one type walks its own superseded versions, not those of every type: the type stands beside them.
ALTER TABLE version ADD COLUMN kind INTEGER NOT NULL DEFAULT 0;
UPDATE version v SET kind = r.kind FROM resource r WHERE r.key = v.key;
CREATE INDEX version_kind ON version (kind, updated, key, version);
