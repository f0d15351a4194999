-- Replacing a webhook's secret.
-- secret_version counts the secrets of a hook; secret_written is the newest version that the
-- provider has confirmed. Lower = the provider may still sign with the previous secret.

-- +goose Up

ALTER TABLE hooks ADD COLUMN secret_version BIGINT NOT NULL DEFAULT 1;
ALTER TABLE hooks ADD COLUMN secret_written BIGINT NOT NULL DEFAULT 1;
