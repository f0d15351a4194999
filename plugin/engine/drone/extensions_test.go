package drone_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/drone"
	"slipway/plugin/engine/drone/dronetest"
	"slipway/plugin/engine/pipeline"
)

// A visit is a request to an extension, as the real server makes it until it is changed.
type visit struct {
	kind   string
	body   []byte
	key    string
	at     time.Time
	accept string
}

// visitOf is one about a build of a repository of its own that was just started, as Drone
// tells of it.
func (b *bench) visitOf(t *testing.T, kind, repository string) visit {
	t.Helper()
	a := b.startedOf(t, strings.ReplaceAll(repository, " ", "-"))
	r := b.server.Repository("acme/builder")
	all := b.server.Builds(r)
	body := map[string]any{
		"build": all[len(all)-1], "repo": r.Repo, "token": map[string]string{"access": "forge-access"}, "event": "build", "action": "updated",
		"path": "slipway", "name": "runner_token",
	}
	if a.EngineRef != fmt.Sprintf("acme/builder#%d", len(all)) {
		t.Fatalf("started %s", a.EngineRef)
	}
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	accept := ""
	if kind != "webhook" {
		accept = "application/vnd.drone." + kind + ".v1+json"
	}
	return visit{kind: kind, body: text, key: secrets()[kind].Reveal(), at: time.Now(), accept: accept}
}

// request signs it.
func (v visit) request(t testing.TB, gateway string) *http.Request {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, gateway+"/extensions/drone/"+v.kind, bytes.NewReader(v.body))
	if err != nil {
		t.Fatal(err)
	}
	if v.accept != "" {
		req.Header.Set("Accept", v.accept)
		req.Header.Set("Accept-Encoding", "identity")
	}
	dronetest.Sign(req, v.body, v.key, v.at)
	return req
}

