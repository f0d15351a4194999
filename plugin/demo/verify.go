package demo

import (
	"context"
	"fmt"
	"strings"

	"slipway/plugin/demo/localenv"
)

// verifyImage pulls a tag, compares its digest with the build's and its files with those of
// the commit that was built: /app/source.txt as it was, /app/greeting.txt in capitals.
func (l *loop) verifyImage(ctx context.Context, tag, digest, greeting string) error {
	image := l.env.Image() + ":" + tag
	img, got, err := l.env.Pull(ctx, image)
	if err != nil {
		return err
	}
	if got != digest {
		return fmt.Errorf("%s is %s, but the build says %s", image, got, digest)
	}
	for path, want := range map[string]string{"app/source.txt": greeting, "app/greeting.txt": strings.ToUpper(greeting)} {
		content, err := localenv.ReadFile(img, path)
		if err != nil {
			return fmt.Errorf("%s: %w", image, err)
		}
		if content != want {
			return fmt.Errorf("%s: /%s is %q, want %q", image, path, content, want)
		}
	}
	return nil
}
