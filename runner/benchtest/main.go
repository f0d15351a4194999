// Command benchtest compares the step with what people would build by otherwise: BuildKit's own
// buildctl, on a buildkitd that is warm and on one that is started for each step. All are timed
// as whole processes, in turns, on the same Dockerfiles and the same registry:
//
//	make bench-runner ARGS="-rows tiny,dag -rounds 5"
//
// It builds what it needs and makes its base images of what a Debian with Go has, so that no
// figure has a network in it; caches are on a disk of its own (disk.go). Stopped (Ctrl-C), it reports
// what it has timed. It needs root, runc, busybox, mount and mkfs.ext4.
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
	rows, cases []string // names; empty = all
	rounds      int
	work        string // directory for tools, and for the disk with all else
	here        bool   // no disk: all else is in the directory itself
}

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	rows := flags.String("rows", "", "Dockerfiles to build, joined by commas: "+strings.Join(rowNames(), ", ")+"; default: all")
	cases := flags.String("cases", "", "cold, unchanged, changed; default: all")
	flags.IntVar(&o.rounds, "rounds", 5, "how often each is timed")
	flags.StringVar(&o.work, "work", "bin/bench", "directory for the programs, which stay there, and for caches, which do not")
	flags.BoolVar(&o.here, "here", false, "have caches on the file system of that directory, in place of a disk (ext4 with a journal) in a file there")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.rounds < 1 || flags.NArg() > 0 {
		return o, errors.New("-rounds is to be positive, and there are no arguments but flags")
	}
	o.rows, err = chosen(*rows, rowNames())
	if err != nil {
		return o, fmt.Errorf("-rows: %w", err)
	}
	if o.cases, err = chosen(*cases, []string{caseCold, caseUnchanged, caseChanged}); err != nil {
		return o, fmt.Errorf("-cases: %w", err)
	}
	o.work, err = filepath.Abs(o.work)
	return o, err
}

// chosen are the names of a comma list, all of which must be known; an empty list means all.
func chosen(list string, known []string) ([]string, error) {
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
	w, err := openWorld(ctx, o.work, o.here, tools)
	if err != nil {
		return err
	}
	defer w.close()
	var all []figure
	for _, name := range o.rows {
		figures, failed := w.row(ctx, rowNamed(name), o)
		all = append(all, figures...)
		if failed != nil {
			err = fmt.Errorf("%s: %w", name, failed)
			break
		}
	}
	if len(all) > 0 {
		fmt.Fprintf(os.Stdout, "\nCaches are on %s.\n\n%s", w.disk, report(all)) // of what there is, also when it is stopped: it took long to find
	}
	return err
}
