package buildkit_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"slipway/runner/buildkit"
)

// otherPlatform is a platform that this machine does not run without emulation, and its number in ELF files.
func otherPlatform(t *testing.T) (platform string, machine uint16) {
	t.Helper()
	other := map[string]struct {
		platform, emulator string
		machine            uint16
	}{
		"amd64": {"linux/arm64", "qemu-aarch64", 183},
		"arm64": {"linux/amd64", "qemu-x86_64", 62},
	}[runtime.GOARCH]
	if other.platform == "" {
		t.Skip("SKIPPED: needs amd64 or arm64, which is absent")
	}
	if _, err := os.Stat("/proc/sys/fs/binfmt_misc/" + other.emulator); err == nil {
		t.Skip("SKIPPED: needs a machine without emulation of " + other.platform + ", which is present")
	}
	return other.platform, other.machine
}

// program returns the header of a program for a processor. The kernel reads no more before it refuses the program.
func program(machine uint16) string {
	header := make([]byte, 120)
	copy(header, "\x7fELF\x02\x01\x01")
	binary.LittleEndian.PutUint16(header[16:], 2) // executable
	binary.LittleEndian.PutUint16(header[18:], machine)
	binary.LittleEndian.PutUint32(header[20:], 1)
	binary.LittleEndian.PutUint64(header[32:], 64) // offset of the program headers
	binary.LittleEndian.PutUint16(header[52:], 64) // size of this header
	binary.LittleEndian.PutUint16(header[54:], 56) // size of a program header
	binary.LittleEndian.PutUint16(header[56:], 1)
	return string(header)
}

// The last line of a build names the missing emulation, and not the exit code of runc.
func TestRunForAnotherProcessorNamesTheEmulation(t *testing.T) {
	needBuildKit(t)
	platform, machine := otherPlatform(t)
	own := "linux/" + runtime.GOARCH
	client := start(t, t.TempDir()).dial(t)
	emulation := "RUN for " + platform + " needs emulation, which the builder's machine does not have (exec format error): " +
		"install it there"
	shell := busybox(t)
	for name, c := range map[string]struct {
		broken    bool // the program for the builder's own platform is of another processor, too
		platforms []string
		want      string
	}{
		"one platform":          {false, []string{platform}, emulation},
		"two platforms":         {false, []string{own, platform}, emulation},
		"a platform that works": {true, []string{own}, "another processor than the step's platform " + own},
		"no platform":           {true, nil, "another processor than the step's platform (exec"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := write(t, map[string]string{
				"Dockerfile":                  "FROM scratch\nARG TARGETARCH\nCOPY --chmod=755 $TARGETARCH /\nRUN [\"/true\"]\n",
				path.Base(platform) + "/true": program(machine),
				runtime.GOARCH + "/true":      program(machine),
			})
			if !c.broken { // busybox acts as the program of its name
				content, err := os.ReadFile(shell)
				if err == nil {
					err = os.WriteFile(filepath.Join(dir, runtime.GOARCH, "true"), content, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			r := request(dir)
			r.Platforms = c.platforms
			_, err := client.Build(t.Context(), r)
			var failed *buildkit.BuildError
			if !errors.As(err, &failed) {
				t.Fatalf("got error %v, want a BuildError", err)
			}
			if !strings.HasPrefix(err.Error(), "Dockerfile line 4: RUN ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error of %q: got %q, want the line and %q in it", failed.Step, err, c.want)
			}
			if failed.ExitCode == 0 {
				t.Error("exit code: got 0, want that of the step")
			}
		})
	}
}

// The programs of a base image that has one platform would be in the images of all platforms. The log names the
// image and both platforms, as it does for a build of one platform.
func TestABaseImageWithoutThePlatformIsNamed(t *testing.T) {
	needBuildKit(t)
	platform, _ := otherPlatform(t)
	own := "linux/" + runtime.GOARCH
	host := serveRegistry(t)
	client := start(t, t.TempDir()).dial(t)
	base := request(write(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": "of " + own}))
	base.Image = host + "/acme/base"
	image := build(t, client, base)
	if err := client.Push(t.Context(), base, image.Digest); err != nil {
		t.Fatal(err)
	}
	tagAs(t, base.Image, image.Digest, "1")
	both := request(write(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": "of both"}))
	both.Image, both.Platforms = host+"/acme/both", []string{own, platform}
	image = build(t, client, both)
	if err := client.Push(t.Context(), both, image.Digest); err != nil {
		t.Fatal(err)
	}
	tagAs(t, both.Image, image.Digest, "1")
	warning := "\n" + `WARN: InvalidBaseImagePlatform: Base image ` + base.Image + `:1 was pulled with platform "` + own +
		`", expected "` + platform + `" for current build (line 2)`
	for name, c := range map[string]struct {
		first, image string
		platforms    []string
		publish      bool
		want         int
		fails        string
	}{
		"one platform":             {"# a comment", base.Image, []string{platform}, false, 1, ""},
		"two platforms":            {"# a comment", base.Image, []string{own, platform}, false, 1, ""},
		"two, the other one first": {"# a comment", base.Image, []string{platform, own}, false, 1, ""},
		"pushed by the builder":    {"# a comment", base.Image, []string{own, platform}, true, 1, ""},
		"a warning is an error":    {"# check=error=true", base.Image, []string{own, platform}, false, 1, "lint violation found"},
		"the base has both":        {"# a comment", both.Image, []string{own, platform}, false, 0, ""},
		"switched off":             {"# check=skip=InvalidBaseImagePlatform", base.Image, []string{own, platform}, false, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(write(t, map[string]string{"Dockerfile": c.first + "\nFROM " + c.image + ":1\nLABEL a=b\n"}))
			r.Image, r.Platforms, r.Publish = host+"/acme/app", c.platforms, c.publish
			var log bytes.Buffer
			r.Progress = &log
			_, err := client.Build(t.Context(), r)
			switch {
			case c.fails == "" && err != nil:
				t.Fatalf("build: %v\n%s", err, &log)
			case c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)):
				t.Errorf("build: got error %v, want %q in it", err, c.fails)
			}
			if got := strings.Count(log.String(), warning); got != c.want {
				t.Errorf("warnings in the log: got %d, want %d of %q:\n%s", got, c.want, warning, &log)
			}
		})
	}
}
