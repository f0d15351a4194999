-- What is asked at each scrape of the metrics: which deliveries nobody planned, and which
-- statuses Bitbucket did not take.
-- retried_at: when a person last asked for a retry of the build; 0 = never.

-- +goose Up

CREATE INDEX deliveries_unplanned ON deliveries (received_at, id) WHERE planned_at = 0;
CREATE INDEX reports_refused ON reports (reported_at) WHERE problem <> '';
ALTER TABLE builds ADD COLUMN retried_at BIGINT NOT NULL DEFAULT 0;
