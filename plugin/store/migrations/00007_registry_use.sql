-- purpose: push = pushes images, pull = reads base images. automated_build_id: the only automated
-- build that uses the credential; NULL = all of them. One host may have several credentials now,
-- so the table is made anew without the unique host.

-- +goose Up

CREATE TABLE registry_credentials (
    id                 TEXT PRIMARY KEY,
    host               TEXT NOT NULL,
    purpose            TEXT NOT NULL,
    automated_build_id TEXT REFERENCES automated_builds (id) ON DELETE CASCADE,
    username           TEXT NOT NULL,
    password           BYTEA,
    insecure           BOOLEAN NOT NULL,
    checked_at         BIGINT NOT NULL,
    problem            TEXT NOT NULL
);

INSERT INTO registry_credentials (id, host, purpose, username, password, insecure, checked_at, problem)
    SELECT id, host, 'push', username, password, insecure, checked_at, problem FROM registries;

DROP TABLE registries;
ALTER TABLE registry_credentials RENAME TO registries;

CREATE UNIQUE INDEX registries_use ON registries (host, purpose, COALESCE(automated_build_id, ''));
CREATE INDEX registries_automated_build ON registries (automated_build_id);
