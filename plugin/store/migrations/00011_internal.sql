-- internal: the source branch of a build's pull request is in the repository itself. FALSE = it is in a
-- fork, or unknown.

-- +goose Up

ALTER TABLE builds ADD COLUMN internal BOOLEAN NOT NULL DEFAULT FALSE;
