-- Of a modification: the version of the content that it made. Each raised its message's by one.
ALTER TABLE change ADD COLUMN version BIGINT NOT NULL DEFAULT 0;
UPDATE change SET version = y.n
FROM (SELECT conv, rev, row_number() OVER (PARTITION BY conv, seq ORDER BY rev) AS n FROM change WHERE kind = 2) y
WHERE change.conv = y.conv AND change.rev = y.rev;
