-- Calls that changed something, for some time: what they were answered, so that one which is sent again after a reconnect is not made again. run is drawn by the
-- client, call is the id of the frame. A call that takes several transactions has a row for each: part 0 is the last one.
CREATE TABLE done (
    uid   BIGINT NOT NULL,
    run   BIGINT NOT NULL,
    call  BIGINT NOT NULL,
    part  BIGINT NOT NULL,
    -- Of the method and the body of the request.
    hash  BIGINT NOT NULL,
    at    BIGINT NOT NULL,
    reply {{bytes}} NOT NULL,
    PRIMARY KEY (uid, run, call, part)
) {{keyed "autovacuum_vacuum_scale_factor = 0.05"}};
CREATE INDEX done_at ON done (at);
CREATE INDEX done_of ON done (uid, at);
