package store_test

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"

	"slipway/config/must"
)

// A recorder is SQLite's default file system (VFS) of this process. It passes all calls to the usual one, and records
// the order of the writes and syncs of the files below a directory. So a test can make the files as they are after a
// power loss at any time (files).
//
// https://www.sqlite.org/vfs.html
type recorder struct {
	dir   string
	vfs   *sqlite3.Tsqlite3_vfs // a copy of the usual one with our Open and Delete
	usual sqlite3.Tsqlite3_vfs
	// The functions of the copies. SQLite has only their addresses, so they are kept here.
	onOpen     openMethod
	onDelete   deleteMethod
	onClose    closeMethod
	onWrite    writeMethod
	onTruncate truncateMethod
	onSync     syncMethod

	mu     sync.Mutex
	opened map[uintptr]*recordedFile // by the address of SQLite's file
	inodes map[string]int            // of the existing files, by name
	events []fileEvent
}

// A recordedFile is an open file. SQLite has opened some files several times.
type recordedFile struct {
	name  string
	inode int
	// syncsDir is true until the first sync of a new journal or WAL. SQLite then syncs the directory, too.
	syncsDir bool
	methods  *sqlite3.Tsqlite3_io_methods // a copy of the usual ones with ours; SQLite refers to it
	usual    sqlite3.Tsqlite3_io_methods
}

// A fileEvent is a change of a file or of the directory, or a note.
type fileEvent struct {
	file  string
	inode int // a file that was deleted and created again has another
	kind  eventKind
	at    int64  // of a write: its offset; of a truncation: the new size
	data  []byte // of a write
	note  string // what the test has seen by then
}

type eventKind int

const (
	wrote     eventKind = iota
	truncated           // the file has another size
	synced              // the content of the file is on the disk
	created             // the directory has the file
	deleted             // the directory does not have the file any more
	dirSynced           // the names in the directory are on the disk
	noted
)

// The types of the methods that the recorder replaces.
type (
	openMethod     = func(tls *libc.TLS, vfs, name, file uintptr, flags int32, outFlags uintptr) int32
	deleteMethod   = func(tls *libc.TLS, vfs, name uintptr, syncDir int32) int32
	closeMethod    = func(tls *libc.TLS, file uintptr) int32
	writeMethod    = func(tls *libc.TLS, file, data uintptr, size int32, at int64) int32
	truncateMethod = func(tls *libc.TLS, file uintptr, size int64) int32
	syncMethod     = func(tls *libc.TLS, file uintptr, flags int32) int32
)

// record makes a recorder the default until the end of the test. A test that calls it must not run in parallel.
func record(t *testing.T, dir string) *recorder {
	t.Helper()
	tls := libc.NewTLS()
	t.Cleanup(tls.Close)
	usual := sqlite3.Xsqlite3_vfs_find(tls, 0)
	r := &recorder{dir: dir, opened: map[uintptr]*recordedFile{}, inodes: map[string]int{}}
	r.onOpen, r.onDelete = r.open, r.delete
	r.onClose, r.onWrite = r.close, r.write
	r.onTruncate, r.onSync = r.truncate, r.sync
	r.usual = *at[sqlite3.Tsqlite3_vfs](usual)
	r.vfs = &sqlite3.Tsqlite3_vfs{}
	*r.vfs = r.usual
	r.vfs.FzName = must.Get[uintptr](t)(libc.CString("recorder"))
	r.vfs.FxOpen = pointerTo(r.onOpen)
	r.vfs.FxDelete = pointerTo(r.onDelete)
	if code := sqlite3.Xsqlite3_vfs_register(tls, addressOf(r.vfs), 1); code != sqlite3.SQLITE_OK {
		t.Fatalf("register the recorder: got code %d, want 0", code)
	}
	t.Cleanup(func() {
		sqlite3.Xsqlite3_vfs_unregister(tls, addressOf(r.vfs))
		sqlite3.Xsqlite3_vfs_register(tls, usual, 1)
		libc.Xfree(tls, r.vfs.FzName)
	})
	return r
}

// The C code of SQLite is Go with C's pointers. A function pointer is the address of a Go function value.

func pointerTo(function any) uintptr { return (*[2]uintptr)(unsafe.Pointer(&function))[1] }

func function[F any](pointer uintptr) F { return *(*F)(unsafe.Pointer(&struct{ uintptr }{pointer})) }

func at[T any](address uintptr) *T { return *(**T)(unsafe.Pointer(&address)) }

func addressOf[T any](value *T) uintptr { return uintptr(unsafe.Pointer(value)) }

// add records an event. The caller holds r.mu from the start of the call until the event is added, so the order of
// the events is that of the calls.
func (r *recorder) add(e fileEvent) { r.events = append(r.events, e) }

// note records that the test has seen something, for example that a row is stored.
func (r *recorder) note(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(fileEvent{kind: noted, note: text})
}

// log returns the events.
func (r *recorder) log() []fileEvent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events
}

// nameOf returns the name of a file below the directory. The shared memory of the WAL counts as outside: SQLite
// makes it again after a crash.
func (r *recorder) nameOf(path string) (name string, recorded bool) {
	name, err := filepath.Rel(r.dir, path)
	return name, err == nil && filepath.IsLocal(name) && !strings.HasSuffix(name, "-shm")
}

