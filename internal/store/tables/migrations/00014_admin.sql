-- The admins who have sent messages to groups for their senders: what the webhook is notified of names them, and no client gets them.
CREATE TABLE sent_by (
    conv  BIGINT NOT NULL,
    seq   BIGINT NOT NULL,
    admin TEXT   NOT NULL,
    PRIMARY KEY (conv, seq)
) {{keyed ""}};
