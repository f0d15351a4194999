package demotest

import "slipway/plugin/demo/failpoint"

// RunnerFailpoint returns a disabled failpoint for the embedded runners of first attempts.
func (env *Env) RunnerFailpoint() failpoint.Point {
	env.T.Helper()
	point, err := failpoint.NewForRunners(env.Dir)
	env.Must(err)
	return point
}
