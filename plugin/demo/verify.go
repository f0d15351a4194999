package demo

import (
	"context"
	"fmt"
	"strings"

	"slipway/plugin/demo/localenv"
)

// verifyImage pulls a tag and compares its digest with the build's digest. It also checks the files:
// /app/source.txt must equal greeting, and /app/greeting.txt must be greeting in capitals.
func (s *scenario) verifyImage(ctx context.Context, tag, digest, greeting string) error {
	image := s.env.Image() + ":" + tag
	img, got, err := s.env.Pull(ctx, image)
	if err != nil {
		return err
	}
	if got != digest {
		return fmt.Errorf("%s: got digest %s, want %s of the build", image, got, digest)
	}
	for path, want := range map[string]string{"app/source.txt": greeting, "app/greeting.txt": strings.ToUpper(greeting)} {
		content, err := localenv.ReadFile(img, path)
		if err != nil {
			return fmt.Errorf("%s: %w", image, err)
		}
		if content != want {
			return fmt.Errorf("%s: /%s: got %q, want %q", image, path, content, want)
		}
	}
	return nil
}
