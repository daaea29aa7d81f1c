-- The first schema: that of SQLite (internal/store/migrations/sqlite) with what differs on a database that several servers share.
-- Numbers that are unsigned in Go (client time, hash) are stored as the signed number of the same bits. Times are milliseconds since 1970
-- by the store's clock. There are no foreign keys: rows that refer to each other are written in one transaction by code that knows both.

-- +goose Up

-- The store itself: one row.
CREATE TABLE meta (
    one      SMALLINT PRIMARY KEY CHECK (one = 1),
    -- Random, drawn when the store is made. With restores it names the store: a client that sees another pair starts its local logs anew.
    store_id TEXT     NOT NULL,
    -- How often the store was restored from a copy.
    restores BIGINT   NOT NULL,
    -- Cluster and database that the store was last opened in. Others mean that this is a copy, and restores is raised.
    home     TEXT     NOT NULL,
    -- The highest time that any server has given out, as of its last note, which each makes every second.
    clock    BIGINT   NOT NULL
) WITH (fillfactor = 50);

-- Numbers of users and conversations, never used twice. The first leaves room below for numbers that are not accounts.
CREATE SEQUENCE user_uid AS BIGINT START 144115188075855873;
CREATE SEQUENCE conv_id AS BIGINT;

-- Accounts.
CREATE TABLE users (
    uid        BIGINT PRIMARY KEY,
    name       TEXT COLLATE "C" NOT NULL UNIQUE,
    -- Generation of the newest login of any device.
    generation BIGINT NOT NULL DEFAULT 0,
    -- Last number of the change feed, and the number up to which it was cut off (a reader below it needs a snapshot).
    feed       BIGINT NOT NULL DEFAULT 0,
    feed_floor BIGINT NOT NULL DEFAULT 0,
    -- Tickets that were signed before this time, in seconds since 1970, do not let the account log in.
    valid_from BIGINT NOT NULL DEFAULT 0
) WITH (fillfactor = 80);

