// Package tenanttest tries everything that one of two tenants of a gateway has from the side of
// the other one: routes, tokens, logs and files, on each engine and both databases.
package tenanttest

import (
	"testing"

	"slipway/plugin/demo/demotest"
	"slipway/plugin/store/storetest"
)

func TestMain(m *testing.M) { demotest.Main(besidePostgres{m}) }

// besidePostgres runs the tests beside a PostgreSQL server, where one is installed.
type besidePostgres struct{ m *testing.M }

func (b besidePostgres) Run() int { return storetest.RunBesidePostgres(b.m) }
