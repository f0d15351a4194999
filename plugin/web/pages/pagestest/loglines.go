package pagestest

// logLines is the log of a builder, with markup and control sequences that pages must not pass on.
var logLines = []string{
	"fetching acme/app at 8c1f2e9",
	"\x1b[36mfetched\x1b[0m 41 objects, 1.2 MB",
	"#1 [internal] load build definition from Dockerfile",
	"#1 transferring dockerfile: 412B done",
	"#1 DONE 0.0s",
	"",
	"#2 [build 1/5] FROM registry.example.com/base/go:1.26@sha256:77aa",
	"#2 resolve registry.example.com/base/go:1.26",
	"#2 sha256:77aa 10.2MB / 62.0MB",
	"#2 sha256:77aa 62.0MB / 62.0MB",
	"#2 CACHED",
	"",
	"#7 [build 3/5] RUN go build ./...",
	"#7 0.412 go: downloading github.com/gin-gonic/gin v1.12.0",
	"#7 0.901 go: downloading golang.org/x/net v0.59.0",
	"#7 11.20 \x1b[33mwarning\x1b[0m: \x1b]8;;javascript:alert(1)\x07internal/legacy\x1b]8;;\x07 is deprecated",
	"#7 38.11 ok  	app/internal/cache	0.212s <img src=x onerror=alert(1)>",
	"#7 DONE 38.2s",
	"",
	"#9 exporting to image",
	"#9 exporting layers 10%\r#9 exporting layers 80%\r#9 exporting layers done",
	"#9 pushing manifest for registry.example.com/acme/app:1.2",
	"#9 \x1b[32;1mDONE\x1b[0m 3.1s",
	"pushed 3 tags in 3.2s",
}
