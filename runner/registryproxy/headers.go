package registryproxy

// maxErrorBody bounds the body of a response that is an error, in bytes.
const maxErrorBody = 64 << 10

// requestHeaders are the headers of a client that the registry gets.
var requestHeaders = []string{
	"Accept",
	"Content-Type",
	"Content-Range",
	"If-None-Match",
	"Range",
	"User-Agent",
}

// responseHeaders are the headers of the registry that a client gets. Location, Link,
// Docker-Content-Digest of a push and Docker-Upload-Uuid have values of the proxy.
var responseHeaders = []string{
	"Accept-Ranges",
	"Content-Encoding",
	"Content-Length",
	"Content-Range",
	"Content-Type",
	"Docker-Content-Digest",
	"Docker-Distribution-Api-Version",
	"Etag",
	"Oci-Chunk-Min-Length",
	"Oci-Filters-Applied",
	"Oci-Subject",
	"Range",
	"Retry-After",
}