-- Conversations: what they are, and the ends of their two lines. Each batch of messages writes the rows of its conversations, so a page
-- keeps room for the next version of a row, which then needs no new index entries. Whoever holds the lock of a row may number.
CREATE TABLE conv (
    id         BIGINT   PRIMARY KEY,
    -- 1 C2C, 2 group.
    kind       SMALLINT NOT NULL,
    -- The two people of a C2C conversation, a <= b; 0 for a group.
    a          BIGINT   NOT NULL,
    b          BIGINT   NOT NULL,
    -- Group id. A group id that is made again is a new row: the newest one counts.
    grp        TEXT COLLATE "C" NOT NULL,
    seq        BIGINT   NOT NULL DEFAULT 0,
    rev        BIGINT   NOT NULL DEFAULT 0,
    -- The rev up to which changes were cut off.
    rev_floor  BIGINT   NOT NULL DEFAULT 0,
    time       BIGINT   NOT NULL DEFAULT 0,
    changed    BIGINT   NOT NULL DEFAULT 0,
    -- Running number of countable messages: of all, of a's, of b's.
    idx        BIGINT   NOT NULL DEFAULT 0,
    own_a      BIGINT   NOT NULL DEFAULT 0,
    own_b      BIGINT   NOT NULL DEFAULT 0,
    policy     BIGINT   NOT NULL,
    member_set BIGINT   NOT NULL,
    dissolved  SMALLINT NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
CREATE UNIQUE INDEX conv_pair ON conv (a, b) WHERE kind = 1;
CREATE INDEX conv_group ON conv (grp, id) WHERE kind = 2;

-- A user's own row in a conversation. The key starts with the user: his list is one range. row_no and changed tell his devices about changes.
CREATE TABLE member (
    uid         BIGINT   NOT NULL,
    conv        BIGINT   NOT NULL,
    row_no      BIGINT   NOT NULL,
    changed     BIGINT   NOT NULL,
    read_seq    BIGINT   NOT NULL,
    read_others BIGINT   NOT NULL,
    read_time   BIGINT   NOT NULL,
    read_at     BIGINT   NOT NULL,
    cleared_seq BIGINT   NOT NULL,
    recv_opt    INTEGER  NOT NULL,
    role        INTEGER  NOT NULL,
    pinned      SMALLINT NOT NULL,
    hidden      SMALLINT NOT NULL,
    -- The membership is over; the row stays, because its periods may still be read.
    gone        SMALLINT NOT NULL,
    PRIMARY KEY (uid, conv)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
-- The members of a group.
CREATE INDEX member_conv ON member (conv, uid);

-- Times of membership: from_seq < seq <= to_seq is visible. The open one ends at the greatest number.
CREATE TABLE period (
    uid      BIGINT NOT NULL,
    conv     BIGINT NOT NULL,
    from_seq BIGINT NOT NULL,
    to_seq   BIGINT NOT NULL,
    PRIMARY KEY (uid, conv, from_seq)
);

-- Who has sent countable messages to a group: how many, and the seq of the last. Own row or not, so it is not in member.
CREATE TABLE sender (
    conv BIGINT NOT NULL,
    uid  BIGINT NOT NULL,
    own  BIGINT NOT NULL,
    last BIGINT NOT NULL,
    PRIMARY KEY (conv, uid)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

-- The logs.
CREATE TABLE entry (
    -- Position among all entries: number of the batch (entry_batch) times 4096, and number within the batch.
    id          BIGINT   PRIMARY KEY,
    conv        BIGINT   NOT NULL,
    seq         BIGINT   NOT NULL,
    client_time BIGINT   NOT NULL,
    random      BIGINT   NOT NULL,
    sender      BIGINT   NOT NULL,
    time        BIGINT   NOT NULL,
    -- Running numbers of countable messages up to and including this one: of all, and of the sender's.
    idx         BIGINT   NOT NULL,
    own         BIGINT   NOT NULL,
    -- Groups: seq of the sender's countable message before this one, 0 if there is none. It finds "how many of mine up to seq" without an index.
    prev        BIGINT   NOT NULL,
    -- Hash of the body as the client sent it: the same key with another body is an error.
    hash        BIGINT   NOT NULL,
    version     BIGINT   NOT NULL DEFAULT 0,
    revoker     BIGINT   NOT NULL DEFAULT 0,
    status      INTEGER  NOT NULL DEFAULT 0,
    -- 1: countable. 2: addressed to some members only (table addressee).
    flags       SMALLINT NOT NULL,
    reason      TEXT     NOT NULL DEFAULT '',
    body        BYTEA    NOT NULL
);
CREATE UNIQUE INDEX entry_seq ON entry (conv, seq);
-- The dedupe key. Time stands first so that entries are appended to it.
CREATE UNIQUE INDEX entry_key ON entry (client_time, random, conv, sender);

-- Numbers of batches. No server may draw some in advance (CACHE): within a conversation positions rise with seq because they are drawn by
-- who holds the conversation's row.
CREATE SEQUENCE entry_batch AS BIGINT MINVALUE 0 START 0 CACHE 1;
SELECT nextval('entry_batch');

-- draw_batch draws a number, and until the end of the transaction shows everybody that a number above the last one drawn before is not
-- committed yet: a shared advisory lock whose key is that last one. So whoever first reads the sequence (all up to L are drawn), then the lowest
-- lock m, and then looks at the entries, knows that up to min(L, m) nothing will be added: a number up to L whose transaction is still open
-- has a lock below itself.
-- +goose StatementBegin
CREATE FUNCTION draw_batch() RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
    v BIGINT;
BEGIN
    SELECT last_value INTO v FROM entry_batch;
    PERFORM pg_advisory_xact_lock_shared(4611686018427387904 + v);
    RETURN nextval('entry_batch');
END $$;
-- +goose StatementEnd

-- The lowest such lock in this database.
CREATE VIEW open_batch AS
SELECT min((classid::BIGINT << 32 | objid::BIGINT) - 4611686018427387904) AS low
FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 1 AND classid::BIGINT BETWEEN 1073741824 AND 2147483647
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database());

-- Countable messages that were withdrawn: taken off the unread numbers of those who have not read up to them. Sparse, each once.
CREATE TABLE withdrawn (
    conv   BIGINT NOT NULL,
    seq    BIGINT NOT NULL,
    sender BIGINT NOT NULL,
    PRIMARY KEY (conv, seq)
);

-- Messages that a user has deleted for himself.
CREATE TABLE deleted (
    uid  BIGINT NOT NULL,
    conv BIGINT NOT NULL,
    seq  BIGINT NOT NULL,
    PRIMARY KEY (uid, conv, seq)
);

-- Whom an entry with flag 2 is addressed to.
CREATE TABLE addressee (
    conv BIGINT NOT NULL,
    seq  BIGINT NOT NULL,
    uid  BIGINT NOT NULL,
    PRIMARY KEY (conv, seq, uid)
);

-- The rev line: changes of messages, information and membership.
CREATE TABLE change (
    conv     BIGINT  NOT NULL,
    rev      BIGINT  NOT NULL,
    kind     INTEGER NOT NULL,
    seq      BIGINT  NOT NULL,
    time     BIGINT  NOT NULL,
    operator BIGINT  NOT NULL,
    reason   TEXT    NOT NULL,
    PRIMARY KEY (conv, rev)
);

-- The change feeds.
CREATE TABLE feed (
    uid  BIGINT  NOT NULL,
    seq  BIGINT  NOT NULL,
    kind INTEGER NOT NULL,
    time BIGINT  NOT NULL,
    body BYTEA   NOT NULL,
    PRIMARY KEY (uid, seq)
);

-- Devices. owed: another login ended this session and its application has not been told.
CREATE TABLE session (
    uid        BIGINT   NOT NULL,
    device     TEXT COLLATE "C" NOT NULL,
    class      INTEGER  NOT NULL,
    platform   INTEGER  NOT NULL,
    generation BIGINT   NOT NULL,
    logged_in  SMALLINT NOT NULL,
    owed       SMALLINT NOT NULL,
    at         BIGINT   NOT NULL,
    PRIMARY KEY (uid, device)
) WITH (fillfactor = 80);

-- How far a reader of the store has come: after-hooks in the entries (entry.id), a job over many feeds in its users. One row a reader,
-- instead of an outbox row a message.
CREATE TABLE progress (
    name TEXT COLLATE "C" PRIMARY KEY,
    pos  BIGINT NOT NULL,
    body BYTEA
) WITH (fillfactor = 50);
