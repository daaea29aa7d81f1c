-- The first schema. Numbers that are unsigned in Go (client time, hash) are stored as the signed number of the same bits.
-- Times are milliseconds since 1970 by the store's clock. There are no foreign keys: rows that refer to each other are written in
-- one transaction by code that knows both, and a check of each reference would cost the hot path a lookup a row.

-- The store itself: one row.
CREATE TABLE meta (
    one       {{small}} PRIMARY KEY CHECK (one = 1),
    -- Random, drawn when the store is made. With restores it names the store: a client that sees another pair starts its local logs anew.
    store_id  TEXT   NOT NULL,
    -- How often the store was restored from a copy.
    restores  BIGINT NOT NULL,
{{- if sqlite}}
    -- Next numbers of users and conversations. Kept here, not taken from the highest row, so that none is used twice after a deletion.
    next_uid  BIGINT NOT NULL,
    next_conv BIGINT NOT NULL,
    -- Every entry with id <= covered is contained in conv's and sender's running numbers; those above are added again at start.
    covered   BIGINT NOT NULL,
    -- Last commit time that is not to be seen from the entries above covered. The clock never starts below it.
    clock     BIGINT NOT NULL
{{- else}}
    -- Cluster and database that the store was last opened in. Others mean that this is a copy, and restores is raised.
    home      TEXT   NOT NULL,
    -- The highest time that any server has given out, as of its last note, which each makes every second.
    clock     BIGINT NOT NULL
{{- end}}
) {{rows "fillfactor = 50"}};

{{if postgres -}}
-- Numbers of users and conversations, never used twice. The first leaves room below for numbers that are not accounts.
CREATE SEQUENCE user_uid AS BIGINT START 144115188075855873;
CREATE SEQUENCE conv_id AS BIGINT;

{{end -}}
-- Accounts.
CREATE TABLE users (
    uid        BIGINT PRIMARY KEY,
    name       {{key}} NOT NULL UNIQUE,
    -- Generation of the newest login of any device.
    generation BIGINT NOT NULL {{if postgres}}DEFAULT 0{{end}},
    -- Last number of the change feed, and the number up to which it was cut off (a reader below it needs a snapshot).
    feed       BIGINT NOT NULL {{if postgres}}DEFAULT 0{{end}},
    feed_floor BIGINT NOT NULL DEFAULT 0
{{- if postgres}},
    -- Tickets that were signed before this time, in seconds since 1970, do not let the account log in.
    valid_from BIGINT NOT NULL DEFAULT 0
{{- end}}
) {{rows "fillfactor = 80"}};

-- Conversations: what they are, and the ends of their two lines. SQLite's store writes seq, time, changed, idx, own_a and own_b lazily (meta.covered).
-- PostgreSQL's writes the row with each batch, so a page keeps room for the next version of a row, which then needs no new index entries; whoever holds the
-- lock of a row may number.
CREATE TABLE conv (
    id         {{rowid}} PRIMARY KEY,
    -- 1 C2C, 2 group.
    kind       {{small}} NOT NULL,
    -- The two people of a C2C conversation, a <= b; 0 for a group.
    a          BIGINT NOT NULL,
    b          BIGINT NOT NULL,
    -- Group id. A group id that is made again is a new row: the newest one counts.
    grp        {{key}} NOT NULL,
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
    dissolved  {{small}} NOT NULL
) {{rows "fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05"}};
CREATE UNIQUE INDEX conv_pair ON conv (a, b) WHERE kind = 1;
CREATE INDEX conv_group ON conv (grp, id) WHERE kind = 2;

-- A user's own row in a conversation. The key starts with the user: their list is one range. row_no and changed show their devices what has changed.
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
    recv_opt    {{int}} NOT NULL,
{{- if postgres}}
    role        {{int}} NOT NULL,
{{- end}}
    pinned      {{small}} NOT NULL,
    hidden      {{small}} NOT NULL,
{{- if sqlite}}
    role        {{int}} NOT NULL,
{{- end}}
    -- The membership is over; the row stays, because its periods may still be read.
    gone        {{small}} NOT NULL,
    PRIMARY KEY (uid, conv)
) {{keyed "fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05"}};
-- The members of a group.
CREATE INDEX member_conv ON member (conv, uid);

-- Times of membership: from_seq < seq <= to_seq is visible. The open one ends at the greatest number.
CREATE TABLE period (
    uid      BIGINT NOT NULL,
    conv     BIGINT NOT NULL,
    from_seq BIGINT NOT NULL,
    to_seq   BIGINT NOT NULL,
    PRIMARY KEY (uid, conv, from_seq)
) {{keyed ""}};

-- Who has sent countable messages to a group: how many, and the seq of the last. Own row or not, so it is not in member. SQLite's store writes it lazily.
CREATE TABLE sender (
    conv BIGINT NOT NULL,
    uid  BIGINT NOT NULL,
    own  BIGINT NOT NULL,
    last BIGINT NOT NULL,
    PRIMARY KEY (conv, uid)
) {{keyed "fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05"}};

