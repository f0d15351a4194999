package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// A row is a Dockerfile and its context.
type row struct {
	name, about string
	make        func(ctx context.Context, e *env, dir string) error
	changes     string // file of the context that the case "changed" writes, as changing.txt
	text        string // content of that file; %s is replaced by a text that is unique to the build
}

func rows() []row {
	return []row{
		{"tiny", "one RUN, one COPY", tiny, "changing.txt", "%s\n"},
		{"go", "Go in two stages, vendored", goStages, "main.go", goMain},
		{
			"files",
			"8,000 small files unpacked, as npm ci leaves them, then the source",
			smallFiles,
			"changing.txt",
			"%s\n",
		},
		{"dag", "six stages of about 2 s of processor each", dag, "changing.txt", "%s\n"},
		{"big", "a context of 548 MB in 20,000 files", bigContext, "changing.txt", "%s\n"},
	}
}

func rowNames() (names []string) {
	for _, r := range rows() {
		names = append(names, r.name)
	}
	return names
}

func rowNamed(name string) row {
	all := rows()
	return all[slices.IndexFunc(all, func(r row) bool { return r.name == name })]
}

func contains(names []string, name string) bool { return slices.Contains(names, name) }

func goarch() string { return runtime.GOARCH }

// change writes the changing file with a mark that is unique to the build. It removes the old file
// first, because cloned directories share files by hard links.
func (r row) change(dir, mark string) error {
	if err := os.Remove(filepath.Join(dir, r.changes)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return write(dir, map[string]string{r.changes: fmt.Sprintf(r.text, mark)})
}

func (e *env) from(image string) string { return "FROM " + e.registry + "/" + image + ":latest" }

func tiny(_ context.Context, e *env, dir string) error {
	return write(
		dir,
		map[string]string{"Dockerfile": e.from(shellImage) + "\nRUN echo made > /made\nCOPY changing.txt /\n"},
	)
}

// goMain is a program that imports a large package, so that compiling takes time.
const goMain = "package main\n\nimport \"github.com/gin-gonic/gin\"\n\nfunc main() { gin.New().Run(%q) }\n"

func goStages(ctx context.Context, e *env, dir string) error {
	version, err := moduleVersion("github.com/gin-gonic/gin")
	if err != nil {
		return err
	}
	err = write(dir, map[string]string{
		"Dockerfile": e.from(
			goImage,
		) + " AS build\nWORKDIR /src\nCOPY . .\nENV CGO_ENABLED=0 GOCACHE=/tmp/cache GOFLAGS=-mod=vendor GOTOOLCHAIN=local\nRUN go build -o /app .\n" +
			e.from(
				shellImage,
			) + "\nCOPY --from=build /app /app\n",
		"go.mod":  "module app\n\ngo 1.25.0\n\nrequire github.com/gin-gonic/gin " + version + "\n",
		"main.go": fmt.Sprintf(goMain, "first"),
	})
	return errors.Join(err, command(ctx, dir, "go", "mod", "tidy"), command(ctx, dir, "go", "mod", "vendor"))
}

// moduleVersion returns the version of a module in the go.mod of this repository.
func moduleVersion(module string) (string, error) {
	text, err := os.ReadFile("go.mod")
	if err != nil {
		return "", fmt.Errorf("run it at the top of the repository: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == module {
			return fields[1], nil
		}
	}
	return "", fmt.Errorf("go.mod has no %s", module)
}

func smallFiles(ctx context.Context, e *env, dir string) error {
	modules := filepath.Join(e.dir, "modules")
	if err := fill(modules, 8000, 4<<10); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := command(
		ctx,
		".",
		"tar",
		"--sort=name",
		"--mtime=@0",
		"-C",
		modules,
		"-czf",
		filepath.Join(dir, "modules.tgz"),
		".",
	); err != nil {
		return err
	}
	return write(dir, map[string]string{
		"Dockerfile": e.from(
			shellImage,
		) + "\nWORKDIR /app\nCOPY modules.tgz /\nRUN mkdir node_modules && tar -xzf /modules.tgz -C node_modules\nCOPY changing.txt .\n",
	})
}

func dag(_ context.Context, e *env, dir string) error {
	var text, last strings.Builder
	for i := range 6 {
		fmt.Fprintf(
			&text,
			"%s AS s%d\nCOPY changing.txt /\nRUN i=0; while [ $i -lt 1500000 ]; do i=$((i+1)); done; echo %d > /out%d\n",
			e.from(shellImage),
			i,
			i,
			i,
		)
		fmt.Fprintf(&last, "COPY --from=s%d /out%d /\n", i, i)
	}
	return write(dir, map[string]string{"Dockerfile": text.String() + e.from(shellImage) + "\n" + last.String()})
}

func bigContext(_ context.Context, e *env, dir string) error {
	if err := fill(filepath.Join(dir, "data"), 20_000, 548_000_000/20_000); err != nil {
		return err
	}
	return write(dir, map[string]string{"Dockerfile": e.from(shellImage) + "\nCOPY . /data\n"})
}

// fill writes files of size/2 to size*3/2 bytes. Their content compresses about as well as programs.
func fill(dir string, files, size int) error {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // every run needs the same content
	pool := make([]byte, 1<<20)
	for i := range pool {
		pool[i] = byte(random.Uint32() & random.Uint32()) //nolint:gosec // the lowest eight bits are enough
	}
	for i := range files {
		sub := filepath.Join(dir, fmt.Sprintf("d%03d", i/100))
		if i%100 == 0 {
			if err := os.MkdirAll(sub, 0o755); err != nil {
				return err
			}
		}
		length := size/2 + random.IntN(size)
		start := random.IntN(len(pool) - length)
		if err := os.WriteFile(
			filepath.Join(sub, fmt.Sprintf("f%02d", i%100)),
			pool[start:start+length],
			0o600,
		); err != nil {
			return err
		}
	}
	return nil
}

// clone creates a directory with hard links to all files of another directory.
func clone(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		return os.Link(path, filepath.Join(to, rel)) //nolint:gosec // this program created the tree
	})
}
