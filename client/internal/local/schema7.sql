-- Members of groups, as far as messages, tips and lists have brought them. epoch is the group that a row is about, ver the version of the name card; 0: of
-- one that came without.
CREATE TABLE member (
  conv  INTEGER NOT NULL,
  user  TEXT    NOT NULL,
  epoch INTEGER NOT NULL,
  ver   INTEGER NOT NULL,
  card  TEXT    NOT NULL,
  PRIMARY KEY (conv, user)
) WITHOUT ROWID;
