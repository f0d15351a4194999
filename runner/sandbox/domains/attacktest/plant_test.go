package attacktest

import (
	"context"
	"strings"
	"time"

	"github.com/moby/buildkit/client/llb"
)

// In this file the attacker changes the victim's result.

func plantInCacheMount(ctx context.Context, w world) (bool, error) {
	const mount = "--mount=type=cache,target=/npm "
	return w.plant(ctx,
		build{dockerfile: w.dockerfile(mount + "echo evil > /npm/" + w.key + "; touch /got")},
		build{dockerfile: w.dockerfile(mount + "cat /npm/" + w.key + " > /got; true")},
		"evil")
}

// BuildKit shares the mounts of running steps in one process, even between two states.
func plantInRunningCacheMount(ctx context.Context, w world) (bool, error) {
	mount := "--mount=type=cache,target=/" + w.key + " "
	file := "/" + w.key + "/x"
	// The first step has started, but it may not have written the file yet.
	read := "i=0; until cat " + file + " > /got || test $i = 30; do sleep 0.1; i=$((i+1)); done"
	p := w.pair(
		build{dockerfile: w.dockerfile(mount + w.untilReleased("echo evil > "+file) + "; touch /got")},
		build{dockerfile: w.dockerfile(mount + read)},
	)
	got, err := p.run(ctx, "until test", "until cat")
	return strings.Contains(got, "evil"), err
}

// BUILDKIT_CACHE_MOUNT_NS separates the mounts of clients that use the Dockerfile frontend. It is only a
// prefix of the id, which a client without the frontend can write itself.
func plantInCacheMountByLLB(ctx context.Context, w world) (bool, error) {
	namespace := "namespace-" + w.key
	mount := llb.AddMount("/m", llb.Scratch(),
		llb.AsPersistentCacheDir(namespace+"//npm", llb.CacheMountShared))
	plant, err := llb.Image(w.base).Run(llb.Shlex("sh -c 'echo evil > /m/x'"), mount).Root().
		Marshal(ctx, llb.LinuxAmd64)
	if err != nil {
		return false, err
	}
	return w.plant(ctx,
		build{definition: plant},
		build{
			dockerfile: w.dockerfile("--mount=type=cache,target=/npm cat /npm/x > /got; true"),
			attributes: map[string]string{"build-arg:BUILDKIT_CACHE_MOUNT_NS": namespace},
		},
		"evil")
}

// evilProxy are the attributes of a build with a proxy of the attacker. Proxies are not part of a step's
// key.
func evilProxy() map[string]string {
	return map[string]string{"build-arg:HTTP_PROXY": "http://evil.example"}
}

func plantByProxy(ctx context.Context, w world) (bool, error) {
	b := build{dockerfile: w.dockerfile("echo $HTTP_PROXY > /got")}
	evil := b
	evil.attributes = evilProxy()
	return w.plant(ctx, evil, b, "evil")
}

func plantByHost(ctx context.Context, w world) (bool, error) {
	b := build{
		dockerfile: w.dockerfile("grep deps.example /etc/hosts > /got"),
		attributes: map[string]string{"add-hosts": "deps.example=10.1.1.1"},
	}
	evil := b
	evil.attributes = map[string]string{"add-hosts": "deps.example=10.66.6.6"}
	return w.plant(ctx, evil, b, "10.66.6.6")
}

func plantBySecret(ctx context.Context, w world) (bool, error) {
	b := build{
		dockerfile: w.dockerfile("--mount=type=secret,id=conf cat /run/secrets/conf > /got"),
		secrets:    map[string]string{"conf": "registry=good"},
	}
	evil := b
	evil.secrets = map[string]string{"conf": "registry=evil"}
	return w.plant(ctx, evil, b, "evil")
}

// A step that is equal to a running one joins it, although the environments differ.
func joinWithProxy(ctx context.Context, w world) (bool, error) {
	b := build{dockerfile: w.dockerfile(w.untilReleased("echo $HTTP_PROXY > /got"))}
	evil := b
	evil.attributes = evilProxy()
	got, err := w.pair(evil, b).run(ctx, "until test", "echo "+w.key)
	return strings.Contains(got, "evil"), err
}

func joinWithSecret(ctx context.Context, w world) (bool, error) {
	const mount = "--mount=type=secret,id=conf "
	b := build{
		dockerfile: w.dockerfile(mount + w.untilReleased("cat /run/secrets/conf > /got")),
		secrets:    map[string]string{"conf": "registry=good"},
	}
	evil := b
	evil.secrets = map[string]string{"conf": "registry=evil"}
	got, err := w.pair(evil, b).run(ctx, "until test", "echo "+w.key)
	return strings.Contains(got, "evil"), err
}

// The attacker forges a cache on a builder of its own and imports it. The victim imports nothing.
func plantByImport(ctx context.Context, w world) (bool, error) {
	own, err := w.supervisor.Address(ctx, "attacker's own")
	if err != nil {
		return false, err
	}
	b := build{dockerfile: w.dockerfile("echo $HTTP_PROXY > /got")}
	forge, load := b, b
	forge.attributes = evilProxy()
	forge.cacheTo = w.cache + ":" + w.key
	load.cacheFrom = forge.cacheTo
	if _, err := forge.run(ctx, own); err != nil {
		return false, err
	}
	return w.plant(ctx, load, b, "evil")
}

// BuildKit does not send files of a context with equal names, sizes and dates again, and the client chooses the
// key of the context. Slipway's builder puts each context into an empty directory.
func plantInContext(ctx context.Context, w world) (bool, error) {
	b := build{
		dockerfile: "FROM " + w.base + " AS x\nCOPY conf /got\nFROM scratch\nCOPY --from=x /got /got\n",
		files:      map[string]string{"conf": "good of B"},
		date:       time.Unix(1767225600, 0),
		sharedKey:  "https://bitbucket.example/victim/" + w.key,
	}
	evil := b
	evil.files = map[string]string{"conf": "evil of A"}
	return w.plant(ctx, evil, b, "evil")
}

// untilReleased returns a command of a step that also waits until pair.release has run.
func (w world) untilReleased(command string) string {
	return "--mount=type=cache,id=go,target=/go " + command +
		"; until test -e /go/" + w.key + "; do sleep 0.05; done"
}

func (w world) pair(first, second build) pair {
	return pair{
		first:         first,
		second:        second,
		firstAddress:  w.attacker,
		secondAddress: w.victim,
		release: build{dockerfile: w.dockerfile(
			"--mount=type=cache,id=go,target=/go touch /go/" + w.key + " /got")},
	}
}
