-- The index of words is made anew: its letters are folded in another way.
DELETE FROM meta WHERE key = 'indexed';
DROP TABLE search;
CREATE VIRTUAL TABLE search USING fts4 (words, content='', matchinfo=fts3, tokenize=simple);
