package planner_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/webhook/webhooktest"
	"slipway/plugin/planner/plannertest"
)

// I6: Each mutation of our sample payloads and of a real push deletes one value, sets it to null
// or changes its type. The planner answers each mutation with a reason and retries none forever.
// The test tries every 401st of 50,000 mutations, and every 11th with SLIPWAY_TRUST=1.
func TestI6EveryMutationOfAPayloadIsAnsweredWithAReason(t *testing.T) {
	every := 401
	if os.Getenv("SLIPWAY_TRUST") != "" {
		every = 11
	}
	cloud, dataCenter := plannertest.New(t), plannertest.New(t)
	asDataCenter(dataCenter)
	m := mutations{t: t, answers: map[autobuild.DeliveryState]int{}}
	for i, flavor := range []string{"cloud", "datacenter"} {
		w := []*plannertest.Env{cloud, dataCenter}[i]
		w.Automate("r/app", plannertest.BranchRule("/.*/", "latest"), plannertest.TagRule("/.*/", "{sourceref}"))
		files, err := filepath.Glob(filepath.Join("../../testdata/webhooks", flavor, "*.json"))
		must.Succeed(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			must.Succeed(t, err)
			event, _, _ := strings.Cut(filepath.Base(file), "--")
			// Use the hook's repository, so that the planner reads the rest of the payload.
			own := strings.ReplaceAll(string(text), "{7f3f1d0c-52ab-4c5e-9f0e-0d5a3b8c1e11}", w.Repo.ID)
			m.try(w, strings.ReplaceAll(event, ".", ":"), []byte(own), every)
		}
	}
	cloud.Commit("main", "A")
	m.try(cloud, "repo:push", cloud.Bodies()[0], max(1, every/10))
	t.Logf("%d of %d mutations: %v", m.tried, m.all, m.answers)
	for _, state := range []autobuild.DeliveryState{autobuild.DeliveryPlanned, autobuild.DeliveryFailed,
		autobuild.DeliveryIgnored, autobuild.DeliveryRefused} {
		if m.answers[state] == 0 {
			t.Errorf("%d mutations: got none that is %s, want at least 1", m.tried, state)
		}
	}
}

// mutations delivers payloads with one changed value, and counts the resulting states.
type mutations struct {
	t          *testing.T
	all, tried int
	answers    map[autobuild.DeliveryState]int
}

func (m *mutations) try(w *plannertest.Env, event string, body []byte, every int) {
	var whole any
	must.Succeed(m.t, json.Unmarshal(body, &whole))
	webhooktest.Mutate(whole, nil, func() {
		m.all++
		if m.all%every != 0 {
			return
		}
		m.tried++
		body, err := json.Marshal(whole)
		must.Succeed(m.t, err)
		id := w.Receive(w.Hook, event, body)
		if err := w.Deliver(m.t.Context(), id); err != nil {
			m.t.Errorf("%s: %v\n%s", event, err, body)
		}
		d := w.Delivery(id)
		m.answers[d.State]++
		if d.State == autobuild.DeliveryReceived {
			m.t.Errorf("%s: got no result of the delivery, want one\n%s", event, body)
		}
		if n := len(d.Reason); n == 0 || n > 4<<10 {
			m.t.Errorf("%s: got a reason of %d bytes, want 1 to 4096: %q\n%s", event, n, d.Reason, body)
		}
	})
}

// asDataCenter changes the webhook to one of a Bitbucket Data Center, which has other payloads
// and numeric repository ids. The repository gets the id 84.
func asDataCenter(w *plannertest.Env) {
	w.T.Helper()
	all, err := w.Store.Providers(w.T.Context())
	must.Succeed(w.T, err)
	all[0].Kind = autobuild.DataCenter
	_, err = w.Store.SaveProvider(w.T.Context(), all[0])
	must.Succeed(w.T, err)
	w.Repo.ID = "84"
	w.Hook.ID, w.Hook.Repository = "", w.Repo
	w.Hook, err = w.Store.SaveHook(w.T.Context(), w.Hook)
	must.Succeed(w.T, err)
}
