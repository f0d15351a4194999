package crashsafe

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
)

// A Machine identifies a machine and its current boot. The zero value is an unknown machine.
type Machine struct {
	// Boot changes with each boot of the kernel. In a container, it is that of the host. Empty = unknown.
	Boot string `json:"boot,omitempty"`
	// ID is a hash of the machine's own id. Empty = unknown, so a copy from another machine is not found.
	ID string `json:"machine,omitempty"`
}

// The files of ReadMachine.
// https://man7.org/linux/man-pages/man5/machine-id.5.html
// https://docs.kernel.org/admin-guide/sysctl/kernel.html#random
const (
	bootFile    = "/proc/sys/kernel/random/boot_id"
	machineFile = "/etc/machine-id"
	productFile = "/sys/class/dmi/id/product_uuid" // only root can read it
)

// ReadMachine returns the machine of this process. inContainer reports whether the process runs in a container. Its
// /etc/machine-id belongs to the image then, so ReadMachine reads the id of the hardware, if there is one.
func ReadMachine(inContainer bool) Machine {
	source := machineFile
	if inContainer {
		source = productFile
	}
	return Machine{Boot: readID(bootFile), ID: hashID(readID(source))}
}

// readID returns the id in a file, or "" if the file has none.
func readID(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	id := strings.TrimSpace(string(text))
	if len(id) < 32 { // for example "uninitialized", in the first boot of an image
		return ""
	}
	return id
}

// hashID hides an id, because a machine's id must not leave the machine, for example in a copied cache.
func hashID(id string) string {
	if id == "" {
		return ""
	}
	mac := hmac.New(sha256.New, []byte(id))
	mac.Write([]byte("slipway builder state"))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// Text returns m as one word for an environment variable. ParseMachine reads it.
func (m Machine) Text() string { return m.Boot + "/" + m.ID }

// ParseMachine returns the machine with a text of Machine.Text. Any other text is an unknown machine.
func ParseMachine(text string) Machine {
	boot, id, _ := strings.Cut(text, "/")
	return Machine{Boot: boot, ID: id}
}
