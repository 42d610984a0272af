-- Words of texts, for `_text` and `_content`. Those of the narrative have weight A. Which words there are, and where, the
-- gateway says: no text search configuration of the server plays a part.
CREATE TABLE index_text (
    row     BIGINT NOT NULL,
    words   TSVECTOR NOT NULL,
    patient BIGINT NOT NULL
);
CREATE INDEX index_text_row ON index_text (row);
CREATE INDEX index_text_words ON index_text USING gin (words);
