-- The switch of an automated build that turns its build hooks off.

-- +goose Up

ALTER TABLE automated_builds ADD COLUMN hooks_off BOOLEAN NOT NULL DEFAULT FALSE;
