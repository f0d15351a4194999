-- Indexes for the order of lists and for what is removed: no statement reads a whole table, or sorts its rows.

-- +goose Up

-- Newest builds of a state of an automated build, and of a commit.
DROP INDEX builds_state;
CREATE INDEX builds_state ON builds (state, automated_build_id, number);
DROP INDEX builds_commit;
CREATE INDEX builds_commit ON builds (automated_build_id, commit_hash, number);

-- Old builds, oldest first.
CREATE INDEX builds_finished ON builds (finished_at, number) WHERE finished_at > 0;

-- Expired rows.
CREATE INDEX sessions_expiry ON sessions (expires_at);
CREATE INDEX forms_expiry ON forms (expires_at);
CREATE INDEX oauth_flows_expiry ON oauth_flows (expires_at);

-- Rows of a user, and users of a role, oldest first.
CREATE INDEX oauth_flows_user ON oauth_flows (user_id);
CREATE INDEX accounts_user ON accounts (user_id);
CREATE INDEX users_role ON users (role, created_at, id);
