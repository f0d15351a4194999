-- What the pipelines of a repository's own show to be given the builds of an automated build:
-- one token each, as its hash.

-- +goose Up

CREATE TABLE pipeline_tokens (
    automated_build_id TEXT PRIMARY KEY REFERENCES automated_builds (id) ON DELETE CASCADE,
    token_hash         TEXT NOT NULL,
    created_by         TEXT NOT NULL,
    created_at         BIGINT NOT NULL
);

CREATE INDEX builds_commit ON builds (automated_build_id, commit_hash);
