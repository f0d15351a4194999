package doctor

import (
	"context"
	"fmt"

	"slipway/plugin/store"
	"slipway/plugin/store/seal"
)

// fixRekey is the fix for values of old keys.
const fixRekey = "run `slipway rekey`, which continues"

// keys opens all stored secrets, and checks that one key is in use.
func (d stored) keys(ctx context.Context) Finding {
	check, err := d.store.CheckSealed(ctx)
	if err != nil {
		return Finding{Check: checkKeys, Err: err}
	}
	keys, newest := d.store.Keys()
	return judgeKeys(keys, newest.ID, check)
}

// judgeKeys returns the finding for the keys of the key file and the values of the database.
func judgeKeys(keys []seal.KeyID, newest byte, check store.SealCheck) Finding {
	f := Finding{Check: checkKeys}
	switch {
	case len(check.Broken) > 0:
		first := check.Broken[0]
		f.Err = fmt.Errorf("stored secrets that do not open: %d, e.g. %w", len(check.Broken), first.Err)
		f.Fix = "restore the key file if it lacks their key; else enter these secrets again"
	case newest != check.Key:
		f.Err = fmt.Errorf("the newest key of the file is key %d, and the database uses key %d", newest, check.Key)
		f.Fix = fixRekey
	case check.Old() > 0:
		f.Err = fmt.Errorf("%d stored secrets are sealed with an older key than key %d", check.Old(), check.Key)
		f.Fix = fixRekey
	case len(keys) > 1:
		f.Note = fmt.Sprintf("all %d stored secrets open with key %d; older keys can be removed: "+
			"keep a copy with older backups, then run `slipway rekey --remove-old-keys`", check.Values[check.Key], check.Key)
	default:
		f.Note = fmt.Sprintf("all %d stored secrets open with key %d", check.Values[check.Key], check.Key)
	}
	return f
}
