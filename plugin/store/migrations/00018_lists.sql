-- A list of automated builds reads only the page that it shows, in the order of the repositories. Automated
-- builds are found by their image, and webhooks by their account.

-- +goose Up

CREATE INDEX repositories_name ON repositories (full_name, provider_id, id);
CREATE INDEX automated_builds_image ON automated_builds (image);
CREATE INDEX hooks_account ON hooks (account_id);
