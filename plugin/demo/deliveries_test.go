package demo_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/demo/demotest"
)

// tenDeliveries: a push that is delivered ten times gives one build.
func tenDeliveries(env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	p.Commit("Once", env.Dockerfile("once"))
	p.Push("main")
	p.WaitEnd(1, autobuild.Succeeded)
	only := lastDelivery(env, p)
	for range 9 {
		env.Must(env.Bitbucket.Redeliver(only.RequestUUID))
	}
	waitPlanned(env, p, 10, autobuild.DeliveryPlanned, autobuild.DeliveryIgnored)
	p.WaitAll(1)
}

// invalidDeliveries: deliveries that are forged, unsigned, replayed, or about another repository than
// the webhook's, start no build (W2, W4, I3).
func invalidDeliveries(env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	p.Commit("True", env.Dockerfile("true"))
	p.Push("main")
	p.WaitEnd(1, autobuild.Succeeded)
	d := lastDelivery(env, p)
	key := hookOf(env, p).Secret
	other := env.For(env.T).Repository(env.Dockerfile("other"))
	_, err := other.Repository.AddHook(env.Gateway.URL+"/hooks/bitbucket/nobody", "", "repo:push")
	env.Must(err)
	other.Commit("Elsewhere", env.Dockerfile("elsewhere"))
	other.Push("main")
	elsewhere := lastDelivery(env, other)
	signature := d.Header.Get("X-Hub-Signature")
	forged := bytes.Replace(d.Body, []byte(`"main"`), []byte(`"evil"`), 1)

	for _, c := range []struct {
		name      string
		body      []byte
		signature string
		want      int
	}{
		{"forged", forged, signature, http.StatusUnauthorized},
		{"unsigned", d.Body, "", http.StatusUnauthorized},
		{"signed with an empty key", d.Body, sign(secret.New(""), d.Body), http.StatusUnauthorized},
		{"signature named SHA-1", d.Body, "sha1=" + signature[len("sha256="):], http.StatusUnauthorized},
		{"replayed", d.Body, signature, http.StatusAccepted},
		{"of another repository", elsewhere.Body, sign(key, elsewhere.Body), http.StatusAccepted},
	} {
		if got := post(env, d, c.body, c.signature); got != c.want {
			env.T.Errorf("%s: got status %d, want %d", c.name, got, c.want)
		}
	}
	if bytes.Equal(forged, d.Body) {
		env.T.Error("forged delivery: got a copy of the original, want another one")
	}
	deliveries := waitPlanned(env, p, 3,
		autobuild.DeliveryPlanned, autobuild.DeliveryIgnored, autobuild.DeliveryRefused)
	newest := deliveries[0] // of another repository
	if newest.State != autobuild.DeliveryRefused {
		env.T.Errorf("state: got %s (%s), want refused", newest.State, newest.Reason)
	}
	if newest.Reason == "" {
		env.T.Error("reason: got none, want one")
	}
	p.WaitAll(1)
	builds, err := other.Builds(env.Context)
	env.Must(err)
	if len(builds) != 0 {
		env.T.Errorf("builds of the other repository: got %d, want none", len(builds))
	}
}

// lastDelivery waits until Bitbucket has sent a delivery to a repository's webhook, and returns the
// last one.
func lastDelivery(env *demotest.Env, p *demotest.Project) bitbuckettest.Delivery {
	env.T.Helper()
	hook := p.Repository.Hooks()[0].UUID
	var d bitbuckettest.Delivery
	env.WaitUntil("a delivery was sent", func() (bool, error) {
		all := env.Bitbucket.Deliveries(hook)
		if len(all) == 0 {
			return false, nil
		}
		d = all[len(all)-1]
		return len(d.Attempts) > 0, nil
	})
	return d
}

// post sends a body with the headers of a delivery, but with another signature. It returns the status.
func post(env *demotest.Env, d bitbuckettest.Delivery, body []byte, signature string) int {
	env.T.Helper()
	req, err := http.NewRequestWithContext(env.Context, http.MethodPost, d.URL, bytes.NewReader(body))
	env.Must(err)
	req.Header = d.Header.Clone()
	req.Header.Del("X-Hub-Signature")
	if signature != "" {
		req.Header.Set("X-Hub-Signature", signature)
	}
	resp, err := http.DefaultClient.Do(req)
	env.Must(err)
	env.Must(resp.Body.Close())
	return resp.StatusCode
}

func sign(key secret.Secret, body []byte) string {
	mac := hmac.New(sha256.New, []byte(key.Reveal()))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

func hookOf(env *demotest.Env, p *demotest.Project) autobuild.Hook {
	env.T.Helper()
	s, err := env.Gateway.Store(env.Context)
	env.Must(err)
	defer s.Close()
	hooks, err := s.Hooks(env.Context)
	env.Must(err)
	i := slices.IndexFunc(hooks, func(k autobuild.Hook) bool { return k.Repository.ID == p.Repository.UUID })
	if i < 0 {
		env.T.Fatalf("webhook of %s: got none, want one", p.Repository.FullName())
	}
	return hooks[i]
}

// waitPlanned waits until a project's webhook has n deliveries that all have one of the states. It
// returns them newest first.
func waitPlanned(
	env *demotest.Env, p *demotest.Project, n int, states ...autobuild.DeliveryState,
) []autobuild.Delivery {
	env.T.Helper()
	hook := hookOf(env, p)
	s, err := env.Gateway.Store(env.Context)
	env.Must(err)
	defer s.Close()
	var all []autobuild.Delivery
	env.WaitUntil("every delivery was planned", func() (bool, error) {
		all, err = s.Deliveries(env.Context, autobuild.DeliveryFilter{HookID: hook.ID})
		open := slices.ContainsFunc(all, func(d autobuild.Delivery) bool { return !slices.Contains(states, d.State) })
		return len(all) == n && !open, err
	})
	return all
}
