-- Rights follow a person's permissions on the repositories at Bitbucket. A session holds the
-- grant of its sign-in, which reads them. The table permissions caches them for at most an hour.

-- +goose Up

ALTER TABLE sessions ADD COLUMN access_token BYTEA;
ALTER TABLE sessions ADD COLUMN refresh_token BYTEA;
ALTER TABLE sessions ADD COLUMN token_expires_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN grant_version BIGINT NOT NULL DEFAULT 0;
CREATE INDEX sessions_user ON sessions (user_id);

-- permissions_at: when the person's permissions were read last; 0 = never, or dropped since.
-- had_right: Bitbucket once granted the person a permission on a repository that is built here.
ALTER TABLE users ADD COLUMN permissions_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN had_right BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE users ADD COLUMN signed_in_at BIGINT NOT NULL DEFAULT 0;

-- A repository without a row: the person may do nothing with it.
CREATE TABLE permissions (
    user_id       TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    provider_id   TEXT NOT NULL,
    repository_id TEXT NOT NULL,
    permission    TEXT NOT NULL, -- read, write, admin
    checked_at    BIGINT NOT NULL,
    PRIMARY KEY (user_id, provider_id, repository_id)
);

-- Viewers and members had a right here, so they are not pruned like strangers who signed in once.
UPDATE users SET had_right = TRUE WHERE role IN ('viewer', 'member');
UPDATE users SET signed_in_at = COALESCE((SELECT MAX(s.created_at) FROM sessions s WHERE s.user_id = users.id), created_at);

-- The roles viewer and member are replaced by permissions. Their sessions hold no grant to read
-- these with, so that the people sign in again.
DELETE FROM sessions WHERE user_id IN (SELECT id FROM users WHERE role <> 'admin');
UPDATE users SET role = 'none' WHERE role <> 'admin';
