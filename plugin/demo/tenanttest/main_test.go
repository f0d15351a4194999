// Package tenanttest checks that two tenants of a gateway cannot reach each other's data: by routes,
// tokens, logs and files, on each engine and both databases, and by builds at the same time.
package tenanttest

import (
	"testing"

	"slipway/plugin/demo/demotest"
	"slipway/plugin/store/storetest"
)

func TestMain(m *testing.M) { demotest.Main(demotest.Isolated{Tests: withPostgres{m}}) }

// withPostgres runs the tests with a PostgreSQL server, if one is installed.
type withPostgres struct{ m *testing.M }

func (b withPostgres) Run() int { return storetest.RunBesidePostgres(b.m) }
