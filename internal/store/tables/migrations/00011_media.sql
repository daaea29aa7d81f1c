-- The folder of files that belongs to this database: the id that is also in the folder, '' as long as there is none. What changes which files are used holds
-- this row: so there is one order in which rows of blob are locked.
CREATE TABLE blob_folder (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    id  TEXT   NOT NULL
) {{rows ""}};
INSERT INTO blob_folder (one, id) VALUES (1, '');

-- Files, by the hash of what they contain. file is the name in the folder, which no other file ever had: so one that is deleted is not one that was put
-- there meanwhile. unused is when the last that refers to it went (0: something may refer to it).
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
CREATE INDEX media_of ON media (uid, made);
CREATE INDEX media_until ON media (until) WHERE until > 0;

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
