-- What a user has with others: friends, requests, blocked users, friend groups, and how far requests were read. kind is im's RelationKind, other the number of
-- the other account or of a friend group. ver is the number in the owner's feed of the change that made the row as it is, made that of the one that created
-- it: lists have that order, which does not move while they are paged.
CREATE TABLE relation (
    uid   BIGINT NOT NULL,
    kind  {{int}} NOT NULL,
    other BIGINT NOT NULL,
    ver   BIGINT NOT NULL,
    made  BIGINT NOT NULL,
    -- im.RelationState in wire form.
    body  {{bytes}} NOT NULL,
    PRIMARY KEY (uid, kind, other)
) {{keyed ""}};
CREATE INDEX relation_made ON relation (uid, kind, made);
-- Who has a user in their list of friends.
CREATE INDEX relation_friend ON relation (other, uid) WHERE kind = 1;

-- Profiles. An account without a row has an empty one of version 0. body is im.UserProfile in wire form, without the name.
CREATE TABLE profile (
    uid  BIGINT PRIMARY KEY,
    ver  BIGINT NOT NULL,
    body {{bytes}} NOT NULL
) {{rows ""}};

-- Changes of profiles of which not all who have the user as a friend were notified. The next one is above done.
CREATE TABLE fanout (
    uid  BIGINT PRIMARY KEY,
    ver  BIGINT NOT NULL,
    done BIGINT NOT NULL
) {{rows ""}};

-- What may be sent in a C2C conversation, as bits: 1 a has blocked b, 2 b has blocked a, 4 a has b as a friend, 8 b has a.
ALTER TABLE conv ADD COLUMN flags BIGINT NOT NULL DEFAULT 0;
