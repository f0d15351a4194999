-- Times are Unix milliseconds, 0 = none. Ids are made in Go. JSON stands in TEXT where a
-- list is only ever read whole. Columns of sealed secrets are BYTEA. The text is valid for
-- SQLite and PostgreSQL.

-- +goose Up

CREATE TABLE instance (
    name  TEXT PRIMARY KEY,
    value BYTEA NOT NULL
);

CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('tasks', 0), ('builds', 0);

-- Done tasks are deleted. key dedupes tasks that have not started: claiming one clears it.
-- due_at is when the task may be claimed: of a running one, when its lease ends.
CREATE TABLE tasks (
    id         BIGINT PRIMARY KEY,
    kind       TEXT NOT NULL,
    arg        TEXT NOT NULL,
    key        TEXT NOT NULL,
    lane       TEXT NOT NULL,
    state      TEXT NOT NULL, -- waiting, running, dead
    attempt    BIGINT NOT NULL,
    due_at     BIGINT NOT NULL,
    error      TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX tasks_key ON tasks (kind, key) WHERE key <> '';
CREATE INDEX tasks_due ON tasks (kind, due_at, id) WHERE state <> 'dead';
CREATE INDEX tasks_lane ON tasks (lane, id) WHERE lane <> '' AND state <> 'dead';

CREATE TABLE providers (
    id            TEXT PRIMARY KEY,
    kind          TEXT NOT NULL,
    name          TEXT NOT NULL UNIQUE,
    web_url       TEXT NOT NULL,
    api_url       TEXT NOT NULL,
    client_id     TEXT NOT NULL,
    client_secret BYTEA,
    created_at    BIGINT NOT NULL
);

CREATE TABLE users (
    id          TEXT PRIMARY KEY,
    provider_id TEXT NOT NULL,
    remote_id   TEXT NOT NULL,
    name        TEXT NOT NULL,
    role        TEXT NOT NULL,
    created_at  BIGINT NOT NULL
);
CREATE UNIQUE INDEX users_remote ON users (provider_id, remote_id) WHERE remote_id <> '';

CREATE TABLE sessions (
    id         TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE TABLE oauth_flows (
    state         TEXT PRIMARY KEY,
    browser_id    TEXT NOT NULL,
    provider_id   TEXT NOT NULL,
    user_id       TEXT NOT NULL,
    code_verifier BYTEA,
    return_to     TEXT NOT NULL,
    expires_at    BIGINT NOT NULL
);

CREATE TABLE first_tokens (
    hash       TEXT PRIMARY KEY,
    expires_at BIGINT NOT NULL
);

CREATE TABLE accounts (
    id            TEXT PRIMARY KEY,
    provider_id   TEXT NOT NULL,
    kind          TEXT NOT NULL,
    user_id       TEXT NOT NULL,
    name          TEXT NOT NULL,
    remote_id     TEXT NOT NULL,
    scopes        TEXT NOT NULL, -- JSON
    repository    TEXT NOT NULL,
    workspace     TEXT NOT NULL,
    access_token  BYTEA,
    refresh_token BYTEA,
    expires_at    BIGINT NOT NULL,
    state         TEXT NOT NULL,
    problem       TEXT NOT NULL,
    version       BIGINT NOT NULL,
    linked_at     BIGINT NOT NULL
);

CREATE TABLE registries (
    id         TEXT PRIMARY KEY,
    host       TEXT NOT NULL UNIQUE,
    username   TEXT NOT NULL,
    password   BYTEA,
    insecure   BOOLEAN NOT NULL,
    checked_at BIGINT NOT NULL,
    problem    TEXT NOT NULL
);

CREATE TABLE repositories (
    provider_id    TEXT NOT NULL,
    id             TEXT NOT NULL,
    workspace_id   TEXT NOT NULL,
    full_name      TEXT NOT NULL,
    default_branch TEXT NOT NULL,
    private        BOOLEAN NOT NULL,
    admin          BOOLEAN NOT NULL,
    PRIMARY KEY (provider_id, id)
);

CREATE TABLE hooks (
    id              TEXT PRIMARY KEY,
    account_id      TEXT NOT NULL,
    provider_id     TEXT NOT NULL,
    repository_id   TEXT NOT NULL,
    remote_id       TEXT NOT NULL,
    secret          BYTEA,
    previous_secret BYTEA,
    previous_until  BIGINT NOT NULL,
    state           TEXT NOT NULL,
    problem         TEXT NOT NULL,
    polled_at       BIGINT NOT NULL,
    delivered_at    BIGINT NOT NULL,
    UNIQUE (provider_id, repository_id),
    FOREIGN KEY (provider_id, repository_id) REFERENCES repositories (provider_id, id)
);

CREATE TABLE automated_builds (
    id            TEXT PRIMARY KEY,
    account_id    TEXT NOT NULL,
    provider_id   TEXT NOT NULL,
    repository_id TEXT NOT NULL,
    image         TEXT NOT NULL,
    engine        TEXT NOT NULL,
    autotest      TEXT NOT NULL,
    created_by    TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL,
    FOREIGN KEY (provider_id, repository_id) REFERENCES repositories (provider_id, id)
);
CREATE INDEX automated_builds_repository ON automated_builds (provider_id, repository_id);
CREATE INDEX automated_builds_account ON automated_builds (account_id);

CREATE TABLE rules (
    automated_build_id TEXT NOT NULL REFERENCES automated_builds (id) ON DELETE CASCADE,
    id                 TEXT NOT NULL,
    position           BIGINT NOT NULL,
    source_type        TEXT NOT NULL,
    source             TEXT NOT NULL,
    tags               TEXT NOT NULL,
    context            TEXT NOT NULL,
    dockerfile         TEXT NOT NULL,
    autobuild          BOOLEAN NOT NULL,
    caching            BOOLEAN NOT NULL,
    build_args         TEXT NOT NULL, -- JSON
    platforms          TEXT NOT NULL, -- JSON
    paths              TEXT NOT NULL, -- JSON
    PRIMARY KEY (automated_build_id, id)
);

CREATE TABLE environment (
    automated_build_id TEXT NOT NULL REFERENCES automated_builds (id) ON DELETE CASCADE,
    name               TEXT NOT NULL,
    value              BYTEA,
    PRIMARY KEY (automated_build_id, name)
);

CREATE TABLE deliveries (
    id          TEXT PRIMARY KEY,
    hook_id     TEXT NOT NULL,
    event       TEXT NOT NULL,
    request_id  TEXT NOT NULL,
    header      TEXT NOT NULL,  -- JSON
    body        BYTEA NOT NULL, -- zstd
    received_at BIGINT NOT NULL,
    state       TEXT NOT NULL,
    reason      TEXT NOT NULL,
    outcomes    TEXT NOT NULL,  -- JSON
    planned_at  BIGINT NOT NULL
);
CREATE INDEX deliveries_time ON deliveries (received_at, id);
CREATE INDEX deliveries_hook ON deliveries (hook_id, received_at, id);

CREATE TABLE refs (
    provider_id   TEXT NOT NULL,
    repository_id TEXT NOT NULL,
    kind          TEXT NOT NULL,
    name          TEXT NOT NULL,
    head          TEXT NOT NULL, -- empty = deleted
    seq           BIGINT NOT NULL,
    PRIMARY KEY (provider_id, repository_id, kind, name)
);

CREATE TABLE transitions (
    provider_id   TEXT NOT NULL,
    repository_id TEXT NOT NULL,
    kind          TEXT NOT NULL,
    name          TEXT NOT NULL,
    seq           BIGINT NOT NULL,
    old_head      TEXT NOT NULL,
    new_head      TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    PRIMARY KEY (provider_id, repository_id, kind, name, seq)
);
CREATE INDEX transitions_heads ON transitions (provider_id, repository_id, kind, name, old_head, new_head);

-- Every move of a ref that a delivery reported and that was answered, accepted or refused:
-- a replay is known by it.
CREATE TABLE answered_moves (
    provider_id   TEXT NOT NULL,
    repository_id TEXT NOT NULL,
    kind          TEXT NOT NULL,
    name          TEXT NOT NULL,
    old_head      TEXT NOT NULL,
    new_head      TEXT NOT NULL,
    PRIMARY KEY (provider_id, repository_id, kind, name, old_head, new_head)
);

-- tries counts the attempts since somebody last asked for a retry. account_id is the account
-- of the automated build when the build was made, for reports after the former is deleted.
CREATE TABLE builds (
    id                 TEXT PRIMARY KEY,
    number             BIGINT NOT NULL UNIQUE,
    automated_build_id TEXT NOT NULL,
    account_id         TEXT NOT NULL,
    rule_id            TEXT NOT NULL,
    provider_id        TEXT NOT NULL,
    repository_id      TEXT NOT NULL,
    ref_kind           TEXT NOT NULL,
    ref_name           TEXT NOT NULL,
    seq                BIGINT NOT NULL,
    commit_hash        TEXT NOT NULL,
    commit_message     TEXT NOT NULL,
    commit_author      TEXT NOT NULL,
    commit_date        BIGINT NOT NULL,
    image              TEXT NOT NULL,
    tags               TEXT NOT NULL, -- JSON
    dockerfile         TEXT NOT NULL,
    context            TEXT NOT NULL,
    build_args         TEXT NOT NULL, -- JSON
    platforms          TEXT NOT NULL, -- JSON
    caching            BOOLEAN NOT NULL,
    publish            BOOLEAN NOT NULL,
    cause              TEXT NOT NULL,
    cause_key          TEXT NOT NULL,
    caused_by          TEXT NOT NULL,
    delivery_id        TEXT NOT NULL,
    state              TEXT NOT NULL,
    reason             TEXT NOT NULL,
    detail             TEXT NOT NULL,
    attempt            BIGINT NOT NULL,
    tries              BIGINT NOT NULL,
    digest             TEXT NOT NULL,
    size               BIGINT NOT NULL,
    received_at        BIGINT NOT NULL,
    created_at         BIGINT NOT NULL,
    started_at         BIGINT NOT NULL,
    finished_at        BIGINT NOT NULL,
    stages             TEXT NOT NULL, -- JSON
    FOREIGN KEY (provider_id, repository_id) REFERENCES repositories (provider_id, id)
);
CREATE UNIQUE INDEX builds_transition ON builds (automated_build_id, rule_id, provider_id, repository_id, ref_kind, ref_name, seq)
    WHERE cause IN ('push', 'reconcile');
CREATE UNIQUE INDEX builds_cause_key ON builds (cause, cause_key, automated_build_id, rule_id)
    WHERE cause_key <> '';
CREATE INDEX builds_automated_build ON builds (automated_build_id, number);
CREATE INDEX builds_delivery ON builds (delivery_id, number) WHERE delivery_id <> '';
CREATE INDEX builds_state ON builds (state, automated_build_id);

CREATE TABLE attempts (
    build_id     TEXT NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
    number       BIGINT NOT NULL,
    engine       TEXT NOT NULL,
    engine_ref   TEXT NOT NULL,
    token_hash   TEXT NOT NULL,
    state        TEXT NOT NULL,
    reason       TEXT NOT NULL,
    detail       TEXT NOT NULL,
    runner_id    TEXT NOT NULL,
    digest       TEXT NOT NULL,
    event_seq    BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    claimed_at   BIGINT NOT NULL,
    heartbeat_at BIGINT NOT NULL,
    deadline     BIGINT NOT NULL,
    finished_at  BIGINT NOT NULL,
    PRIMARY KEY (build_id, number)
);
CREATE INDEX attempts_active ON attempts (engine, state) WHERE finished_at = 0;

-- One row for each ref that ever moved a tag: the newest of its transitions that did.
CREATE TABLE permits (
    image         TEXT NOT NULL,
    tag           TEXT NOT NULL,
    provider_id   TEXT NOT NULL,
    repository_id TEXT NOT NULL,
    ref_kind      TEXT NOT NULL,
    ref_name      TEXT NOT NULL,
    seq           BIGINT NOT NULL,
    build_id      TEXT NOT NULL,
    attempt       BIGINT NOT NULL,
    granted_at    BIGINT NOT NULL,
    PRIMARY KEY (image, tag, provider_id, repository_id, ref_kind, ref_name)
);

CREATE TABLE reports (
    build_id    TEXT PRIMARY KEY REFERENCES builds (id) ON DELETE CASCADE,
    attempt     BIGINT NOT NULL,
    state       TEXT NOT NULL,
    problem     TEXT NOT NULL,
    reported_at BIGINT NOT NULL
);
