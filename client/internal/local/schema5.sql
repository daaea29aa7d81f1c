-- What messages and conversations show of users: the newest that this device was told. ver is the version of the user's profile.
CREATE TABLE person (
  user TEXT    NOT NULL PRIMARY KEY,
  ver  INTEGER NOT NULL,
  nick TEXT    NOT NULL,
  face TEXT    NOT NULL
) WITHOUT ROWID;
