package rekey

import (
	"context"
	"os"

	"github.com/urfave/cli/v3"

	"slipway/config"
)

// Command returns the command "rekey".
func Command() *cli.Command {
	return &cli.Command{
		Name:  "rekey",
		Usage: "replace the key that encrypts the stored secrets",
		Description: "Adds a new key to SLIPWAY_KEY_FILE, waits until all running gateways have it, and encrypts\n" +
			"all stored secrets with it. The gateways keep running. After an interruption, run the command\n" +
			"again: it continues. Older backups need the old key, so it stays in the file until\n" +
			"--remove-old-keys. The command takes the settings of the gateway.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "remove-old-keys", Usage: "remove keys from the file that no stored secret needs"},
			&cli.StringFlag{Name: "write", Usage: "write the keys and a new one to `FILE`, and change nothing else; " +
				"for a key file that the command cannot replace"},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			c, err := config.LoadGateway(os.Environ())
			if err != nil {
				return err
			}
			o := Options{Config: c, Write: cmd.String("write")}
			if !cmd.Bool("remove-old-keys") {
				return Run(ctx, cmd.Root().Writer, o)
			}
			if o.Write != "" {
				return cli.Exit("give --remove-old-keys or --write, not both", 2)
			}
			return RemoveOldKeys(ctx, cmd.Root().Writer, o)
		},
	}
}
