-- Several gateways on one database: who is there and who leads (leases, on the database's
-- time), which one started an attempt, and logs that each of them can read.

-- +goose Up

CREATE TABLE leases (
    name   TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until  BIGINT NOT NULL
);

ALTER TABLE attempts ADD COLUMN gateway TEXT NOT NULL DEFAULT '';
ALTER TABLE tasks ADD COLUMN gateway TEXT NOT NULL DEFAULT '';

-- size and own count bytes: of the whole log, and those of it that are the gateway's own lines.
CREATE TABLE logs (
    build_id TEXT NOT NULL,
    attempt  BIGINT NOT NULL,
    size     BIGINT NOT NULL,
    own      BIGINT NOT NULL,
    mid_line BOOLEAN NOT NULL,
    PRIMARY KEY (build_id, attempt)
);

CREATE TABLE log_chunks (
    build_id TEXT NOT NULL,
    attempt  BIGINT NOT NULL,
    position BIGINT NOT NULL,
    data     BYTEA NOT NULL,
    PRIMARY KEY (build_id, attempt, position),
    FOREIGN KEY (build_id, attempt) REFERENCES logs (build_id, attempt) ON DELETE CASCADE
);
