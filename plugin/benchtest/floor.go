package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/gin-gonic/gin"
	_ "github.com/jackc/pgx/v5/stdlib" // driver pgx
	_ "modernc.org/sqlite"             // driver sqlite

	"slipway/plugin/bitbucket/webhook"
)

const (
	// floorCommand is the first argument of the process of the floor. Its address and its directory follow.
	floorCommand = "floor"
	// The variables of the floor's process: the key of signatures, and the address of PostgreSQL or empty.
	floorKey      = "SLIPWAY_BENCH_KEY"
	floorDatabase = "SLIPWAY_BENCH_DATABASE"

	floorBatch = 256      // rows of one transaction
	floorBody  = 10 << 20 // maximum size of a delivery, in bytes
)

// A floor stores signed deliveries. The rows that arrive during one commit go into the next one.
type floor struct {
	db      *sql.DB
	insert  *sql.Stmt
	secret  []byte
	waiting chan floorRow
}

type floorRow struct {
	hook   string
	body   []byte
	stored chan error
}

// serveFloor serves until ctx ends.
func serveFloor(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return errors.New("floor: give an address and a directory")
	}
	driver, source := "sqlite", "file:"+filepath.Join(args[1], "floor.db")+
		"?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"
	if address := os.Getenv(floorDatabase); address != "" {
		driver, source = "pgx", address
	}
	f, err := openFloor(ctx, driver, source, os.Getenv(floorKey))
	if err != nil {
		return err
	}
	go f.store(ctx)
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.POST("/hooks/bitbucket/:id", f.receive)
	server := &http.Server{Addr: args[0], Handler: e, ReadHeaderTimeout: time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() }) // ends ListenAndServe
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return f.db.Close()
}

func openFloor(ctx context.Context, driver, source, secret string) (*floor, error) {
	db, err := sql.Open(driver, source)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	blob := map[string]string{"sqlite": "BLOB", "pgx": "BYTEA"}[driver]
	_, err = db.ExecContext(ctx, fmt.Sprintf(`CREATE TABLE IF NOT EXISTS floor (
		id TEXT PRIMARY KEY, hook TEXT NOT NULL, body %s NOT NULL, received BIGINT NOT NULL)`, blob))
	if err != nil {
		return nil, err
	}
	insert, err := db.PrepareContext(ctx, `INSERT INTO floor (id, hook, body, received) VALUES ($1, $2, $3, $4)`)
	if err != nil {
		return nil, err
	}
	return &floor{db: db, insert: insert, secret: []byte(secret), waiting: make(chan floorRow, floorBatch)}, nil
}

// receive answers 202 after the delivery is on the disk.
func (f *floor) receive(c *gin.Context) {
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, floorBody))
	if err != nil {
		c.Status(http.StatusBadRequest)
		return
	}
	mac := hmac.New(sha256.New, f.secret)
	mac.Write(body)
	if !hmac.Equal([]byte(c.GetHeader(webhook.SignatureHeader)), []byte("sha256="+hex.EncodeToString(mac.Sum(nil)))) {
		c.Status(http.StatusUnauthorized)
		return
	}
	row := floorRow{hook: c.Param("id"), body: body, stored: make(chan error, 1)}
	f.waiting <- row
	if err := <-row.stored; err != nil {
		c.String(http.StatusServiceUnavailable, err.Error())
		return
	}
	c.Status(http.StatusAccepted)
}

// store writes the waiting rows until ctx ends.
func (f *floor) store(ctx context.Context) {
	for {
		var batch []floorRow
		select {
		case first := <-f.waiting:
			batch = append(batch, first)
		case <-ctx.Done():
			return
		}
		for len(batch) < floorBatch && len(f.waiting) > 0 {
			batch = append(batch, <-f.waiting)
		}
		err := f.storeBatch(ctx, batch)
		for _, row := range batch {
			row.stored <- err
		}
	}
}

func (f *floor) storeBatch(ctx context.Context, batch []floorRow) error {
	tx, err := f.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()    // has no effect after a commit
	insert := tx.StmtContext(ctx, f.insert) //nolint:sqlclosecheck // the end of the transaction closes it
	for _, row := range batch {
		if _, err := insert.ExecContext(ctx, rand.Text(), row.hook, row.body, time.Now().UnixMilli()); err != nil {
			return err
		}
	}
	return tx.Commit()
}
