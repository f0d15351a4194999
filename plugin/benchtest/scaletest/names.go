package main

import (
	"fmt"
	"time"

	"slipway/config/secret"
)

// Ids of rows. The ones of builds and deliveries are scattered, as random ones are, so that neighbors in time are
// not neighbors in an index.
const (
	providerID = "bench-provider"
	accountID  = "bench-account"
	registryID = "bench-registry"
	closedPort = "http://127.0.0.1:9" // nothing answers there
	ruleID     = "rule-1"
	scattered  = `CAST(10000000000 + (%s * 2654435761) %% 4294967296 AS TEXT) || 'benchbenchbench'`
)

func automatedID(n int) string  { return fmt.Sprintf("a%025d", 1_000_000+n) }
func repositoryID(n int) string { return fmt.Sprintf("{%036d}", 1_000_000+n) }
func hookID(n int) string       { return fmt.Sprintf("h%025d", 1_000_000+n) }
func userID(n int) string       { return fmt.Sprintf("u%025d", 1_000_000+n) }
func fullName(n int) string     { return fmt.Sprintf("team-%03d/app-%05d", n/100, n) }
func image(n int) string        { return "registry.example.com/" + fullName(n) }

// scatter returns the SQL expression of the id of a build ('b') or delivery ('d') by its number.
func scatter(prefix, number string) string { return fmt.Sprintf(`'%s' || `+scattered, prefix, number) }

// idOf is scatter for a number.
func idOf(prefix string, number int) string {
	return fmt.Sprintf("%s%dbenchbenchbench", prefix, 10000000000+(int64(number)*2654435761)%4294967296)
}

// A history is the time of the rows.
type history struct {
	now  time.Time
	days int // before now, over which the rows are spread
}

// viewers are the people whose requests are measured, by the value of their session's cookie.
func viewers() map[string]secret.Secret {
	return map[string]secret.Secret{
		administrator: secret.New("bench-session-of-the-administrator"),
		readerOfAll:   secret.New("bench-session-of-a-reader-of-all"),
		readerOfFew:   secret.New("bench-session-of-a-reader-of-few"),
	}
}

// Viewers.
const (
	administrator = "administrator"
	readerOfAll   = "reader of all"
	readerOfFew   = "reader of 10"
	fewRepos      = 10
)
