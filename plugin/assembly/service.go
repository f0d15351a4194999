package assembly

import (
	"cmp"
	"path/filepath"

	"slipway/config"
	"slipway/plugin/engine/embedded"
)

// FixRoot is how to run a gateway without root's rights.
const FixRoot = "run it as an ordinary user with the builder service, docs/operations.md#install-as-a-service"

// ServiceDir returns the directory of the gateway's own builder service.
func ServiceDir(c config.Gateway) string { return filepath.Join(c.Data, "builder") }

// ServiceSocket returns the path of the socket of the builder service that the gateway uses.
func ServiceSocket(c config.Gateway) string {
	return cmp.Or(c.BuilderService, embedded.ServiceSocket(ServiceDir(c)))
}
