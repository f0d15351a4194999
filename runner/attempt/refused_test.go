package attempt_test

import (
	"testing"

	"slipway/runner/runnertest"
	"slipway/runner/spec"
)

// Until tests are run, an image whose repository has them is not pushed untested.
func TestTestFilesFailTheBuild(t *testing.T) {
	for _, name := range []string{"docker-compose.test.yml", "a.test.yml", "b-test.yml"} {
		e := newEnv(t)
		before := e.Registry.Put("latest", "as it was")
		files := runnertest.Dockerfile("FROM scratch\n")
		files["svc/"+name] = "sut:\n  build: .\n  command: 'false'\n"
		b := e.must(e.Push(files), spec.Failed, "test")
		runnertest.CheckHas(t, name+": the detail", b.Detail, "svc/"+name+": tests are not run by this version")
		runnertest.CheckHas(t, name+": the detail", b.Detail, "tests: ignore")
		if len(e.Builder.Requests) != 0 {
			t.Errorf("%s: got a build, want none", name)
		}
		if got := e.Registry.Tag("latest"); got != before {
			t.Errorf("%s: tag latest: got %s, want %s", name, got, before)
		}
	}
}

func TestTestFilesCanBeIgnored(t *testing.T) {
	e := newEnv(t)
	e.Edit = func(s *spec.Spec) { s.TestsOff = true }
	files := runnertest.Dockerfile("FROM scratch\n")
	files["svc/docker-compose.test.yml"] = "sut:\n  build: .\n"
	b := e.must(e.Push(files), spec.Succeeded, "")
	runnertest.CheckHas(t, "the log", b.Log, "svc/docker-compose.test.yml: not run")
}

// Only test files beside the Dockerfile are run at Docker Hub, and none if hooks/test replaces them.
func TestOtherTestFilesDoNotMatter(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"in another folder": {"docker-compose.test.yml": "", "svc/sub/docker-compose.test.yml": ""},
		"of another name":   {"svc/docker-compose.test.yaml": "", "svc/test.yml": "", "svc/latest.yml": ""},
		"with hooks/test":   {"svc/docker-compose.test.yml": "", runnertest.Hook("test"): "#!/bin/sh\n"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			all := runnertest.Dockerfile("FROM scratch\n")
			for file, content := range files {
				all[file] = content
			}
			e.must(e.Push(all), spec.Succeeded, "")
		})
	}
}

const lfsPointer = "version https://git-lfs.github.com/spec/v1\n" +
	"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"

// A pointer of Git LFS in place of its file makes an image that does not work.
func TestGitLFSPointersFailTheBuild(t *testing.T) {
	e := newEnv(t)
	files := runnertest.Dockerfile("FROM scratch\nCOPY svc/model.bin /\n")
	files["svc/model.bin"] = lfsPointer
	b := e.must(e.Push(files), spec.Failed, "config")
	runnertest.CheckHas(t, "the detail", b.Detail, "1 Git LFS pointer in place of files, for example svc/model.bin")
	runnertest.CheckHas(t, "the detail", b.Detail, "git lfs pull")
	if len(e.Builder.Requests) != 0 {
		t.Error("got a build, want none")
	}
	files[".dockerignore"] = "**/*.bin\n"
	e.must(e.Push(files), spec.Succeeded, "")
}

// A hook before the build may have fetched the file.
func TestAHookMayReplaceAGitLFSPointer(t *testing.T) {
	for _, name := range []string{"post_checkout", "pre_build"} {
		e := newEnv(t)
		files := runnertest.Dockerfile("FROM scratch\nCOPY svc/model.bin /\n")
		files["svc/model.bin"] = lfsPointer
		files[runnertest.Hook(name)] = "#!/bin/sh\necho content > model.bin\n"
		e.must(e.Push(files), spec.Succeeded, "")
	}
}
