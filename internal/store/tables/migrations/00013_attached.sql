-- Which messages refer to which uploads. A row is written with its message, and goes with the recall of the message or with the upload.
CREATE TABLE media_ref (
    conv  BIGINT  NOT NULL,
    seq   BIGINT  NOT NULL,
    media {{key}} NOT NULL,
    PRIMARY KEY (conv, seq, media)
) {{keyed ""}};
CREATE INDEX media_ref_media ON media_ref (media);
