package rekey

import (
	"fmt"
	"strings"

	"slipway/plugin/store"
	"slipway/plugin/store/seal"
)

// A step is the first step of a run.
type step int

const (
	makeKey  step = iota // add a new key
	resume               // continue an earlier run
	finished             // the last run is complete
)

// decide returns the first step of a run, and why. A new key is made only if the file has no other
// key than the one in use. So a run that is repeated after its end makes no further key.
func decide(keys []seal.KeyID, newest byte, check store.SealCheck) (step, string) {
	others := otherKeys(keys, check.Key)
	switch {
	case newest != check.Key:
		return resume, fmt.Sprintf(
			"the newest key of the file is key %d, and the database uses key %d",
			newest,
			check.Key,
		)
	case check.Old() > 0:
		return resume, fmt.Sprintf("%d values are sealed with an older key than key %d", check.Old(), check.Key)
	case len(others) > 0:
		return finished, fmt.Sprintf("the change to key %d is complete, and %s is still in the file: "+
			"it must be removed before a further change", check.Key, joinKeys(others))
	}
	return makeKey, fmt.Sprintf("the database uses key %d, the only one of the file", check.Key)
}

// otherKeys returns the ids of all keys but one.
func otherKeys(keys []seal.KeyID, but byte) []byte {
	var others []byte
	for _, k := range keys {
		if k.ID != but {
			others = append(others, k.ID)
		}
	}
	return others
}

// joinKeys names keys, e.g. "key 1" or "key 1, 3".
func joinKeys(ids []byte) string {
	var names []string
	for _, id := range ids {
		names = append(names, fmt.Sprint(id))
	}
	return "key " + strings.Join(names, ", ")
}
