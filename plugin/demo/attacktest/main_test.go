// Package attacktest tries the attacks of testdata/attacks on a real gateway, as an attacker
// would: from a pushed commit, with a pipeline token, or with a session cookie. It also tries
// everything that one of two tenants has from the side of the other one.
package attacktest

import (
	"testing"

	"slipway/plugin/demo/demotest"
	"slipway/plugin/store/storetest"
)

func TestMain(m *testing.M) { demotest.Main(besidePostgres{m}) }

// besidePostgres runs the tests beside a PostgreSQL server, where one is installed.
type besidePostgres struct{ m *testing.M }

func (b besidePostgres) Run() int { return storetest.RunBesidePostgres(b.m) }
