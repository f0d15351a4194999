package tenanttest

import (
	"os"
	"strings"

	"slipway/config/secret"
)

func secretOf(text string) secret.Secret { return secret.New(text) }

// buildLogs: the log of one tenant's build contains no data of the other tenant.
func buildLogs(e *env, from, to *tenant) {
	log, err := e.Browser.Log(e.Context, from.build, 1, 0)
	e.Must(err)
	if !strings.Contains(log, from.logged) {
		e.T.Errorf("log of %s: got %.500s, want the output of the build", from.person.Name, log)
	}
	e.hides(to, "the log of "+from.person.Name, log)
}

// gatewayLog: the gateway's log may name repositories, but has no secret and no line of a build.
func gatewayLog(e *env, from, _ *tenant) {
	text, err := os.ReadFile(e.Gateway.LogFile())
	e.Must(err)
	if len(text) == 0 {
		e.T.Fatal("gateway's log: got none, want one")
	}
	for kind, token := range from.tokens() {
		if strings.Contains(string(text), token) {
			e.T.Errorf("gateway's log: got the %s of %s, want none", kind, from.person.Name)
		}
	}
	for _, kind := range []string{"secret", "log line"} {
		if strings.Contains(string(text), from.canaries[kind]) {
			e.T.Errorf("gateway's log: got the %s of %s, want none", kind, from.person.Name)
		}
	}
}
