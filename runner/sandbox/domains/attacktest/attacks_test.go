package attacktest

import (
	"context"
	"strings"
	"testing"
	"time"
)

// attackTimeout bounds one attack. A builder that the attack blocks must not block the test.
const attackTimeout = 2 * time.Minute

// An attack is one try of one build to read or change another.
type attack struct {
	name string
	// try reports whether the attack works. Its error is that of a preparation or of the victim.
	try func(ctx context.Context, w world) (works bool, err error)
	// held means that a builder itself holds the attack, also if it is shared.
	held bool
}

// A world is an env as one attack sees it: the addresses of the attacker's and the victim's builder, and
// a name that no other attack uses.
type world struct {
	*env
	attacker, victim string
	key              string
}

// attacks has all rows. Each was tried with BuildKit v0.34.2.
var attacks = []attack{
	{name: "cache mount", try: plantInCacheMount},
	{name: "cache mount of a running build", try: plantInRunningCacheMount},
	{name: "cache mount by raw LLB", try: plantInCacheMountByLLB},
	{name: "value of a proxy", try: plantByProxy},
	{name: "address of a host", try: plantByHost},
	{name: "value of a secret", try: plantBySecret},
	{name: "equal steps at once, other proxy", try: joinWithProxy},
	{name: "equal steps at once, other secret", try: joinWithSecret},
	{name: "imported registry cache", try: plantByImport},
	{name: "shared key of contexts", try: plantInContext, held: true},
	{name: "result of a secret", try: stealResultOfSecret},
	{name: "result of an SSH agent", try: stealResultOfSSH},
	{name: "private image by digest", try: stealImageByDigest},
	{name: "private image by tag", try: stealImageByTag, held: true},
	{name: "private layers under another name", try: stealLayers},
	{name: "private Git commit", try: stealCommit},
	{name: "content API", try: readContent},
	{name: "history API", try: readHistory},
	{name: "session of another client", try: readSession},
}

// Without domains each attack works. This shows that the attacks are effective.
func TestAttacksWorkOnASharedBuilder(t *testing.T) {
	e := newEnv(t)
	shared := e.address(t, "shared")
	run(t, world{env: e, attacker: shared, victim: shared}, func(a attack) bool { return !a.held })
}

func TestDomainsHoldAttacks(t *testing.T) {
	e := newEnv(t)
	w := world{env: e, attacker: e.address(t, "attacker"), victim: e.address(t, "victim")}
	run(t, w, func(attack) bool { return false })
}

// run tries all attacks at the same time, as builds come.
func run(t *testing.T, w world, works func(attack) bool) {
	t.Helper()
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), attackTimeout)
			defer cancel()
			w := w
			w.key = strings.ReplaceAll(a.name, " ", "-")
			w.key = strings.ToLower(strings.ReplaceAll(w.key, ",", ""))
			got, err := a.try(ctx, w)
			if err != nil {
				t.Fatal(err)
			}
			if want := works(a); got != want {
				t.Errorf("the attack works: got %t, want %t", got, want)
			}
		})
	}
}

// dockerfile returns a Dockerfile with a step of its own for the attack, and a last step whose file /got
// is the result.
func (w world) dockerfile(run string) string { return w.dockerfileFrom(w.base, run) }

func (w world) dockerfileFrom(image, run string) string {
	return "FROM " + image + " AS x\nRUN echo " + w.key + "\n" + "RUN " + run + "\nFROM scratch\nCOPY --from=x /got /got\n"
}

// plant runs the attacker's build and then the victim's, and reports whether the text of the attacker is
// in the victim's result.
func (w world) plant(ctx context.Context, attacker, victim build, text string) (bool, error) {
	if _, err := attacker.run(ctx, w.attacker); err != nil {
		return false, err
	}
	got, err := victim.run(ctx, w.victim)
	return strings.Contains(got, text), err
}

// steal runs the victim's build and then the attacker's, and reports whether the victim's text is in the
// attacker's result. The attacker's build may fail.
func (w world) steal(ctx context.Context, victim, attacker build, text string) (bool, error) {
	if _, err := victim.run(ctx, w.victim); err != nil {
		return false, err
	}
	return w.attackerGets(ctx, attacker, text)
}

func (w world) attackerGets(ctx context.Context, attacker build, text string) (bool, error) {
	got, err := attacker.run(ctx, w.attacker)
	if err != nil {
		return false, ctx.Err() // the builder refused it, unless the time is over
	}
	return strings.Contains(got, text), nil
}
