package plugin

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"slipway/config"
	"slipway/config/discard"
	"slipway/plugin/autobuild"
	"slipway/plugin/store/storetest"
)

// Old logs are removed, also if their build stays listed. Logs of builds that have not ended stay.
func TestOldLogsAreRemoved(t *testing.T) {
	l := listen(t)
	c, err := config.LoadGateway(settingsOf(t, l))
	if err != nil {
		t.Fatal(err)
	}
	g, err := New(t.Context(), Options{Config: c, Listener: l, Log: discard.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	a := storetest.AutomatedBuild(t, g.store, storetest.Repository("app"))
	over, _ := storetest.Started(t, g.store, a, "", storetest.Commit(1))
	running, _ := storetest.Started(t, g.store, a, storetest.Commit(1), storetest.Commit(2))
	if _, err := g.store.CancelBuild(t.Context(), over.ID, autobuild.ReasonUser, "no"); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{over.ID, running.ID, "forgotten"} {
		if _, err := g.logs.Append(t.Context(), id, 1, 0, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		before time.Time
		want   []string
	}{
		{time.Now().Add(-time.Hour), []string{over.ID, running.ID}},
		{time.Now().Add(time.Hour), []string{running.ID}},
	} {
		if err := g.prune(t.Context(), step.before); err != nil {
			t.Fatal(err)
		}
		slices.Sort(step.want)
		if got := logsIn(t, c.Data); !slices.Equal(got, step.want) {
			t.Errorf("builds with a log: got %v, want %v", got, step.want)
		}
	}
	if _, err := g.store.Build(t.Context(), over.ID); err != nil {
		t.Errorf("read the build whose log was pruned: %v", err)
	}
}

func logsIn(t *testing.T, data string) (builds []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(data, "logs"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		builds = append(builds, e.Name())
	}
	return builds
}
