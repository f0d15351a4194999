// Package attacktest runs the attacks of testdata/attacks against a real gateway: from a pushed commit,
// with a pipeline token, or with a session cookie.
package attacktest

import (
	"testing"

	"slipway/plugin/demo/demotest"
	"slipway/plugin/store/storetest"
)

func TestMain(m *testing.M) { demotest.Main(withPostgres{m}) }

// withPostgres runs the tests with a PostgreSQL server, if one is installed.
type withPostgres struct{ m *testing.M }

func (b withPostgres) Run() int { return storetest.RunBesidePostgres(b.m) }
