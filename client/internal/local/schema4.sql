-- What the user has with others: friends, requests, friend groups, the blacklist, and the user's own profile, as the application was told of them. other
-- is a user id, or the number of a friend group. ver is the number in the feed of the change that made it so; body the wire form of im.Relation, with
-- the profile. Meta "feed" is up to where the feed has been applied.
CREATE TABLE relation (
  kind  INTEGER NOT NULL,
  other TEXT    NOT NULL,
  ver   INTEGER NOT NULL,
  body  BLOB    NOT NULL,
  PRIMARY KEY (kind, other)
) WITHOUT ROWID;

-- The whole while its pages arrive; it takes the place of relation when it is complete.
CREATE TABLE relation_whole (
  kind  INTEGER NOT NULL,
  other TEXT    NOT NULL,
  ver   INTEGER NOT NULL,
  body  BLOB    NOT NULL,
  PRIMARY KEY (kind, other)
) WITHOUT ROWID;
