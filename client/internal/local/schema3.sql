-- What is not to be a conversation's last message stands aside.
ALTER TABLE message ADD COLUMN aside INTEGER NOT NULL DEFAULT 0;
-- The index of words is made anew: its letters are folded in another way.
DELETE FROM meta WHERE key = 'indexed';
DROP TABLE search;
CREATE VIRTUAL TABLE search USING fts4 (words, content='', matchinfo=fts3, tokenize=simple);
