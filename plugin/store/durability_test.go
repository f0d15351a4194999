package store_test

import (
	"strings"
	"testing"

	logrustest "github.com/sirupsen/logrus/hooks/test"

	"slipway/config/must"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
)

// A pooler may drop the gateway's request that commits wait for the disk.
func TestAServerThatDoesNotWaitForItsDiskIsRefused(t *testing.T) {
	address := storetest.PostgresAddress(t)
	for _, commit := range []string{"on", "local", "remote_apply"} {
		log, _ := logrustest.NewNullLogger()
		if err := store.CheckDurability(t.Context(), address, commit, log); err != nil {
			t.Errorf("synchronous_commit=%s: got %v, want no error", commit, err)
		}
	}
	log, _ := logrustest.NewNullLogger()
	err := store.CheckDurability(t.Context(), address, "off", log)
	if err == nil || !strings.Contains(err.Error(), "synchronous_commit is off") {
		t.Errorf("synchronous_commit=off: got %v, want an error that names it", err)
	}
}

// PostgreSQL of the tests has fsync=off.
func TestAServerWithoutSyncsIsNamedInTheLog(t *testing.T) {
	log, hook := logrustest.NewNullLogger()
	must.Succeed(t, store.CheckDurability(t.Context(), storetest.PostgresAddress(t), "on", log))
	var got []string
	for _, e := range hook.AllEntries() {
		got = append(got, e.Message)
	}
	if len(got) != 1 || !strings.Contains(got[0], "set fsync = on") {
		t.Errorf("warnings: got %q, want one about fsync", got)
	}
}

// Doctor reads the settings beside a gateway. SQLite has none.
func TestDurabilityIsReadBesideAGateway(t *testing.T) {
	note, err := storetest.Open(t).CheckDurability(t.Context())
	if note != "" || err != nil {
		t.Errorf("SQLite: got note %q and error %v, want neither", note, err)
	}
	_, err = storetest.OpenPostgres(t).CheckDurability(t.Context())
	if err == nil || !strings.Contains(err.Error(), "set fsync = on in postgresql.conf") {
		t.Errorf("PostgreSQL with fsync=off: got error %v, want one that names it", err)
	}
}

func TestSettingsThatLoseCommitsAreNamed(t *testing.T) {
	for _, c := range []struct{ commit, sync, fullPages, want string }{
		{"on", "on", "on", ""},
		{"local", "on", "on", ""},
		{"off", "on", "on", "synchronous_commit is off"},
		{"on", "off", "on", "set fsync = on in"},
		{"on", "on", "off", "set full_page_writes = on in"},
		{"on", "off", "off", "set fsync = on and full_page_writes = on in"},
	} {
		err := store.CheckSettings(c.commit, c.sync, c.fullPages)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("settings %+v: got error %v", c, err)
		}
	}
}
