-- The index of due tasks has further columns, so that PRAGMA integrity_check of SQLite compares them with those of
-- the table. All of them change only together with due_at, so this costs no further page.

-- +goose Up

DROP INDEX tasks_due;
CREATE INDEX tasks_due ON tasks (kind, due_at, id, arg, state, attempt, created_at, gateway) WHERE state <> 'dead';
