package step

import (
	"testing"
	"time"

	"slipway/config/secret"
	"slipway/runner/settings"
	"slipway/runner/spec"
)

func TestWhichBuilderMayPushItself(t *testing.T) {
	for _, c := range []struct {
		address, image string
		want           bool
	}{
		{"", "registry:5000/app", true},
		{"unix:///run/slipway/builder.sock", "127.0.0.1:5000/app", true},
		{"tcp://builder.example.com:9443", "docker.io/acme/app", true},
		{"tcp://builder.example.com:9443", "registry.example.com:5000/app", true},
		{"tcp://builder.example.com:9443", "registry:5000/app", false},
		{"tcp://builder.example.com:9443", "localhost/app", false},
		{"docker-container://buildkit", "127.0.0.1:5000/app", false},
		{"kube-pod://buildkit", "10.0.0.1/app", false},
		{"kube-pod://buildkit", "[::1]:5000/app", false},
	} {
		if got := builderMayPush(c.address, c.image); got != c.want {
			t.Errorf("builderMayPush(%q, %s): got %v, want %v", c.address, c.image, got, c.want)
		}
	}
}

// A builder moves a tag itself only as the last operation, and only a tag that the step would move.
func TestWhichTagTheBuilderMoves(t *testing.T) {
	good := settings.Plugin{Images: []string{"r.example.com/app"}, Tags: []string{"1.2", "latest"}}
	changed := func(change func(p *settings.Plugin)) settings.Plugin { p := good; change(&p); return p }
	cache := func(attrs map[string]string) []spec.Cache {
		return []spec.Cache{{Type: spec.CacheRegistry, Attrs: attrs}}
	}
	for what, c := range map[string]struct {
		settings settings.Plugin
		caches   []spec.Cache
		want     string
	}{
		"one repository":           {good, nil, "1.2"},
		"two":                      {changed(func(p *settings.Plugin) { p.Images = []string{"a.example.com/x", "b.example.com/x"} }), nil, ""},
		"a signature comes first":  {changed(func(p *settings.Plugin) { p.Sign.Key = secret.New("key") }), nil, ""},
		"dry run":                  {changed(func(p *settings.Plugin) { p.DryRun = true }), nil, ""},
		"no tag":                   {changed(func(p *settings.Plugin) { p.Tags = nil }), nil, ""},
		"a builder elsewhere":      {changed(func(p *settings.Plugin) { p.Builder = "unix:///run/b.sock" }), nil, ""},
		"a cache that may fail":    {good, cache(nil), ""},
		"a cache that may not":     {good, cache(map[string]string{"ignore-error": "true"}), "1.2"},
		"a cache within the image": {good, []spec.Cache{{Type: spec.CacheInline}}, "1.2"},
	} {
		if got := (run{s: c.settings}).builderTag(c.caches); got != c.want {
			t.Errorf("%s: got %q, want %q", what, got, c.want)
		}
	}
}

func TestTheDateOfAnImageIsThatOfItsBuildArguments(t *testing.T) {
	now := time.Unix(1800000000, 0)
	r := run{o: Options{Now: func() time.Time { return now }}}
	for epoch, want := range map[string]time.Time{
		"1700000000": time.Unix(1700000000, 0),
		"0":          time.Unix(0, 0),
		"":           now,
		"yesterday":  now,
	} {
		if got := r.created(map[string]string{"SOURCE_DATE_EPOCH": epoch}); !got.Equal(want) {
			t.Errorf("SOURCE_DATE_EPOCH=%s: got %s, want %s", epoch, got, want)
		}
	}
}
