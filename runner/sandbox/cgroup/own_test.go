package cgroup

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTheOwnLimitOfMemory(t *testing.T) {
	for name, c := range map[string]struct {
		self  string
		files map[string]string
		want  int64
	}{
		"version 2, in a container": {"0::/\n", map[string]string{"memory.max": "536870912\n"}, 536870912},
		"version 2, below a slice": {
			"0::/build.slice/step\n",
			map[string]string{"build.slice/memory.max": "1000\n", "build.slice/step/memory.max": "max\n"}, 1000,
		},
		"version 1": {
			"9:memory:/docker/x\n8:cpu,cpuacct:/docker/x\n",
			map[string]string{"memory/memory.limit_in_bytes": "2000\n"}, 2000,
		},
		"version 1 without a limit": {
			"9:memory:/\n", map[string]string{"memory/memory.limit_in_bytes": "9223372036854771712\n"}, 0,
		},
		"the smallest": {
			"0::/a\n", map[string]string{"memory.max": "10\n", "a/memory.max": "20\n"}, 10,
		},
		"no limit":   {"0::/\n", map[string]string{"memory.max": "max\n"}, 0},
		"no cgroups": {"0::/\n", nil, 0},
	} {
		root := t.TempDir()
		self := filepath.Join(root, "self")
		if err := os.WriteFile(self, []byte(c.self), 0o600); err != nil {
			t.Fatal(err)
		}
		for path, text := range c.files {
			full := filepath.Join(root, path)
			if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := ownMemory(root, self); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
	if got := ownMemory("/none", "/none"); got != 0 {
		t.Errorf("no file: got %d, want 0", got)
	}
}
