-- Words of texts, for `_text` and `_content`; the row's key is the rowid. It is handed words with a space between, which the
-- `ascii` tokenizer parts there and nowhere else. What it was made from is in `body`, so it keeps no second copy.
CREATE VIRTUAL TABLE index_text USING fts5 (
    narrative, rest, content = '', contentless_delete = 1, tokenize = 'ascii'
);
