{{if postgres -}}
-- The latest horizon of any server as of its last note: every transaction of an earlier time has ended (see horizon.go).
ALTER TABLE meta ADD COLUMN horizon BIGINT NOT NULL DEFAULT 0;
{{- end}}
