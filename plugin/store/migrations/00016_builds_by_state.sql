-- A list of the newest builds of a state reads only the builds that it shows.

-- +goose Up

CREATE INDEX builds_state_number ON builds (state, number);
