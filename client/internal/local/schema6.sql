-- What the head of a group says of the group and of the user's membership: wire form of im.Head, with the mentions that the user has not read; empty for
-- other conversations. And the version of the group's attributes that the application was told.
ALTER TABLE conv ADD COLUMN membership BLOB NOT NULL DEFAULT x'';
ALTER TABLE conv ADD COLUMN attr_told INTEGER NOT NULL DEFAULT 0;
-- The information about a group, as the server last gave it: wire form of im.GroupDetailInfo. epoch is the group that it is about, seq its number.
CREATE TABLE group_info (
  conv  INTEGER PRIMARY KEY,
  epoch INTEGER NOT NULL,
  seq   INTEGER NOT NULL,
  body  BLOB    NOT NULL
);
-- Heads of groups were not asked for: the next sync asks for all heads.
DELETE FROM meta WHERE key = 'cursor';
