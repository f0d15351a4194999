package rekey_test

import (
	"os"
	"testing"

	"slipway/config/secret"
	"slipway/plugin/store/storetest"
)

// S1: a run that is killed before or after any of its steps is completed by the next one. The long test
// (SLIPWAY_TRUST=1) kills at each step.
func TestS1RekeyIsKilledAtEachStep(t *testing.T) {
	for _, c := range []struct {
		name     string
		database func(t *testing.T) secret.Secret
	}{
		{"SQLite", func(*testing.T) secret.Secret { return secret.Secret{} }},
		{"PostgreSQL", func(t *testing.T) secret.Secret { return storetest.NewestPostgres(t) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			at, kills := 1, 0
			const afterTheChange = 4 // add the key and use it: before and after each
			if os.Getenv("SLIPWAY_TRUST") != "1" {
				at = afterTheChange
			}
			for ; killAt(t, newEnv(t, c.database(t), 1), at); at++ {
				kills++
				if os.Getenv("SLIPWAY_TRUST") != "1" {
					break
				}
			}
			if kills == 0 {
				t.Error("kills: got none, want one at each step")
			}
			t.Logf("%d kills, each continued", kills)
		})
	}
}

// killAt kills a run at a step, and checks that the next run completes it. It returns false if the
// run has fewer steps.
func killAt(t *testing.T, e *env, at int) bool {
	t.Helper()
	printed, killed, err := e.run(t, at)
	if !killed {
		if err != nil {
			t.Fatalf("run: got error %v, want none:\n%s", err, printed)
		}
		return false
	}
	if printed, _, err := e.run(t, 0); err != nil {
		t.Fatalf("run after a kill at step %d: got error %v, want none:\n%s", at, err, printed)
	}
	if check := e.check(t); check.Key != 2 || check.Old() != 0 || len(check.Broken) > 0 {
		t.Errorf("values after a kill at step %d: got %+v, want all with key 2", at, check)
	}
	return true
}
