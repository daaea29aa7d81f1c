-- The folder of files that belongs to this database: the id that is also in the folder, '' as long as there is none. What changes which files are used holds
-- this row: so there is one order in which rows of blob are locked.
CREATE TABLE blob_folder (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    id  TEXT   NOT NULL
) {{rows ""}};
INSERT INTO blob_folder (one, id) VALUES (1, '');

-- Files, by the hash of what they contain. file is the name in the folder, which no other file ever had: so one that is deleted is not one that was put
-- there meanwhile. unused is when the last that refers to it went (0: something refers to it).
CREATE TABLE blob (
    hash   {{key}} PRIMARY KEY,
    file   TEXT   NOT NULL,
    size   BIGINT NOT NULL,
    unused BIGINT NOT NULL
) {{rows ""}};
CREATE INDEX blob_unused ON blob (unused) WHERE unused > 0;

-- Uploads, by the random id that is the right to read the file when the upload is done. until is when it is deleted (0: never).
CREATE TABLE media (
    id    {{key}}   PRIMARY KEY,
    uid   BIGINT    NOT NULL,
    kind  {{small}} NOT NULL,
    size  BIGINT    NOT NULL,
    made  BIGINT    NOT NULL,
    until BIGINT    NOT NULL,
    done  {{small}} NOT NULL
) {{rows ""}};
-- What has ended, what is open at all, and what is open of a user.
CREATE INDEX media_until ON media (until) WHERE until > 0;
CREATE INDEX media_open ON media (until) WHERE done = 0;
CREATE INDEX media_open_of ON media (uid, made) WHERE done = 0;

-- What users have uploaded: with hour 0 the bytes that are kept, and otherwise those of the uploads that were created in an hour (since 1970), or were thrown
-- away in it. Uploads that are deleted stay in their hour with what had arrived of them, so that deleting is no way round a limit.
CREATE TABLE media_use (
    uid   BIGINT NOT NULL,
    hour  BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (uid, hour)
) {{keyed ""}};
CREATE INDEX media_use_hour ON media_use (hour) WHERE hour > 0;

-- The files of an upload that is done: 0 what was uploaded; of an image, 1 the large and 2 the small size.
CREATE TABLE media_part (
    id     {{key}}   NOT NULL,
    part   {{small}} NOT NULL,
    hash   {{key}}   NOT NULL,
    type   TEXT      NOT NULL,
    width  BIGINT    NOT NULL,
    height BIGINT    NOT NULL,
    PRIMARY KEY (id, part)
) {{keyed ""}};
CREATE INDEX media_part_hash ON media_part (hash);
