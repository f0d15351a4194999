package crashtest

import (
	"path/filepath"
	"strings"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
)

// F25: a backup that was made during a build is restored after further pushes. The gateway builds what the backup
// lacks. It moves no tag back, and no status.
func TestF25AnOldBackupIsRestored(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o localenv.Options) {
		env := demotest.StartSignedIn(t, o)
		p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
		push := func(greeting string) string {
			commit := p.Commit(greeting, env.Dockerfile(greeting))
			p.Push("main")
			return commit
		}
		push("first")
		p.WaitEnd(1, autobuild.Succeeded)
		during := push("during")
		file := filepath.Join(t.TempDir(), "slipway.backup")
		run(env, "backup", file)
		p.WaitEnd(2, autobuild.Succeeded)
		newest := push("after")
		p.CheckImage("latest", p.WaitEnd(3, autobuild.Succeeded), "after")
		before := len(p.Repository.StatusHistory(during))

		env.Gateway.Stop()
		if printed, err := env.Gateway.Command(env.Context, "restore", file); err == nil {
			t.Errorf("restore over an installation: got no error, want one: %s", printed)
		}
		run(env, "restore", "--replace", file)
		env.Must(env.Gateway.Start(env.Context))

		builds, err := p.Wait(env.Context, 2, func(all []autobuild.Build) bool {
			return all[0].Commit.Hash == newest && localenv.AllFinal(all)
		})
		env.Must(err)
		if builds[0].Cause != autobuild.CauseReconcile || builds[0].State != autobuild.Succeeded {
			t.Errorf("build of the push after the backup: got %+v, want it found and built", builds[0])
		}
		p.CheckImage("latest", builds[0], "after")
		for _, b := range builds {
			if b.Commit.Hash == during && b.State == autobuild.Cancelled && b.Reason != autobuild.ReasonRestored {
				t.Errorf("build during the backup: got reason %s, want %s", b.Reason, autobuild.ReasonRestored)
			}
			if b.Commit.Hash == during && b.State != autobuild.Cancelled && b.State != autobuild.Succeeded {
				t.Errorf("build during the backup: got state %s, want succeeded or cancelled", b.State)
			}
		}
		if history := p.Repository.StatusHistory(during); len(history) != before {
			t.Errorf("statuses of the build during the backup: got %+v, want none after the restore", history[before:])
		}
		push("next")
		p.CheckImage("latest", p.WaitNewest(len(builds)+1, autobuild.Succeeded), "next")
	})
}

// run runs a command of the gateway's installation.
func run(env *demotest.Env, args ...string) {
	env.T.Helper()
	printed, err := env.Gateway.Command(env.Context, args...)
	if err != nil {
		env.T.Fatalf("slipway %s: %v: %s", strings.Join(args, " "), err, printed)
	}
}
