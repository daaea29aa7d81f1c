-- The first schema. Numbers that are unsigned in Go (client time, hash) are stored as the signed number of the same bits.
-- Times are milliseconds since 1970 by the store's clock. There are no foreign keys: rows that refer to each other are written in
-- one transaction by code that knows both, and a check of each reference would cost the hot path a lookup a row.

-- +goose Up

-- The store itself: one row.
CREATE TABLE meta (
    one       BIGINT PRIMARY KEY CHECK (one = 1),
    -- Random, drawn when the store is made. With restores it names the store: a client that sees another pair starts its local logs anew.
    store_id  TEXT   NOT NULL,
    -- How often the store was restored from a copy; raised by the restore.
    restores  BIGINT NOT NULL,
    -- Next numbers of users and conversations. Kept here, not taken from the highest row, so that none is used twice after a deletion.
    next_uid  BIGINT NOT NULL,
    next_conv BIGINT NOT NULL,
    -- Every entry with id <= covered is contained in conv's and sender's running numbers; those above are added again at start.
    covered   BIGINT NOT NULL,
    -- Last commit time that is not to be seen from the entries above covered. The clock never starts below it.
    clock     BIGINT NOT NULL
);

-- Accounts.
CREATE TABLE users (
    uid        BIGINT PRIMARY KEY,
    name       TEXT   NOT NULL UNIQUE,
    -- Generation of the newest login of any device.
    generation BIGINT NOT NULL,
    -- Last number of the change feed, and the number up to which it was cut off (a reader below it needs a snapshot).
    feed       BIGINT NOT NULL,
    feed_floor BIGINT NOT NULL DEFAULT 0
);

-- Conversations: what they are, and the ends of their two lines. seq, time, changed, idx, own_a and own_b are written lazily (meta.covered).
CREATE TABLE conv (
    id         INTEGER PRIMARY KEY,
    -- 1 C2C, 2 group.
    kind       BIGINT NOT NULL,
    -- The two people of a C2C conversation, a <= b; 0 for a group.
    a          BIGINT NOT NULL,
    b          BIGINT NOT NULL,
    -- Group id. A group id that is made again is a new row: the newest one counts.
    grp        TEXT   NOT NULL,
    seq        BIGINT NOT NULL DEFAULT 0,
    rev        BIGINT NOT NULL DEFAULT 0,
    -- The rev up to which changes were cut off.
    rev_floor  BIGINT NOT NULL DEFAULT 0,
    time       BIGINT NOT NULL DEFAULT 0,
    changed    BIGINT NOT NULL DEFAULT 0,
    -- Running number of countable messages: of all, of a's, of b's.
    idx        BIGINT NOT NULL DEFAULT 0,
    own_a      BIGINT NOT NULL DEFAULT 0,
    own_b      BIGINT NOT NULL DEFAULT 0,
    policy     BIGINT NOT NULL,
    member_set BIGINT NOT NULL,
    dissolved  BIGINT NOT NULL
);
CREATE UNIQUE INDEX conv_pair ON conv (a, b) WHERE kind = 1;
CREATE INDEX conv_group ON conv (grp, id) WHERE kind = 2;

-- A user's own row in a conversation. The key starts with the user: his list is one range. row_no and changed tell his devices about changes.
CREATE TABLE member (
    uid         BIGINT NOT NULL,
    conv        BIGINT NOT NULL,
    row_no      BIGINT NOT NULL,
    changed     BIGINT NOT NULL,
    read_seq    BIGINT NOT NULL,
    read_others BIGINT NOT NULL,
    read_time   BIGINT NOT NULL,
    read_at     BIGINT NOT NULL,
    cleared_seq BIGINT NOT NULL,
    recv_opt    BIGINT NOT NULL,
    pinned      BIGINT NOT NULL,
    hidden      BIGINT NOT NULL,
    role        BIGINT NOT NULL,
    -- The membership is over; the row stays, because its periods may still be read.
    gone        BIGINT NOT NULL,
    PRIMARY KEY (uid, conv)
) WITHOUT ROWID;
-- The members of a group.
CREATE INDEX member_conv ON member (conv, uid);

-- Times of membership: from_seq < seq <= to_seq is visible. The open one ends at the greatest number.
CREATE TABLE period (
    uid      BIGINT NOT NULL,
    conv     BIGINT NOT NULL,
    from_seq BIGINT NOT NULL,
    to_seq   BIGINT NOT NULL,
    PRIMARY KEY (uid, conv, from_seq)
) WITHOUT ROWID;

