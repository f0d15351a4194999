-- extra_tags: the tags that a build was permitted to move beyond those of its rule, and what its
-- runner reported of each (JSON).

-- +goose Up

ALTER TABLE builds ADD COLUMN extra_tags TEXT NOT NULL DEFAULT 'null';
