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
	// probeID is the build ID of pipelines that build nothing. No build has this ID.
	probeID = "probe"
	// probeAge is how long a probe's nonce and token are valid. It is longer than any probe runs.
	probeAge = 10 * time.Minute
	// maxProbeToken bounds the length of a token that Verify reads, in bytes.
	maxProbeToken = 1 << 10
)

// Probes creates and verifies probes: pipelines that build nothing and report if a CI could build.
// Probes are not stored. The doctor command, which requests one, is another process than the
// gateway and only reads the database; both have the key. The zero value accepts no probe.
//
// Used nonces are not recorded, so a probe may be replayed while it is valid. The replay gains
// nothing: the pipeline must still be started by the configured user. The probe's token opens one
// route only, which returns the builder's client certificate. Probes is safe for concurrent use.
type Probes struct {
	engine string
	key    secret.Secret
	now    func() time.Time
}

// NewProbes returns the Probes of an engine. An installation has one key, so that Verify accepts
// the tokens of all its engines.
func NewProbes(engine string, key secret.Secret, now func() time.Time) Probes {
	return Probes{engine: engine, key: key, now: now}
}

// params returns the parameters for a probe's pipeline in a repository.
func (p Probes) params(repository string) Params {
	stem := strconv.FormatInt(p.now().Unix(), 10) + "." + autobuild.NewToken().Reveal()
	return Params{BuildID: probeID, Attempt: 1, Nonce: stem + "." + p.mac("nonce", p.engine, stem, repository)}
}

// has reports whether a nonce belongs to a valid probe in that repository.
func (p Probes) has(nonce, repository string) bool {
	stem, mac, ok := cutLast(nonce)
	return ok && p.isGood(stem) && p.equal(mac, "nonce", p.engine, stem, repository)
}

// token returns the token for the step of a probe. pipeline is the pipeline's name. Call it only
// for a nonce that has accepts.
func (p Probes) token(nonce, pipeline string) secret.Secret {
	stem, _, _ := cutLast(nonce)
	stem += "." + base64.RawURLEncoding.EncodeToString([]byte(pipeline)) + "." + p.engine
	return secret.New(stem + "." + p.mac("token", stem))
}

// Verify returns the engine of the probe that a token belongs to. ok is false if the token is
// invalid or expired.
func (p Probes) Verify(token secret.Secret) (engine string, ok bool) {
	text := token.Reveal()
	stem, mac, ok := cutLast(text)
	if !ok || len(text) > maxProbeToken || !p.isGood(stem) || !p.equal(mac, "token", stem) {
		return "", false
	}
	_, engine, _ = cutLast(stem)
	return engine, true
}

// isGood reports whether stem, which begins with a Unix time, is at most probeAge old. Times in the
// future are valid for as long, in case a clock is set back.
func (p Probes) isGood(stem string) bool {
	digits, _, _ := strings.Cut(stem, ".")
	made, err := strconv.ParseInt(digits, 10, 64)
	return err == nil && !p.key.IsZero() && p.now().Sub(time.Unix(made, 0)).Abs() <= probeAge
}

// mac signs words for a purpose. A signature for one purpose is not valid for another.
func (p Probes) mac(purpose string, words ...string) string {
	h := hmac.New(sha256.New, []byte(p.key.Reveal()))
	fmt.Fprintf(h, "slipway probe %q %q", purpose, words)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

func (p Probes) equal(mac, purpose string, words ...string) bool {
	return hmac.Equal([]byte(mac), []byte(p.mac(purpose, words...)))
}

// cutLast splits text at its last period.
func cutLast(text string) (before, last string, ok bool) {
	i := strings.LastIndexByte(text, '.')
	if i < 0 {
		return "", "", false
	}
	return text[:i], text[i+1:], true
}
