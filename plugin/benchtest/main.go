// Command benchtest compares the gateway with a floor: a server that does only what an acknowledgement
// needs. Both run as processes of their own, in turns, with the same senders:
//
//	make bench-gateway ARGS="-senders 1,16,64 -rounds 5"
//	go run ./plugin/benchtest -programs /tmp/old/slipway,bin/slipway
//
// The floor (floor.go) has Gin, the signature, and one prepared INSERT in grouped transactions that are on
// the disk before the answer. The gateway does all that it always does, planning included.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
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
	if len(args) > 0 && args[0] == floorCommand {
		return serveFloor(ctx, args[1:])
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	results, err := measure(ctx, o)
	_, printErr := io.WriteString(out, table(results))
	return errors.Join(err, printErr)
}

// options are the command's flags.
type options struct {
	programs []string // paths of slipway, each with a gateway of its own
	senders  []int
	hooks    int // webhooks that the senders use
	rounds   int
	each     time.Duration // of one measurement
	work     string        // directory of the databases
	postgres string        // libpq address of an empty server's database; empty = SQLite
}

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	programs := flags.String("programs", "bin/slipway", "paths of slipway programs to compare, joined by commas")
	senders := flags.String("senders", "1,16,64", "numbers of senders at the same time, joined by commas")
	flags.IntVar(&o.hooks, "hooks", 1, "webhooks that get the deliveries in turns")
	flags.IntVar(&o.rounds, "rounds", 5, "how often each is measured")
	flags.DurationVar(&o.each, "each", 2*time.Second, "duration of one measurement")
	flags.StringVar(&o.work, "work", os.TempDir(), "directory for the databases, which do not stay there")
	flags.StringVar(
		&o.postgres,
		"postgres",
		"",
		"address of a PostgreSQL database for schemas of its own; default: SQLite",
	)
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.programs = strings.Split(*programs, ",")
	for text := range strings.SplitSeq(*senders, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return o, fmt.Errorf("-senders: %q is no positive number", text)
		}
		o.senders = append(o.senders, n)
	}
	if o.rounds < 1 || o.hooks < 1 || o.each <= 0 || flags.NArg() > 0 {
		return o, errors.New("-rounds, -hooks and -each are to be positive, and there are no arguments but flags")
	}
	return o, nil
}
