package bitbuckettest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
)

// lfsType is the content type of the Git LFS API:
// https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md
const lfsType = "application/vnd.git-lfs+json"

// maxBatch is the maximum size of a batch request, in bytes.
const maxBatch = 1 << 20

// lfsStorage has the LFS objects by SHA-256. As at Cloud they are on other hosts: a media host, which
// needs a header, redirects to a storage host, which rejects requests with an Authorization header.
type lfsStorage struct {
	mu      sync.Mutex
	media   string // base URL; empty = URL of the server
	storage string
	key     string // credential for the media host
	objects map[string][]byte
}

// SetLFSHosts sets the base URLs of MediaHost and StorageHost.
func (s *Server) SetLFSHosts(media, storage string) {
	s.lfs.mu.Lock()
	defer s.lfs.mu.Unlock()
	s.lfs.media, s.lfs.storage = media, storage
}

// AddLFSObject stores an object for all repositories and returns its ID.
func (s *Server) AddLFSObject(content []byte) (oid string) {
	sum := sha256.Sum256(content)
	oid = hex.EncodeToString(sum[:])
	s.lfs.mu.Lock()
	defer s.lfs.mu.Unlock()
	if s.lfs.objects == nil {
		s.lfs.objects, s.lfs.key = map[string][]byte{}, "JWT "+randomText(64)
	}
	s.lfs.objects[oid] = content
	return oid
}

// batch returns the URLs of a repository's objects. It supports only downloads.
func (s *Server) batch(w http.ResponseWriter, r *http.Request) {
	repo := s.findRepository(r.PathValue("workspace"), strings.TrimSuffix(r.PathValue("slug"), ".git"))
	if _, err := s.authorizeGit(r, repo, Read); err != nil {
		rejectGit(w, err)
		return
	}
	var request struct {
		Operation string
		Objects   []struct {
			OID  string `json:"oid"`
			Size int64  `json:"size"`
		}
	}
	err := json.NewDecoder(io.LimitReader(r.Body, maxBatch)).Decode(&request)
	if err != nil || request.Operation != "download" {
		w.Header().Set("Content-Type", lfsType)
		w.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(w).
			Encode(object{"message": "You do not have write access to this repository."})
			// the client has gone
		return
	}
	s.lfs.mu.Lock()
	defer s.lfs.mu.Unlock()
	var objects []object
	for _, o := range request.Objects {
		content, ok := s.lfs.objects[o.OID]
		response := object{"oid": o.OID, "size": o.Size}
		if ok {
			response["size"] = len(content)
			response["actions"] = object{"download": object{
				"href":       s.lfs.media + "/media/" + o.OID,
				"header":     object{"Authorization": s.lfs.key},
				"expires_in": 3600,
			}}
		} else {
			response["error"] = object{"code": http.StatusNotFound, "message": "Object does not exist"}
		}
		objects = append(objects, response)
	}
	w.Header().Set("Content-Type", lfsType)
	_ = json.NewEncoder(w).Encode(object{"transfer": "basic", "objects": objects}) // the client has gone
}

// MediaHost redirects requests with the header from a batch response to the storage host.
func (s *Server) MediaHost() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /media/{oid}", func(w http.ResponseWriter, r *http.Request) {
		s.lfs.mu.Lock()
		key, storage := s.lfs.key, s.lfs.storage
		s.lfs.mu.Unlock()
		if r.Header.Get("Authorization") != key {
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		target := storage + "/blob/" + r.PathValue("oid") + "?signature=x"
		http.Redirect(w, r, target, http.StatusFound) //nolint:gosec // the host of SetLFSHosts
	})
	return mux
}

// StorageHost returns objects. It rejects a request with two credentials, as S3 does:
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
func (s *Server) StorageHost() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /blob/{oid}", func(w http.ResponseWriter, r *http.Request) {
		s.lfs.mu.Lock()
		content, ok := s.lfs.objects[r.PathValue("oid")]
		s.lfs.mu.Unlock()
		if !ok || r.Header.Get("Authorization") != "" || r.URL.Query().Get("signature") == "" {
			http.Error(w, "Only one auth mechanism allowed", http.StatusBadRequest)
			return
		}
		_, _ = w.Write(content) // the client has gone
	})
	return mux
}
