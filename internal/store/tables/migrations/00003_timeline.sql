{{if postgres -}}
-- The timeline of the cluster's log when the store was last opened: each promotion of a standby begins a new one. 0: not known.

ALTER TABLE meta ADD COLUMN timeline BIGINT NOT NULL DEFAULT 0;
{{- end}}
