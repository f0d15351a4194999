package reconciler_test

import (
	"testing"

	"slipway/plugin/planner/plannertest"
)

// env is a Bitbucket with the repository acme/app, and a reconciler that is linked to it.
type env struct{ *plannertest.Env }

func newEnv(t *testing.T) *env {
	t.Helper()
	return &env{plannertest.New(t)}
}