func send(t testing.TB, req *http.Request) (status int, body string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// quiet is a bench whose server asks for configurations only, so that the rest is the test's.
func quiet(t *testing.T) *bench {
	b := newBench(t, drone.Options{Repository: "acme/builder"})
	b.server.AddRepository("acme/builder", "main")
	b.server.Hold()
	e := extensions(b.gateway, secrets())
	e.Webhook = dronetest.Extension{}
	b.server.SetExtensions(e)
	return b
}

// good is what each extension answers to a request that is as it must be.
func good(t *testing.T, kind string, status int, body string) {
	t.Helper()
	want := map[string]string{"config": "kind: pipeline", "secret": `"data":"`, "webhook": ""}[kind]
	if wantStatus := map[string]int{"config": 200, "secret": 200, "webhook": 204}[kind]; status != wantStatus || !strings.Contains(body, want) {
		t.Errorf("%s answered %d %s", kind, status, body)
	}
}

// Each hole of drone-go's own handlers, at each extension.
func TestARequestThatIsNotSignedAsItMustBeIsRefused(t *testing.T) {
	headers := func(names ...string) func(*http.Request, visit) {
		return func(r *http.Request, v visit) { dronetest.SignHeaders(r, v.key, names...) }
	}
	for name, c := range map[string]struct {
		change func(*visit)
		after  func(*http.Request, visit)
		status int
		says   string
	}{
		"body changed":           {after: func(r *http.Request, _ visit) { setBody(r, `{"event":"build"}`) }, status: 401, says: "header Digest is not the body's"},
		"an old one":             {change: func(v *visit) { v.at = v.at.Add(-6 * time.Minute) }, status: 401, says: "check both clocks"},
		"one of tomorrow":        {change: func(v *visit) { v.at = v.at.Add(24 * time.Hour) }, status: 401, says: "check both clocks"},
		"date alone is signed":   {after: headers("date"), status: 401, says: "does not cover digest"},
		"digest alone is signed": {after: headers("digest"), status: 401, says: "does not cover date"},
		"no header is signed":    {after: headers(), status: 401, says: "not of Drone's form"},
		"another extension's key": {change: func(v *visit) {
			v.key = secrets()[map[string]string{"config": "secret", "secret": "webhook", "webhook": "config"}[v.kind]].Reveal()
		}, status: 400, says: "invalid signature"},
		"an empty key":   {change: func(v *visit) { v.key = "" }, status: 400, says: "invalid signature"},
		"no signature":   {after: func(r *http.Request, _ visit) { r.Header.Del("Signature") }, status: 401, says: "header Signature is there 0 times"},
		"two signatures": {after: func(r *http.Request, _ visit) { r.Header.Add("Signature", r.Header.Get("Signature")) }, status: 401, says: "is there 2 times"},
		"two dates":      {after: func(r *http.Request, _ visit) { r.Header.Add("Date", time.Now().Format(http.TimeFormat)) }, status: 401, says: "header Date is there 2 times"},
		"two digests":    {after: func(r *http.Request, _ visit) { r.Header.Add("Digest", "SHA-256=x") }, status: 401, says: "header Digest is there 2 times"},
		"as authorization": {after: func(r *http.Request, _ visit) {
			r.Header.Set("Authorization", "Signature "+r.Header.Get("Signature"))
			r.Header.Del("Signature")
		}, status: 401, says: "is there 0 times"},
		"SHA-1":       {after: replaceSignature("hmac-sha256", "hmac-sha1"), status: 401, says: "not of Drone's form"},
		"a key twice": {after: replaceSignature(`keyId=`, `signature="x",keyId=`), status: 401, says: "not of Drone's form"},
		"no date": {after: func(r *http.Request, v visit) {
			r.Header.Set("Date", "soon")
			dronetest.SignHeaders(r, v.key, "date", "digest")
		}, status: 401, says: "header Date is no date"},
		"long":    {change: func(v *visit) { v.body = append(v.body, bytes.Repeat([]byte(" "), 1<<20)...) }, status: 413, says: "too large"},
		"no JSON": {change: func(v *visit) { v.body = []byte("{") }, status: 400, says: "invalid input"},
		"date replaced": {after: func(r *http.Request, _ visit) {
			r.Header.Set("Date", time.Now().Add(time.Minute).UTC().Format(http.TimeFormat))
		}, status: 400, says: "invalid signature"},
	} {
		t.Run(name, func(t *testing.T) {
			b := quiet(t)
			for _, kind := range []string{"config", "secret", "webhook"} {
				v := b.visitOf(t, kind, name+kind)
				unchanged := v
				if c.change != nil {
					c.change(&v)
				}
				req := v.request(t, b.gateway)
				if c.after != nil {
					c.after(req, v)
				}
				if status, body := send(t, req); status != c.status || strings.Contains(body, "kind:") || strings.Contains(body, `"data"`) {
					t.Errorf("%s answered %d %s, want %d", kind, status, body, c.status)
				}
				if got := b.finding(t, kind).Problem; !strings.Contains(got, c.says) {
					t.Errorf("%s says of it %q, want %q in it", kind, got, c.says)
				}
				status, body := send(t, unchanged.request(t, b.gateway))
				good(t, kind, status, body)
				if got := b.finding(t, kind); got.Problem != "" {
					t.Errorf("%s says of a good one %q", kind, got.Problem)
				}
			}
		})
	}
}

func setBody(r *http.Request, text string) {
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
}

func replaceSignature(from, to string) func(*http.Request, visit) {
	return func(r *http.Request, _ visit) {
		r.Header.Set("Signature", strings.Replace(r.Header.Get("Signature"), from, to, 1))
	}
}

// finding is what is told of one extension.
func (b *bench) finding(t testing.TB, kind string) pipeline.Finding {
	t.Helper()
	for _, f := range b.Inspect(t.Context()) {
		if f.Subject == kind+" extension" {
			return f
		}
	}
	t.Fatalf("nothing is told of %s", kind)
	return pipeline.Finding{}
}

func TestAClockThatIsMinutesOffIsTaken(t *testing.T) {
	b := quiet(t)
	for i, off := range []time.Duration{-4 * time.Minute, 4 * time.Minute} {
		v := b.visitOf(t, "config", fmt.Sprint("clock-", i))
		v.at = v.at.Add(off)
		status, body := send(t, v.request(t, b.gateway))
		good(t, v.kind, status, body)
	}
}

// What was overheard is of no use a second time, and a hint twice is one.
func TestAReplayIsRefused(t *testing.T) {
	b := quiet(t)
	for _, kind := range []string{"config", "secret"} {
		v := b.visitOf(t, kind, kind)
		status, body := send(t, v.request(t, b.gateway))
		good(t, kind, status, body)
		if status, body := send(t, v.request(t, b.gateway)); status != 404 || strings.TrimSpace(body) != "the gateway refused, its log says why" {
			t.Errorf("%s answered %d %s to the same again", kind, status, body)
		}
		if got := b.finding(t, kind).Problem; !strings.Contains(got, "the same signature came before") {
			t.Errorf("%s says of it %q", kind, got)
		}
		v.at = v.at.Add(time.Second)
		status, body = send(t, v.request(t, b.gateway))
		good(t, kind, status, body)
	}
	v := b.visitOf(t, "webhook", "webhook")
	for range 3 {
		status, body := send(t, v.request(t, b.gateway))
		good(t, "webhook", status, body)
	}
	if n := len(b.nudged); n != 1 {
		t.Errorf("%d hints, want 1", n)
	}
}

// Of many alike at once one counts.
func TestOneOfManyReplaysCounts(t *testing.T) {
	b := quiet(t)
	v := b.visitOf(t, "secret", "secret")
	var all sync.WaitGroup
	var mu sync.Mutex
	answers := map[int]int{}
	for range 10 {
		req := v.request(t, b.gateway)
		all.Go(func() {
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			mu.Lock()
			defer mu.Unlock()
			answers[resp.StatusCode]++
		})
	}
	all.Wait()
	if !maps.Equal(answers, map[int]int{200: 1, 404: 9}) {
		t.Errorf("answered %v", answers)
	}
}

// Only our own builds get anything of ours.
func TestOthersGetNothingOfOurs(t *testing.T) {
	for name, c := range map[string]struct {
		old, new string
		secret   int
		config   int
	}{
		"a copy by another user":       {`"trigger":"slipway"`, `"trigger":"mallory"`, 404, 204},
		"a push with our parameters":   {`"event":"custom"`, `"event":"push"`, 404, 204},
		"a promotion":                  {`"event":"custom"`, `"event":"promote"`, 404, 204},
		"another nonce":                {`"SLIPWAY_NONCE":"`, `"SLIPWAY_NONCE":"x`, 404, 204},
		"another repository":           {`"name":"builder"`, `"name":"evil"`, 404, 204},
		"no parameters":                {`"SLIPWAY_BUILD"`, `"OTHER"`, 404, 204},
		"another secret's name":        {`"name":"runner_token"`, `"name":"password"`, 404, 200},
		"another secret's path":        {`"path":"slipway"`, `"path":"other"`, 404, 200},
		"one without a number":         {`"number":1`, `"number":0`, 404, 200},
		"one whose attempt is no more": {"", "", 404, 200},
	} {
		t.Run(name, func(t *testing.T) {
			b := quiet(t)
			for _, kind := range []string{"config", "secret"} {
				want := map[string]int{"config": c.config, "secret": c.secret}[kind]
				v := b.visitOf(t, kind, kind)
				if kind == "secret" {
					c.old = strings.ReplaceAll(c.old, `"number":1`, `"number":2`)
				}
				if c.old == "" {
					b.end(t, v)
				} else if !bytes.Contains(v.body, []byte(c.old)) {
					t.Fatalf("there is no %s in %s", c.old, v.body)
				} else {
					v.body = bytes.ReplaceAll(v.body, []byte(c.old), []byte(c.new))
				}
				if status, body := send(t, v.request(t, b.gateway)); status != want || status != 200 && strings.Contains(body, "runner_url") {
					t.Errorf("%s answered %d %s, want %d", kind, status, body, want)
				}
			}
			if log := b.log.String(); strings.Contains(log, "its-own-key") || strings.Contains(log, "forge-access") {
				t.Errorf("a body's secrets are in the log\n%s", log)
			}
		})
	}
}

// end cancels the build of a visit.
func (b *bench) end(t *testing.T, v visit) {
	t.Helper()
	var told struct {
		Build struct{ Params map[string]string }
	}
	if err := json.Unmarshal(v.body, &told); err != nil {
		t.Fatal(err)
	}
	if _, err := b.store.CancelBuild(t.Context(), told.Build.Params["SLIPWAY_BUILD"], autobuild.ReasonUser, ""); err != nil {
		t.Fatal(err)
	}
}

// What is no hint of ours is taken, and does nothing.
func TestWebhooksOfOthersDoNothing(t *testing.T) {
	b := quiet(t)
	for i, body := range []string{
		`{}`, `null`, `{"event":"build"}`, `{"event":"repo","action":"enabled","repo":{"name":"x"}}`, `{"event":"user","action":"created"}`,
		`{"event":"build","build":{"number":1}}`, `{"event":"build","build":{"number":1,"params":{"SLIPWAY_BUILD":"b"}}}`,
	} {
		v := visit{kind: "webhook", body: []byte(body), key: secrets()["webhook"].Reveal(), at: time.Now().Add(time.Duration(i) * time.Second)}
		if status, answer := send(t, v.request(t, b.gateway)); status != 204 {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
	if n := len(b.nudged); n != 0 {
		t.Errorf("%d hints", n)
	}
}

func TestOnlyPostsAreTaken(t *testing.T) {
	b := quiet(t)
	for _, method := range []string{"GET", "PUT", "HEAD", "OPTIONS"} {
		req, err := http.NewRequest(method, b.gateway+"/extensions/drone/config", nil)
		if err != nil {
			t.Fatal(err)
		}
		if status, _ := send(t, req); status != 405 {
			t.Errorf("%s answered %d", method, status)
		}
	}
}

// When our own side fails, whoever starts the build is told where to look.
func TestAFaultOfOursIsToldToWhoeverStartsTheBuild(t *testing.T) {
	b := newBench(t, drone.Options{Repository: "acme/builder", Handovers: broken{}})
	r := b.server.AddRepository("acme/builder", "main")
	_, err := b.server.Custom(r, "slipway", pipeline.Params{BuildID: "b1", Attempt: 1, Nonce: "n"}.Map())
	if err == nil || !strings.Contains(err.Error(), "the gateway refused, its log says why") {
		t.Errorf("the start of a build says %v", err)
	}
	if got := b.finding(t, "config").Problem; !strings.Contains(got, "disk full") {
		t.Errorf("the finding says %q", got)
	}
}

// broken is a gateway's memory that fails.
type broken struct{ pipeline.Handovers }

func (broken) AttemptByNonce(context.Context, string) (autobuild.Attempt, error) {
	return autobuild.Attempt{}, errors.New("disk full")
}

// A repository's own pipelines go on as if we were not there.
func TestPushesRunTheRepositorysOwn(t *testing.T) {
	b := newBench(t, drone.Options{})
	r := b.server.AddRepository("acme/app", "main")
	b.server.SetConfig(r, "kind: pipeline\ntype: exec\nname: own\nsteps:\n- name: a\n  commands: ['echo own $DRONE_COMMIT']")
	built, err := b.server.Push(r, "main", "cafe")
	if err != nil || built == nil {
		t.Fatalf("%v, %v", built, err)
	}
	b.over(t, r, 1)
	if log := b.server.Log(r, 1); !strings.Contains(log, "own cafe") {
		t.Errorf("it printed %s", log)
	}
}

func TestNewRefuses(t *testing.T) {
	valid := drone.Secrets{Config: secret.New("a"), Secret: secret.New("b"), Webhook: secret.New("c")}
	for name, c := range map[string]struct {
		change func(*drone.Options)
		says   string
	}{
		"no config secret":  {func(o *drone.Options) { o.Secrets.Config = secret.Secret{} }, "no secret"},
		"no secret secret":  {func(o *drone.Options) { o.Secrets.Secret = secret.Secret{} }, "no secret"},
		"no webhook secret": {func(o *drone.Options) { o.Secrets.Webhook = secret.Secret{} }, "no secret"},
		"one for two":       {func(o *drone.Options) { o.Secrets.Webhook = o.Secrets.Config }, "same secret"},
		"an unknown type":   {func(o *drone.Options) { o.Type = "ssh" }, "SLIPWAY_DRONE_TYPE"},
		"two words":         {func(o *drone.Options) { o.Type, o.Step.Image = drone.TypeExec, "slipway; rm" }, "SLIPWAY_DRONE_IMAGE"},
		"a flag":            {func(o *drone.Options) { o.Type, o.Step.Image = drone.TypeExec, "-c" }, "SLIPWAY_DRONE_IMAGE"},
		"a variable":        {func(o *drone.Options) { o.Type, o.Step.Image = drone.TypeExec, "$HOME/slipway" }, "SLIPWAY_DRONE_IMAGE"},
	} {
		o := drone.Options{Type: drone.TypeDocker, Secrets: valid, Log: logrus.New()}
		c.change(&o)
		if _, err := drone.New(o); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
