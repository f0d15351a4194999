package demo_test

import (
	"os/exec"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
)

// hooksFetchAndPush: a hook fetches the history of a private repository, and another one pushes a further
// tag of the image, as hooks at Docker Hub do. They get no credential, and SLIPWAY_PUSH_HOOKS is off.
func hooksFetchAndPush(env *demotest.Env) {
	if _, err := exec.LookPath("skopeo"); err != nil {
		env.T.Skip("SKIPPED: the test needs skopeo, which is absent (Debian: apt-get install skopeo)")
	}
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	files := env.Dockerfile("replaced by the hook")
	files["hooks/pre_build"] = "#!/bin/sh\nset -e\ngit fetch --quiet --unshallow\n" +
		"printf 'commits %s' \"$(git rev-list --count HEAD)\" > greeting.txt\n"
	files["hooks/post_push"] = "#!/bin/sh\nexec skopeo --insecure-policy copy --quiet " +
		"docker://$IMAGE_NAME docker://$DOCKER_REPO:$SOURCE_BRANCH-copy\n"
	p.Commit("Use hooks", files)
	p.Push("main")
	b := p.WaitEnd(1, autobuild.Succeeded)
	p.CheckImage("latest", b, "commits 2")
	p.CheckImage("main-copy", b, "commits 2")
	if len(b.ExtraTags) != 1 || b.ExtraTags[0].Tag != "main-copy" {
		env.T.Errorf("extra tags: got %v, want main-copy", b.ExtraTags)
	}
}
