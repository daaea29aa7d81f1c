{{if postgres -}}
-- Who of several servers does what only one may do at a time.
CREATE TABLE lease (
    name  {{key}} PRIMARY KEY,
    -- Raised whenever somebody takes the lease: each step of the work is committed only if it still is the number that its holder was given.
    epoch BIGINT NOT NULL,
    -- When it may be taken by another one, in milliseconds since 1970 by PostgreSQL's clock.
    until BIGINT NOT NULL
) {{rows "fillfactor = 50"}};
{{- end}}
