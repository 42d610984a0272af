-- Entries of the log's two indexes are made for thousands of records at once. Until then a record is found by a walk of
-- the log's end: `audit_indexed` is the last record whose entries are made, and `patient` the one patient a record
-- touches. 0: none, or several, whose entries are made at once.
ALTER TABLE audit ADD COLUMN patient INTEGER NOT NULL DEFAULT 0;
INSERT INTO counter (name, value) SELECT 'audit_indexed', coalesce(max(sequence), 0) FROM audit;
