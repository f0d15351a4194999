-- tests_off: test files beside a Dockerfile are ignored. skip_ci_off: commits whose message says [skip ci] are
-- built. runner_version: the version of the build step that claimed an attempt; empty before the claim.

-- +goose Up

ALTER TABLE automated_builds ADD COLUMN tests_off BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE automated_builds ADD COLUMN skip_ci_off BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE attempts ADD COLUMN runner_version TEXT NOT NULL DEFAULT '';
