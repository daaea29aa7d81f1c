-- Of a group: im's GroupType, the owner (0: nobody), and the numbers that are raised by every change of its information and of its attributes. members is how many
-- are in it. Mute-all is bit 16 of flags.
ALTER TABLE conv ADD COLUMN type {{small}} NOT NULL DEFAULT 0;
ALTER TABLE conv ADD COLUMN owner BIGINT NOT NULL DEFAULT 0;
ALTER TABLE conv ADD COLUMN info_seq BIGINT NOT NULL DEFAULT 0;
ALTER TABLE conv ADD COLUMN attr_ver BIGINT NOT NULL DEFAULT 0;
ALTER TABLE conv ADD COLUMN members BIGINT NOT NULL DEFAULT 0;
UPDATE conv SET members = (SELECT count(*) FROM member m WHERE m.conv = conv.id AND m.gone = 0) WHERE kind = 2;
-- Only one group of an id is not dissolved.
CREATE UNIQUE INDEX conv_live ON conv (grp) WHERE kind = 2 AND dissolved = 0;
-- The live rooms, by owner: they are counted.
CREATE INDEX conv_room ON conv (owner) WHERE kind = 2 AND type = 4 AND dissolved = 0;

-- Of a member of a group: the value of member_set that the join made, which is their place in the list of members, when that was, until when they may not send
-- (milliseconds), and their name card.
ALTER TABLE member ADD COLUMN joined BIGINT NOT NULL DEFAULT 0;
ALTER TABLE member ADD COLUMN joined_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE member ADD COLUMN mute_until BIGINT NOT NULL DEFAULT 0;
ALTER TABLE member ADD COLUMN name_card TEXT NOT NULL DEFAULT '';
CREATE INDEX member_joined ON member (conv, joined) WHERE joined > 0 AND gone = 0;
CREATE INDEX member_role ON member (conv, role, joined) WHERE joined > 0 AND gone = 0 AND role > 200;

-- Fields of the app's own: im.GroupMemberState in wire form.
CREATE TABLE member_custom (
    uid  BIGINT NOT NULL,
    conv BIGINT NOT NULL,
    body {{bytes}} NOT NULL,
    PRIMARY KEY (uid, conv)
) {{keyed ""}};

-- from_rev < rev <= to_rev are the changes of a time of membership.
ALTER TABLE period ADD COLUMN from_rev BIGINT NOT NULL DEFAULT 0;
ALTER TABLE period ADD COLUMN to_rev BIGINT NOT NULL DEFAULT 9223372036854775807;
UPDATE period SET to_rev = coalesce((SELECT c.rev FROM conv c WHERE c.id = period.conv), 0) WHERE to_seq < 9223372036854775807;

-- What a change without a message carries: im.Change's report in wire form.
ALTER TABLE change ADD COLUMN body {{bytes}};

-- The information about a group that a send need not know: im.GroupState in wire form. seq is the group's info_seq that it was written with.
CREATE TABLE group_info (
    conv BIGINT PRIMARY KEY,
    seq  BIGINT NOT NULL,
    body {{bytes}} NOT NULL
) {{rows ""}};

CREATE TABLE attribute (
    conv  BIGINT NOT NULL,
    key   {{key}} NOT NULL,
    value TEXT   NOT NULL,
    PRIMARY KEY (conv, key)
) {{keyed ""}};

-- Who is mentioned in an entry; uid 0: all. A row goes when its message is recalled.
CREATE TABLE mention (
    conv   BIGINT NOT NULL,
    seq    BIGINT NOT NULL,
    uid    BIGINT NOT NULL,
    sender BIGINT NOT NULL,
    PRIMARY KEY (conv, seq, uid)
) {{keyed ""}};

-- Requests to join a group (kind 0) and invitations that wait for consent (kind 1). Those that were answered are kept.
CREATE TABLE group_request (
    id      {{rowid}} PRIMARY KEY {{if sqlite}}AUTOINCREMENT{{else}}GENERATED ALWAYS AS IDENTITY{{end}},
    conv    BIGINT NOT NULL,
    kind    {{small}} NOT NULL,
    -- Who is to become a member, and who has invited them (0 in a request).
    uid     BIGINT NOT NULL,
    inviter BIGINT NOT NULL,
    time    BIGINT NOT NULL,
    wording TEXT   NOT NULL,
    -- Who has answered (0: nobody yet), with what, and with which words.
    handler BIGINT NOT NULL,
    accepted {{small}} NOT NULL,
    answer  TEXT   NOT NULL
) {{rows ""}};
CREATE UNIQUE INDEX group_request_open ON group_request (conv, uid, kind) WHERE handler = 0;
CREATE INDEX group_request_time ON group_request (conv, time);
