-- Walks of a history, newest first: of everything, of what is deleted of one type, of superseded versions. The live
-- resources of one type are walked by resource_updated.
CREATE INDEX resource_moment ON resource (updated, key);
CREATE INDEX resource_deleted ON resource (kind, updated, key) WHERE deleted = 1;
CREATE INDEX version_moment ON version (updated, key, version);
