package planner_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/webhook/webhooktest"
)

// I6: our payloads and a true push, signed and each with one place deleted, made null or of
// another type: every one is answered, none is tried for ever, and every answer says why. Of the
// 50,000 every 401st is tried, with SLIPWAY_TRUST every eleventh.
func TestI6EveryMutationOfAPayloadIsAnsweredWithAReason(t *testing.T) {
	every := 401
	if os.Getenv("SLIPWAY_TRUST") != "" {
		every = 11
	}
	cloud, dataCenter := newTown(t), newTown(t)
	asDataCenter(dataCenter)
	m := mutations{t: t, answers: map[autobuild.DeliveryState]int{}}
	for i, flavour := range []string{"cloud", "datacenter"} {
		w := []*town{cloud, dataCenter}[i]
		w.automate("r/app", branchRule("/.*/", "latest"), tagRule("/.*/", "{sourceref}"))
		files, err := filepath.Glob(filepath.Join("../../testdata/webhooks", flavour, "*.json"))
		must(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			must(t, err)
			event, _, _ := strings.Cut(filepath.Base(file), "--")
			// The repository is the hook's, so that the rest of the payload decides.
			own := strings.ReplaceAll(string(text), "{7f3f1d0c-52ab-4c5e-9f0e-0d5a3b8c1e11}", w.repo.ID)
			m.try(w, strings.ReplaceAll(event, ".", ":"), []byte(own), every)
		}
	}
	cloud.commit("main", "A")
	m.try(cloud, "repo:push", cloud.bodies()[0], max(1, every/10))
	t.Logf("%d of %d mutations: %v", m.tried, m.all, m.answers)
	for _, state := range []autobuild.DeliveryState{autobuild.DeliveryPlanned, autobuild.DeliveryFailed, autobuild.DeliveryIgnored, autobuild.DeliveryRefused} {
		if m.answers[state] == 0 {
			t.Errorf("of %d mutations none is %s", m.tried, state)
		}
	}
}

// mutations delivers payloads with one place changed, and counts what comes of them.
type mutations struct {
	t          *testing.T
	all, tried int
	answers    map[autobuild.DeliveryState]int
}

func (m *mutations) try(w *town, event string, body []byte, every int) {
	var whole any
	must(m.t, json.Unmarshal(body, &whole))
	webhooktest.Mutate(whole, nil, func() {
		if m.all++; m.all%every != 0 {
			return
		}
		m.tried++
		body, err := json.Marshal(whole)
		must(m.t, err)
		id := w.receive(w.hook, event, body)
		if err := w.Deliver(m.t.Context(), id); err != nil {
			m.t.Errorf("%s: %v\n%s", event, err, body)
		}
		d := w.delivery(id)
		m.answers[d.State]++
		if d.State == autobuild.DeliveryReceived || d.Reason == "" || len(d.Reason) > 4<<10 {
			m.t.Errorf("%s: %s: %q\n%s", event, d.State, d.Reason, body)
		}
	})
}

// asDataCenter makes a town's webhook one of a Data Center, whose payloads have another form, and
// whose repositories have numbers; that of ours is 84.
func asDataCenter(w *town) {
	w.t.Helper()
	all, err := w.store.Providers(w.t.Context())
	must(w.t, err)
	all[0].Kind = autobuild.DataCenter
	_, err = w.store.SaveProvider(w.t.Context(), all[0])
	must(w.t, err)
	w.repo.ID = "84"
	w.hook.ID, w.hook.Repository = "", w.repo
	w.hook, err = w.store.SaveHook(w.t.Context(), w.hook)
	must(w.t, err)
}
