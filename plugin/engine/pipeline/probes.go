package pipeline

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
)

const (
	// probeID stands for a build's id where a pipeline builds nothing. No build has it.
	probeID = "probe"
	// probeAge is how long a probe is good: longer than any takes.
	probeAge = 10 * time.Minute
	// maxProbeToken bounds what is taken for a token, in bytes.
	maxProbeToken = 1 << 10
)

// Probes makes probes and knows them again: pipelines that build nothing and tell whether a CI
// could. They stand in no database, for who asks for one (doctor) is another process than the
// gateway, which reads beside it; both have the key. The zero value knows no probe.
//
// Nothing is kept of which ones came, so one may come again while it is good. That gains
// nobody what a build's step does not have: its pipeline must be started by our own user all
// the same, and its token opens one route, which gives the certificate of the builder's clients
// and nothing else. It is safe for concurrent use.
type Probes struct {
	engine string
	key    secret.Secret
	now    func() time.Time
}

// NewProbes returns an engine's. An installation has one key: those of another engine are known
// by it too.
func NewProbes(engine string, key secret.Secret, now func() time.Time) Probes {
	return Probes{engine: engine, key: key, now: now}
}

// params are what a probe's pipeline in a repository is started with.
func (p Probes) params(repository string) Params {
	stem := strconv.FormatInt(p.now().Unix(), 10) + "." + autobuild.NewToken().Reveal()
	return Params{BuildID: probeID, Attempt: 1, Nonce: stem + "." + p.mac("nonce", p.engine, stem, repository)}
}

// has reports whether a nonce is of a probe in that repository, and good still.
func (p Probes) has(nonce, repository string) bool {
	stem, mac, ok := cutLast(nonce)
	return ok && p.isGood(stem) && p.equal(mac, "nonce", p.engine, stem, repository)
}

// token is what the step of a probe gets, in the pipeline of that name. Call it for a nonce
// that has knows.
func (p Probes) token(nonce, pipeline string) secret.Secret {
	stem, _, _ := cutLast(nonce)
	stem += "." + base64.RawURLEncoding.EncodeToString([]byte(pipeline)) + "." + p.engine
	return secret.New(stem + "." + p.mac("token", stem))
}

// Know tells of which engine a probe's step is that has a token; ok is false where the token is
// of none, or no longer good.
func (p Probes) Know(token secret.Secret) (engine string, ok bool) {
	text := token.Reveal()
	stem, mac, ok := cutLast(text)
	if !ok || len(text) > maxProbeToken || !p.isGood(stem) || !p.equal(mac, "token", stem) {
		return "", false
	}
	_, engine, _ = cutLast(stem)
	return engine, true
}

// isGood reports whether what begins with a time was made within probeAge. Clocks that run back
// do not matter.
func (p Probes) isGood(stem string) bool {
	digits, _, _ := strings.Cut(stem, ".")
	made, err := strconv.ParseInt(digits, 10, 64)
	return err == nil && !p.key.IsZero() && p.now().Sub(time.Unix(made, 0)).Abs() <= probeAge
}

// mac signs words for a purpose; what is good for one is not for another.
func (p Probes) mac(purpose string, words ...string) string {
	h := hmac.New(sha256.New, []byte(p.key.Reveal()))
	fmt.Fprintf(h, "slipway probe %q %q", purpose, words)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

func (p Probes) equal(mac, purpose string, words ...string) bool {
	return hmac.Equal([]byte(mac), []byte(p.mac(purpose, words...)))
}

// cutLast takes the last of the parts that points divide.
func cutLast(text string) (before, last string, ok bool) {
	i := strings.LastIndexByte(text, '.')
	if i < 0 {
		return "", "", false
	}
	return text[:i], text[i+1:], true
}