-- Who has sent countable messages to a group: how many, and the seq of the last. Own row or not, so it is not in member. Written lazily.
CREATE TABLE sender (
    conv BIGINT NOT NULL,
    uid  BIGINT NOT NULL,
    own  BIGINT NOT NULL,
    last BIGINT NOT NULL,
    PRIMARY KEY (conv, uid)
) WITHOUT ROWID;

-- The logs. A rowid table, so that a row is appended at the end whatever its conversation; the two indexes are all that a send writes besides.
CREATE TABLE entry (
    -- Number of the entry in the store, never reused; the writer draws it (AUTOINCREMENT would write a second table with every statement).
    id          INTEGER PRIMARY KEY,
    conv        BIGINT NOT NULL,
    seq         BIGINT NOT NULL,
    client_time BIGINT NOT NULL,
    random      BIGINT NOT NULL,
    sender      BIGINT NOT NULL,
    time        BIGINT NOT NULL,
    -- Running numbers of countable messages up to and including this one: of all, and of the sender's.
    idx         BIGINT NOT NULL,
    own         BIGINT NOT NULL,
    -- Groups: seq of the sender's countable message before this one, 0 if there is none. It finds "how many of mine up to seq" without an index.
    prev        BIGINT NOT NULL,
    -- 1: countable. 2: addressed to some members only (table addressee).
    flags       BIGINT NOT NULL,
    -- Hash of the body as the client sent it: the same key with another body is an error.
    hash        BIGINT NOT NULL,
    body        BLOB   NOT NULL,
    status      BIGINT NOT NULL DEFAULT 0,
    version     BIGINT NOT NULL DEFAULT 0,
    revoker     BIGINT NOT NULL DEFAULT 0,
    reason      TEXT   NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX entry_seq ON entry (conv, seq);
-- The dedupe key. Time stands first so that entries are appended to it; in any other order each send would touch a page of its own.
CREATE UNIQUE INDEX entry_key ON entry (client_time, random, conv, sender);

-- Countable messages that were withdrawn: taken off the unread numbers of those who have not read up to them. Sparse, each once.
CREATE TABLE withdrawn (
    conv   BIGINT NOT NULL,
    seq    BIGINT NOT NULL,
    sender BIGINT NOT NULL,
    PRIMARY KEY (conv, seq)
) WITHOUT ROWID;

-- Messages that a user has deleted for himself.
CREATE TABLE deleted (
    uid  BIGINT NOT NULL,
    conv BIGINT NOT NULL,
    seq  BIGINT NOT NULL,
    PRIMARY KEY (uid, conv, seq)
) WITHOUT ROWID;

-- Whom an entry with flag 2 is addressed to.
CREATE TABLE addressee (
    conv BIGINT NOT NULL,
    seq  BIGINT NOT NULL,
    uid  BIGINT NOT NULL,
    PRIMARY KEY (conv, seq, uid)
) WITHOUT ROWID;

-- The rev line: changes of messages, information and membership.
CREATE TABLE change (
    conv     BIGINT NOT NULL,
    rev      BIGINT NOT NULL,
    kind     BIGINT NOT NULL,
    seq      BIGINT NOT NULL,
    time     BIGINT NOT NULL,
    operator BIGINT NOT NULL,
    reason   TEXT   NOT NULL,
    PRIMARY KEY (conv, rev)
) WITHOUT ROWID;

-- The change feeds.
CREATE TABLE feed (
    uid  BIGINT NOT NULL,
    seq  BIGINT NOT NULL,
    kind BIGINT NOT NULL,
    time BIGINT NOT NULL,
    body BLOB   NOT NULL,
    PRIMARY KEY (uid, seq)
) WITHOUT ROWID;

-- Devices. owed: another login ended this session and its application has not been told.
CREATE TABLE session (
    uid        BIGINT NOT NULL,
    device     TEXT   NOT NULL,
    class      BIGINT NOT NULL,
    platform   BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    logged_in  BIGINT NOT NULL,
    owed       BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    PRIMARY KEY (uid, device)
) WITHOUT ROWID;

-- How far a reader of the store has come: after-hooks in the entries (entry.id), a job over many feeds in its users. One row a reader,
-- instead of an outbox row a message.
CREATE TABLE progress (
    name TEXT   PRIMARY KEY,
    pos  BIGINT NOT NULL,
    body BLOB
);
