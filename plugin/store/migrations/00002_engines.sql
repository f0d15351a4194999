-- nonce_hash is of what the parameters of a pipeline on a CI carry: the CI's requests to the
-- gateway are matched with the attempt by it. Empty = the engine hands its runner the token.

-- +goose Up

ALTER TABLE attempts ADD COLUMN nonce_hash TEXT NOT NULL DEFAULT '';
CREATE INDEX attempts_nonce ON attempts (nonce_hash) WHERE nonce_hash <> '';

-- What a CI signs its requests to the gateway with: one for each kind of request.
CREATE TABLE extension_secrets (
    engine  TEXT NOT NULL,
    purpose TEXT NOT NULL,
    value   BYTEA,
    PRIMARY KEY (engine, purpose)
);