func (r *recorder) open(tls *libc.TLS, vfs, name, file uintptr, flags int32, outFlags uintptr) int32 {
	code := function[openMethod](r.usual.FxOpen)(tls, vfs, name, file, flags, outFlags)
	if code != sqlite3.SQLITE_OK || name == 0 {
		return code
	}
	path, recorded := r.nameOf(libc.GoString(name))
	if !recorded {
		return code
	}
	opened := at[sqlite3.Tsqlite3_file](file)
	f := &recordedFile{name: path, usual: *at[sqlite3.Tsqlite3_io_methods](opened.FpMethods)}
	f.methods = &sqlite3.Tsqlite3_io_methods{}
	*f.methods = f.usual
	f.methods.FxClose = pointerTo(r.onClose)
	f.methods.FxWrite = pointerTo(r.onWrite)
	f.methods.FxTruncate = pointerTo(r.onTruncate)
	f.methods.FxSync = pointerTo(r.onSync)
	opened.FpMethods = addressOf(f.methods)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.opened[file] = f
	if r.inodes[path] == 0 {
		r.inodes[path] = len(r.events) + 1
		f.syncsDir = flags&(sqlite3.SQLITE_OPEN_WAL|sqlite3.SQLITE_OPEN_MAIN_JOURNAL) != 0
		r.add(fileEvent{file: path, inode: r.inodes[path], kind: created})
	}
	f.inode = r.inodes[path]
	return code
}

func (r *recorder) delete(tls *libc.TLS, vfs, name uintptr, syncDir int32) int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	code := function[deleteMethod](r.usual.FxDelete)(tls, vfs, name, syncDir)
	if path, recorded := r.nameOf(libc.GoString(name)); recorded && code == sqlite3.SQLITE_OK {
		r.add(fileEvent{file: path, kind: deleted})
		delete(r.inodes, path)
		if syncDir != 0 {
			r.add(fileEvent{kind: dirSynced})
		}
	}
	return code
}

func (r *recorder) close(tls *libc.TLS, file uintptr) int32 {
	r.mu.Lock()
	f := r.opened[file]
	delete(r.opened, file)
	r.mu.Unlock()
	return function[closeMethod](f.usual.FxClose)(tls, file)
}

func (r *recorder) write(tls *libc.TLS, file, data uintptr, size int32, offset int64) int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.opened[file]
	code := function[writeMethod](f.usual.FxWrite)(tls, file, data, size, offset)
	if code == sqlite3.SQLITE_OK {
		r.add(fileEvent{
			file:  f.name,
			inode: f.inode,
			kind:  wrote,
			at:    offset,
			data:  bytes.Clone(unsafe.Slice(at[byte](data), size)),
		})
	}
	return code
}

func (r *recorder) truncate(tls *libc.TLS, file uintptr, size int64) int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.opened[file]
	code := function[truncateMethod](f.usual.FxTruncate)(tls, file, size)
	if code == sqlite3.SQLITE_OK {
		r.add(fileEvent{file: f.name, inode: f.inode, kind: truncated, at: size})
	}
	return code
}

func (r *recorder) sync(tls *libc.TLS, file uintptr, flags int32) int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.opened[file]
	code := function[syncMethod](f.usual.FxSync)(tls, file, flags)
	if code == sqlite3.SQLITE_OK {
		r.add(fileEvent{file: f.name, inode: f.inode, kind: synced})
		if f.syncsDir {
			r.add(fileEvent{kind: dirSynced})
		}
		f.syncsDir = false
	}
	return code
}

// sectorBytes is the part of a write that a disk writes whole or not at all.
const sectorBytes = 512

// A fakeDisk is the content of a disk.
type fakeDisk struct {
	names   map[string]int // inodes by name
	content map[int][]byte // by inode
}

// filesAfter returns the files after a power loss at the end of the events: all changes before the last sync of a
// file or directory, and of the others only those that keep chooses. keep is called for each sector of a write.
func filesAfter(events []fileEvent, keep func() bool) map[string][]byte {
	disk := fakeDisk{names: map[string]int{}, content: map[int][]byte{}}
	pending := map[int][]fileEvent{} // by inode; that of the directory is 0
	for _, e := range events {
		of := e.inode
		if e.kind == created || e.kind == deleted {
			of = 0
		}
		switch e.kind {
		case noted:
		case synced, dirSynced:
			for _, p := range pending[of] {
				disk.apply(p, func() bool { return true })
			}
			delete(pending, of)
		default:
			pending[of] = append(pending[of], e)
		}
	}
	for _, of := range slices.Sorted(maps.Keys(pending)) {
		for _, p := range pending[of] {
			disk.apply(p, keep)
		}
	}
	files := map[string][]byte{}
	for name, inode := range disk.names {
		files[name] = disk.content[inode]
	}
	return files
}

// apply makes a change. keep chooses the sectors of a write, or the whole of another change.
func (d fakeDisk) apply(e fileEvent, keep func() bool) {
	if e.kind == wrote {
		for from := 0; from < len(e.data); {
			to := min(from+sectorBytes-int((e.at+int64(from))%sectorBytes), len(e.data))
			if keep() {
				d.content[e.inode] = overwrite(d.content[e.inode], e.data[from:to], int(e.at)+from)
			}
			from = to
		}
		return
	}
	if !keep() {
		return
	}
	switch e.kind {
	case created:
		d.names[e.file] = e.inode
	case deleted:
		delete(d.names, e.file)
	case truncated:
		content := d.content[e.inode]
		d.content[e.inode] = append(content[:min(int(e.at), len(content))],
			make([]byte, max(int(e.at)-len(content), 0))...)
	}
}

// overwrite writes data into a file. A hole before it is zero.
func overwrite(content, data []byte, offset int) []byte {
	if missing := offset + len(data) - len(content); missing > 0 {
		content = append(content, make([]byte, missing)...)
	}
	copy(content[offset:], data)
	return content
}

// storeFiles writes the files of filesAfter to a directory.
func storeFiles(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	for name, content := range files {
		must.Succeed(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
}
