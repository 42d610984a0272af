-- Records of looks wait in a journal beside the database (store/sqlite/journal.rs). `journal`: number of the last one that
-- is in the log. `journal_id`: a number of this database's own, so that another's journal is not taken for its.
INSERT INTO counter (name, value) VALUES ('journal', 0), ('journal_id', abs(random() / 2));
