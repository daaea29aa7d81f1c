-- The local database of one user on one device. docs/sync.md says what each number is for.

-- What the device knows of itself and of the store it talks to.
CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;

-- A conversation as this device has it. era counts its logs: a new epoch or another store starts a new one, and the messages
-- of older eras stay listed before it.
CREATE TABLE conv (
  id            INTEGER PRIMARY KEY,
  type          INTEGER NOT NULL,
  target        TEXT    NOT NULL,
  era           INTEGER NOT NULL,
  epoch         INTEGER NOT NULL,
  synced_to     INTEGER NOT NULL, -- every seq up to here has been applied (and announced, where it was new)
  rev           INTEGER NOT NULL, -- every change up to here has been applied
  hole_to       INTEGER NOT NULL, -- up to this seq the log was skipped, being too far behind
  others        INTEGER NOT NULL, -- others' countable index, and mine, at synced_to
  own           INTEGER NOT NULL,
  row           INTEGER NOT NULL, -- version of my row on the server
  read_seq      INTEGER NOT NULL,
  read_others   INTEGER NOT NULL,
  read_time     INTEGER NOT NULL,
  withdrawn     INTEGER NOT NULL, -- others' withdrawn countable messages above read_seq, at withdrawn_rev
  withdrawn_rev INTEGER NOT NULL,
  peer_seq      INTEGER NOT NULL, -- how far the peer has read, and when
  peer_time     INTEGER NOT NULL,
  cleared       INTEGER NOT NULL,
  recv_opt      INTEGER NOT NULL,
  pinned        INTEGER NOT NULL,
  time          INTEGER NOT NULL, -- of the newest message, milliseconds
  -- What the application was last told: hash of the conversation (0: not in its list), and the peer's read position.
  announced     INTEGER NOT NULL,
  receipt       INTEGER NOT NULL,
  unread        INTEGER NOT NULL,
  listed        INTEGER NOT NULL, -- made by the application: in the list although it has no message
  untold        INTEGER NOT NULL, -- it may differ from what the application was told
  UNIQUE (type, target)
);

-- A message. pos orders a conversation: the seq of a logged one; a local one stands after the seq that was applied when it was made.
CREATE TABLE message (
  id          INTEGER PRIMARY KEY,
  conv        INTEGER NOT NULL,
  era         INTEGER NOT NULL,
  pos         INTEGER NOT NULL,
  sub         INTEGER NOT NULL, -- 0 for a logged message, else rising among the local ones at this pos
  seq         INTEGER NOT NULL, -- 0 while it has none
  client_time INTEGER NOT NULL,
  random      INTEGER NOT NULL,
  sender      TEXT    NOT NULL,
  sender_tiny INTEGER NOT NULL,
  time        INTEGER NOT NULL, -- server time, milliseconds
  status      INTEGER NOT NULL,
  version     INTEGER NOT NULL,
  here        INTEGER NOT NULL, -- sent by this device: its log entry is not news
  revoker     TEXT    NOT NULL,
  reason      TEXT    NOT NULL,
  body        BLOB    NOT NULL
);
CREATE UNIQUE INDEX message_pos ON message (conv, era, pos, sub);
CREATE INDEX message_key ON message (client_time, random);
CREATE INDEX message_sending ON message (id) WHERE status = 1;

-- Events that were committed and of which the application may not have heard: they fire again after a crash (rule 17).
CREATE TABLE owed (
  id      INTEGER PRIMARY KEY,
  kind    INTEGER NOT NULL, -- 1 new messages (ids of rows), 2 recalls (locators), 3 updated messages (ids of rows)
  payload BLOB    NOT NULL
);
