-- The newest builds of a state of a repository: a list for a person who may read a few repositories reads only theirs.

-- +goose Up

CREATE INDEX builds_repository ON builds (provider_id, repository_id, state, number);
