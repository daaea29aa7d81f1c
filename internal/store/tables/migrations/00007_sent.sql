-- Messages that operators have sent under a key of theirs, for some minutes: which client time each got. The same call again, after a restart or to whichever
-- server, sends under the same key of the log, which decides.
CREATE TABLE sent (
    sender      BIGINT NOT NULL,
    random      BIGINT NOT NULL,
    seq         BIGINT NOT NULL,
    client_time BIGINT NOT NULL,
    hash        BIGINT NOT NULL,
    at          BIGINT NOT NULL,
    PRIMARY KEY (sender, random, seq)
) {{keyed "fillfactor = 80"}};
CREATE INDEX sent_at ON sent (at);
