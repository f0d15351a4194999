// Command benchtest compares the time of a build step with the time of BuildKit's own client buildctl. It
// compares them with a running buildkitd, and with a buildkitd that is started for each step. If buildah is
// installed, it is compared as well. It times whole processes, in turns, on the same Dockerfiles and the same registry:
//
//	make bench-runner ARGS="-rows tiny,dag -rounds 5"
//
// It builds the programs that it needs. It makes its base images from files of a Debian with Go, so
// no figure includes network time. Caches are on a separate disk (disk.go). If it is interrupted
// (Ctrl-C), it reports the times that it has. It needs root, runc, busybox, mount and mkfs.ext4.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the command's flags.
type options struct {
	rows, cases []string // names
	variants    []string // names
	rounds      int
	work        string // directory for tools, and for the disk with all else
	here        bool   // use the work directory itself instead of a separate disk
}

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	rows := flags.String(
		"rows",
		"",
		"Dockerfiles to build, joined by commas: "+strings.Join(rowNames(), ", ")+"; default: all",
	)
	cases := flags.String("cases", "", "cold, unchanged, changed; default: all")
	variants := flags.String("variants", "", strings.Join(variantNames(), ", ")+"; default: all")
	flags.IntVar(&o.rounds, "rounds", 5, "how often each is timed")
	flags.StringVar(
		&o.work,
		"work",
		"bin/bench",
		"directory for the programs, which stay there, and for caches, which do not",
	)
	flags.BoolVar(
		&o.here,
		"here",
		false,
		"have caches on the file system of that directory, in place of a disk (ext4 with a journal) in a file there",
	)
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.rounds < 1 || flags.NArg() > 0 {
		return o, errors.New("-rounds is to be positive, and there are no arguments but flags")
	}
	o.rows, err = selectNames(*rows, rowNames())
	if err != nil {
		return o, fmt.Errorf("-rows: %w", err)
	}
	o.cases, err = selectNames(*cases, []string{caseCold, caseUnchanged, caseChanged})
	if err != nil {
		return o, fmt.Errorf("-cases: %w", err)
	}
	o.variants, err = selectNames(*variants, variantNames())
	if err != nil {
		return o, fmt.Errorf("-variants: %w", err)
	}
	o.work, err = filepath.Abs(o.work)
	return o, err
}

// selectNames splits a comma list of known names. An empty list selects all known names.
func selectNames(list string, known []string) ([]string, error) {
	if list == "" {
		return known, nil
	}
	names := strings.Split(list, ",")
	for _, name := range names {
		if !contains(known, name) {
			return nil, fmt.Errorf("there is no %q: choose of %s", name, strings.Join(known, ", "))
		}
	}
	return names, nil
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("run it as root: builders mount")
	}
	tools, err := buildTools(ctx, o.work)
	if err != nil {
		return err
	}
	e, err := openEnv(ctx, o.work, o.here, tools)
	if err != nil {
		return err
	}
	defer e.close()
	var all []figure
	for _, name := range o.rows {
		figures, failed := e.row(ctx, rowNamed(name), o)
		all = append(all, figures...)
		if failed != nil {
			err = fmt.Errorf("%s: %w", name, failed)
			break
		}
	}
	if len(all) > 0 { // report also after an error or an interrupt: the measurement took long
		fmt.Fprintf(os.Stdout, "\nCaches are on %s.\n\n%s", e.disk, report(all))
	}
	return err
}
