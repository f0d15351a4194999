// Command scaletest compares a gateway with a large database to one with a small database:
//
//	make bench-scale ARGS="-databases sqlite -rounds 11"
//	go run ./plugin/benchtest/scaletest -large 1000,100000,200000
//
// It fills both databases (history.go), starts a gateway on each, and requests all pages of both in turns. Then it
// measures the idle gateway, and the time to plan and to start builds.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	for _, name := range o.databases {
		rows, err := compare(ctx, o, name)
		_, printErr := fmt.Fprintf(out, "%s: small %s, large %s\n%s", name, o.small, o.large, table(rows))
		if err := errors.Join(err, printErr); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// options are the command's flags.
type options struct {
	program      string // path of slipway
	arguments    []string
	databases    []string // sqlite, postgres
	small, large size
	rounds       int
	pushes       int           // planned and started in each round
	settle, idle time.Duration // before and while the idle gateway is measured
	work         string        // directory of the databases
}

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&o.program, "program", "bin/slipway", "path of slipway")
	databases := flags.String("databases", "sqlite,postgres", "databases, joined by commas")
	small := flags.String("small", "100,1000,2000", "automated builds, builds and deliveries of the small database")
	large := flags.String("large", "10000,1000000,2000000", "the same of the large database")
	flags.IntVar(&o.rounds, "rounds", 11, "how often each page is requested")
	flags.IntVar(&o.pushes, "pushes", 20, "pushes that are planned and started in each round")
	flags.DurationVar(
		&o.settle,
		"settle",
		20*time.Second,
		"time between the start and the measurement of an idle gateway",
	)
	flags.DurationVar(&o.idle, "idle", time.Minute, "time for which an idle gateway is measured; 0 = not")
	flags.StringVar(&o.work, "work", os.TempDir(), "directory for the databases, which do not stay there")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.arguments = []string{"gateway"}
	o.databases = strings.Split(*databases, ",")
	for _, name := range o.databases {
		if name != sqliteName && name != postgresName {
			return o, fmt.Errorf("-databases: %q is neither %s nor %s", name, sqliteName, postgresName)
		}
	}
	if o.small, err = parseSize(*small); err != nil {
		return o, fmt.Errorf("-small: %w", err)
	}
	if o.large, err = parseSize(*large); err != nil {
		return o, fmt.Errorf("-large: %w", err)
	}
	if o.rounds < 1 || o.pushes < 1 || flags.NArg() > 0 {
		return o, errors.New("-rounds and -pushes are to be positive, and there are no arguments but flags")
	}
	return o, nil
}
