package crashtest

import (
	"os"
	"slices"
	"strings"
	"testing"

	"slipway/plugin/demo/demotest"
	"slipway/plugin/store/storetest"
)

// unanswered are the commits whose answers are lost: in the long form all on a push's way, but
// those that are single statements.
func unanswered() []string {
	if os.Getenv("SLIPWAY_TRUST") == "" {
		return []string{"store deliveries", "plan delivery", "start attempt", "finish attempt"}
	}
	return slices.DeleteFunc(onTheWay(), func(what string) bool { return strings.HasPrefix(what, "complete") })
}

// F7: PostgreSQL does what a commit of a push's way asks for, and the gateway does not hear of
// it. The push is built once all the same.
func TestF7CommitsOfAPushWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	s := demotest.NewSentence(t)
	o := onPostgres(t, s.Environment(), "SLIPWAY_CONCURRENCY=20", "SLIPWAY_POLL_INTERVAL=5s")
	o.Database = storetest.Losing(t, o.Database, s.Fate)
	env := demotest.StartSignedIn(t, o)
	p := env.Automate(env.Dockerfile("x"), demotest.VersionRule())
	var pushed []version
	for i, what := range unanswered() {
		// Two attempts: of one whose start goes unanswered nobody has the token.
		v := version{number: i, when: demotest.Unanswered, where: what, attempts: 2}
		pushed = append(pushed, v.push(env.For(t), s, p))
	}
	builtOnce(t, env, p, pushed, (*demotest.Project).CheckOneSuccess) // to tell an end again is no other end
}
