-- What the app's webhook has not been notified of yet, of things that are not in the log: rows are written in the transaction of their cause, and deleted when
-- they were received. A lane has an order, that of its ids: each is drawn while the lane's account is held. Ids are never used twice.
CREATE TABLE outbox (
    id       {{rowid}} PRIMARY KEY {{if sqlite}}AUTOINCREMENT{{else}}GENERATED ALWAYS AS IDENTITY{{end}},
    -- The account whose list or profile changed.
    lane     BIGINT NOT NULL,
    time     BIGINT NOT NULL,
    -- Where the call came from, as the request names it.
    platform TEXT   NOT NULL,
    addr     TEXT   NOT NULL,
    command  TEXT   NOT NULL,
    -- The body of the request: JSON.
    body     {{bytes}} NOT NULL
) {{rows "autovacuum_vacuum_scale_factor = 0.05"}};
CREATE INDEX outbox_lane ON outbox (lane, id);
