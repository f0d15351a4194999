-- What polls found and did not act on.

-- +goose Up

-- gap_at: when the ref last moved to a head that no delivery reported in order; 0 = never.
ALTER TABLE refs ADD COLUMN gap_at BIGINT NOT NULL DEFAULT 0;

-- listing_problem: the last list of refs was suspicious, e.g. empty; '' = it was not.
ALTER TABLE hooks ADD COLUMN listing_problem TEXT NOT NULL DEFAULT '';

-- A ref that a poll found again, after its deletion, at a commit that the rule built for it before. The
-- rule did not build it again. A row goes when the ref moves, or when somebody starts the build.
CREATE TABLE reappeared_refs (
    automated_build_id TEXT NOT NULL REFERENCES automated_builds (id) ON DELETE CASCADE,
    rule_id            TEXT NOT NULL,
    ref_kind           TEXT NOT NULL,
    ref_name           TEXT NOT NULL,
    commit_hash        TEXT NOT NULL,
    build_number       BIGINT NOT NULL, -- of the newest earlier build
    found_at           BIGINT NOT NULL,
    PRIMARY KEY (automated_build_id, rule_id, ref_kind, ref_name)
);
