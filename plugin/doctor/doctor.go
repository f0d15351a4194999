// Package doctor checks an installation. Each check returns findings, one line of output each, with
// the fix of a problem: ✓ = passed, ! = a warning, ✕ = a problem, - = the check did not run. The checks need
// no running gateway. If one runs, they read its database beside it.
package doctor

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v3"

	"slipway/config"
	"slipway/plugin/engine/drone"
	"slipway/plugin/engine/woodpecker"
	"slipway/plugin/store"
)

// Command returns the command "doctor".
func Command() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "check this installation and print one line for each finding, with the fix",
		Description: "On each configured CI it starts a pipeline that builds nothing, and reports its result. This\n" +
			"takes up to two minutes. The pipeline runs in the builder repository, or without one in the\n" +
			"repository of the first automated build on that CI.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "no-probe", Usage: "do not start pipelines on CIs"},
			&cli.BoolFlag{
				Name:  "database",
				Usage: "also read the whole database and look for damage; it takes long if it is large",
			},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			return Run(ctx, cmd.Root().Writer, Options{
				Environ: os.Environ(), Probe: !cmd.Bool("no-probe"), Database: cmd.Bool("database"),
			})
		},
	}
}

// Options configure Run.
type Options struct {
	Environ  []string // the gateway's settings, as "NAME=value"
	Probe    bool     // start a pipeline without a build on each CI
	Database bool     // read the whole database and look for damage
}

// Run prints the findings of all checks. It returns an error with exit code 1 if a check found a
// problem.
func Run(ctx context.Context, w io.Writer, o Options) error {
	c, err := config.LoadGateway(o.Environ)
	report := reporter{w: w}
	report.print(Finding{Check: checkSettings, Note: "valid", Err: err})
	if err != nil {
		return cli.Exit("", 1)
	}
	report.print(diskSpace(c.Data))
	report.print(gatewayUser(c.Data)...)
	s, findings := database(ctx, c, o.Database)
	report.print(findings...)
	responses := publicURL(ctx, c)
	report.print(responses)
	report.print(clock(ctx, c.APIURL))
	if s != nil {
		d := stored{config: c, store: s}
		report.print(d.oauthClients(ctx)...)
		report.print(d.linkedAccounts(ctx)...)
		report.print(d.registries(ctx)...)
		report.print(d.webhooks(ctx)...)
		report.print(d.runnerVersions(ctx)...)
	}
	if c.Builder != "" || c.BuilderService == "" { // the service has builders of its own
		report.print(builder(ctx, c))
	}
	report.print(isolation(ctx, c)...)
	report.print(safePrograms(ctx, c)...)
	if s != nil {
		d := ciChecks{config: c, store: s, probe: o.Probe, reachable: responses.Err == nil}
		report.print(d.all(ctx)...)
		_ = s.Close() // it was only read
	}
	if report.problems > 0 {
		return cli.Exit(fmt.Sprintf("problems found: %d", report.problems), 1)
	}
	return nil
}

// A Check is the name of a check. Each line of the output begins with one.
type Check string

// All checks. Each has a test in which it fails.
const (
	checkSettings    Check = "settings"
	checkDisk        Check = "disk"
	checkUser        Check = "user"
	checkDatabase    Check = "database"
	checkKeys        Check = "keys"
	checkDurability  Check = "durability"
	checkIntegrity   Check = "integrity"
	checkForeignKeys Check = "foreign keys"
	checkRows        Check = "rows"
	checkURL         Check = "public URL"
	checkClock       Check = "clock"
	checkOAuth       Check = "OAuth client"
	checkAccount     Check = "account"
	checkRegistry    Check = "registry"
	checkWebhook     Check = "webhook"
	checkVersions    Check = "versions"
	checkBuilder     Check = "builder"
	checkIsolation   Check = "isolation"
	checkRunc        Check = "runc"
	checkGit         Check = "git"
	checkDrone       Check = drone.Name
	checkWoodpecker  Check = woodpecker.Name
)

// A Finding is the result of one check.
type Finding struct {
	Check   Check
	Note    string // the result of a successful check, with hints
	Skipped bool   // the check did not run; Note has the reason
	Warning bool   // Note has a risk that may not exist, with the fix; it is not counted as a problem
	Err     error  // the problem; nil = none
	Fix     string // how to solve the problem; empty if Err contains it
}

// String returns the finding as one line.
func (f Finding) String() string {
	switch {
	case f.Err == nil && f.Skipped:
		return fmt.Sprintf("- %-12s %s", f.Check, f.Note)
	case f.Err == nil && f.Warning:
		return fmt.Sprintf("! %-12s %s", f.Check, f.Note)
	case f.Err == nil:
		return fmt.Sprintf("✓ %-12s %s", f.Check, f.Note)
	case f.Fix == "":
		return fmt.Sprintf("✕ %-12s %v", f.Check, f.Err)
	}
	return fmt.Sprintf("✕ %-12s %v: %s", f.Check, f.Err, f.Fix)
}

// A reporter prints findings and counts the problems.
type reporter struct {
	w        io.Writer
	problems int
}

func (r *reporter) print(findings ...Finding) {
	for _, f := range findings {
		fmt.Fprintln(r.w, f)
		if f.Err != nil {
			r.problems++
		}
	}
}

// stored checks the records of the database.
type stored struct {
	config config.Gateway
	store  *store.Store
}
