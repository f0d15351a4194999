package tenanttest

import (
	"maps"
	"slices"
	"testing"

	"slipway/plugin/demo/demotest"
)

// A surface is a way in which a tenant could reach another tenant's data. It is tested in both
// directions.
type surface struct {
	name string
	try  func(e *env, from, to *tenant)
}

func surfaces() []surface {
	return []surface{
		{"own things at the same routes", routesOwn},
		{"routes with a session", routesBySession},
		{"tokens at the other's routes", tokensElsewhere},
		{"git of the other's build", gitElsewhere},
		{"tokens as a session", tokensAsSession},
		{"tokens at Bitbucket and the registry", tokensAtProvider},
		{"logs of builds", buildLogs},
		{"log of the gateway", gatewayLog},
		{"files and processes", files},
	}
}

// TestTwoTenants tests every surface on each engine and both databases.
func TestTwoTenants(t *testing.T) {
	demotest.RequireTools(t)
	for _, engine := range slices.Sorted(maps.Keys(engines())) {
		for _, database := range []string{"SQLite", "PostgreSQL"} {
			t.Run(engine+" on "+database, func(t *testing.T) {
				t.Parallel()
				e := open(t, engine, database)
				for _, s := range surfaces() {
					for i, from := range e.tenants {
						to := e.tenants[1-i]
						t.Run(s.name+" from "+from.person.Name, func(t *testing.T) { s.try(e.part(t), from, to) })
					}
				}
				e.alive()
			})
		}
	}
}

// part returns a copy of the env that reports failures to the subtest t.
func (e *env) part(t *testing.T) *env {
	one := *e
	one.Env = e.For(t)
	return &one
}