-- The logs. A row is appended at the end whatever its conversation; the two indexes are all that a send writes besides.
CREATE TABLE entry (
    -- Position among all entries, never used twice. SQLite: the number of the entry, which the writer draws (AUTOINCREMENT would write a second table with
    -- every statement). PostgreSQL: number of the batch (entry_batch) times 4096, and number within the batch.
    id          {{rowid}} PRIMARY KEY,
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
{{- if sqlite}}
    -- 1: countable. 2: addressed to some members only (table addressee).
    flags       {{small}} NOT NULL,
    -- Hash of the body as the client sent it: the same key with another body is an error.
    hash        BIGINT NOT NULL,
    body        {{bytes}} NOT NULL,
    status      {{int}} NOT NULL DEFAULT 0,
    version     BIGINT NOT NULL DEFAULT 0,
    revoker     BIGINT NOT NULL DEFAULT 0,
    reason      TEXT   NOT NULL DEFAULT ''
{{- else}}
    -- Hash of the body as the client sent it: the same key with another body is an error.
    hash        BIGINT NOT NULL,
    version     BIGINT NOT NULL DEFAULT 0,
    revoker     BIGINT NOT NULL DEFAULT 0,
    status      {{int}} NOT NULL DEFAULT 0,
    -- 1: countable. 2: addressed to some members only (table addressee).
    flags       {{small}} NOT NULL,
    reason      TEXT   NOT NULL DEFAULT '',
    body        {{bytes}} NOT NULL
{{- end}}
);
CREATE UNIQUE INDEX entry_seq ON entry (conv, seq);
-- The dedupe key. Time stands first so that entries are appended to it; in any other order each send would touch a page of its own.
CREATE UNIQUE INDEX entry_key ON entry (client_time, random, conv, sender);

{{if postgres -}}
-- Numbers of batches. No server may draw some in advance (CACHE): within a conversation positions rise with seq because they are drawn by
-- who holds the conversation's row.
CREATE SEQUENCE entry_batch AS BIGINT MINVALUE 0 START 0 CACHE 1;
SELECT nextval('entry_batch');

-- draw_batch draws a number, and until the end of the transaction shows everybody that a number above the last one drawn before is not
-- committed yet: a shared advisory lock whose key is that last one. So whoever first reads the sequence (all up to L are drawn), then the lowest
-- lock m, and then looks at the entries, knows that up to min(L, m) nothing will be added: a number up to L whose transaction is still open
-- has a lock below itself.
CREATE FUNCTION draw_batch() RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
    v BIGINT;
BEGIN
    SELECT last_value INTO v FROM entry_batch;
    PERFORM pg_advisory_xact_lock_shared(4611686018427387904 + v);
    RETURN nextval('entry_batch');
END $$;

-- The lowest such lock in this database.
CREATE VIEW open_batch AS
SELECT min((classid::BIGINT << 32 | objid::BIGINT) - 4611686018427387904) AS low
FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 1 AND classid::BIGINT BETWEEN 1073741824 AND 2147483647
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database());

{{end -}}
-- Countable messages that were withdrawn: taken off the unread numbers of those who have not read up to them. Sparse, each once.
CREATE TABLE withdrawn (
    conv   BIGINT NOT NULL,
    seq    BIGINT NOT NULL,
    sender BIGINT NOT NULL,
    PRIMARY KEY (conv, seq)
) {{keyed ""}};

-- Messages that a user has deleted for themselves.
CREATE TABLE deleted (
    uid  BIGINT NOT NULL,
    conv BIGINT NOT NULL,
    seq  BIGINT NOT NULL,
    PRIMARY KEY (uid, conv, seq)
) {{keyed ""}};

-- Whom an entry with flag 2 is addressed to.
CREATE TABLE addressee (
    conv BIGINT NOT NULL,
    seq  BIGINT NOT NULL,
    uid  BIGINT NOT NULL,
    PRIMARY KEY (conv, seq, uid)
) {{keyed ""}};

-- The rev line: changes of messages, information and membership.
CREATE TABLE change (
    conv     BIGINT NOT NULL,
    rev      BIGINT NOT NULL,
    kind     {{int}} NOT NULL,
    seq      BIGINT NOT NULL,
    time     BIGINT NOT NULL,
    operator BIGINT NOT NULL,
    reason   TEXT   NOT NULL,
    PRIMARY KEY (conv, rev)
) {{keyed ""}};

-- The change feeds.
CREATE TABLE feed (
    uid  BIGINT NOT NULL,
    seq  BIGINT NOT NULL,
    kind {{int}} NOT NULL,
    time BIGINT NOT NULL,
    body {{bytes}} NOT NULL,
    PRIMARY KEY (uid, seq)
) {{keyed ""}};

-- Devices. owed: another login ended this session and its application has not been notified.
CREATE TABLE session (
    uid        BIGINT NOT NULL,
    device     {{key}} NOT NULL,
    class      {{int}} NOT NULL,
    platform   {{int}} NOT NULL,
    generation BIGINT NOT NULL,
    logged_in  {{small}} NOT NULL,
    owed       {{small}} NOT NULL,
    at         BIGINT NOT NULL,
    PRIMARY KEY (uid, device)
) {{keyed "fillfactor = 80"}};

-- How far a reader of the store has come: after-hooks in the entries (entry.id), a job over many feeds in its users. One row a reader,
-- instead of an outbox row a message.
CREATE TABLE progress (
    name {{key}} PRIMARY KEY,
    pos  BIGINT NOT NULL,
    body {{bytes}}
) {{rows "fillfactor = 50"}};
