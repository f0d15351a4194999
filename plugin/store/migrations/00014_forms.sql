-- The answers to posted forms, so that a form that is sent twice is handled once, and the page that the first
-- answer redirects to can show its result. location: empty while the request runs. result: sealed.

-- +goose Up

CREATE TABLE forms (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    form_key   TEXT NOT NULL,
    location   TEXT NOT NULL,
    result     BYTEA,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (session_id, form_key)
);
