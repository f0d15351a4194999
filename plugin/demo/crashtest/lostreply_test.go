package crashtest

import (
	"slices"
	"strings"
	"testing"

	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/failpoint"
	"slipway/plugin/store/storetest"
)

// commitsWithLostReply returns the commits whose replies are lost. The long form takes all commits
// of a push, except those that are single statements.
func commitsWithLostReply() []string {
	if !isLong() {
		return []string{"store deliveries", "plan delivery", "start attempt", "finish attempt"}
	}
	return slices.DeleteFunc(pushCommits(), func(name string) bool { return strings.HasPrefix(name, "complete") })
}

// F7: PostgreSQL commits a transaction of a push, but the gateway does not receive the reply. The
// push is still built once.
func TestF7CommitsOfAPushWithALostReply(t *testing.T) {
	t.Parallel()
	point := failpoint.New(t.TempDir())
	o := onPostgres(t, point.Environment(), "SLIPWAY_CONCURRENCY=20", "SLIPWAY_POLL_INTERVAL=5s")
	o.Database = storetest.Losing(t, o.Database, point.LoseReply)
	env := demotest.StartSignedIn(t, o)
	p := env.Automate(env.Dockerfile("x"), demotest.VersionRule())
	var pushed []version
	for i, operation := range commitsWithLostReply() {
		// If the reply to "start attempt" is lost, no runner has the token: a second attempt follows.
		v := version{number: i, crash: crash{failpoint.LoseReply, operation}, maxAttempts: 2}
		pushed = append(pushed, v.push(env.For(t), point, p))
	}
	checkBuiltOnce(t, env, p, pushed, (*demotest.Project).CheckOneSuccess) // the end may be reported twice
}
