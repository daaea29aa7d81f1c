-- Drafts and hidden conversations, and the index of words for the search. The index is written when a search needs it (meta "indexed" is the last
-- row in it); it holds no text, so a row that is gone or changed may still be found in it, and what is found is always read and checked again.
ALTER TABLE conv ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0; -- off the list until its next message
ALTER TABLE conv ADD COLUMN draft BLOB NOT NULL DEFAULT x'';   -- wire form of im.Draft, empty without one
CREATE VIRTUAL TABLE search USING fts4 (words, content='', matchinfo=fts3, tokenize=simple);
