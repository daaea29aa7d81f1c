{{if sqlite -}}
-- Tickets that were signed before this time do not let the account log in: an operator kicked it. Seconds since 1970, as in tickets.
ALTER TABLE users ADD COLUMN valid_from BIGINT NOT NULL DEFAULT 0;
{{- end}}
