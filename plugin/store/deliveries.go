package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/klauspost/compress/zstd"

	"slipway/plugin/autobuild"
	"slipway/plugin/store/queue"
)

// maxBody is the maximum size of an unpacked body, in bytes.
const maxBody = 16 << 20

// receiveTimeout bounds one transaction of deliveries. The sender then receives a 503 before its
// own timeout of 10 s.
const receiveTimeout = 8 * time.Second

// A deliveryRow is a delivery with a compressed body.
type deliveryRow struct {
	autobuild.Delivery
	packed []byte
}

// openCodec creates the compressor of bodies.
func (s *Store) openCodec() (err error) {
	if s.encoder, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2),
		zstd.WithLowerEncoderMem(true)); err != nil {
		return err
	}
	s.decoder, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(maxBody))
	return err
}

// ReceiveDelivery stores a delivery and its plan task, and returns the new id. Both are durable
// if the error is nil. Concurrent calls share transactions of up to 256 deliveries. A zero
// ReceivedAt becomes the current time.
func (s *Store) ReceiveDelivery(ctx context.Context, d autobuild.Delivery) (id string, err error) {
	d.ID, d.State = newID(), autobuild.DeliveryReceived
	if d.ReceivedAt.IsZero() {
		d.ReceivedAt = s.Now()
	}
	row := deliveryRow{Delivery: d, packed: s.encoder.EncodeAll(d.Body, []byte{})}
	if err := s.inbox.put(ctx, row); err != nil {
		return "", fmt.Errorf("receive delivery for hook %s: %w", d.HookID, err)
	}
	return d.ID, nil
}

// storeDeliveries writes a batch in one transaction. If that fails, it stores each delivery
// alone, so that one bad row does not make the others fail. It skips deliveries whose context has
// ended.
func (s *Store) storeDeliveries(batch []*pendingDelivery) {
	var wanted []*pendingDelivery
	for _, one := range batch {
		if err := one.ctx.Err(); err != nil {
			one.stored <- err
			continue
		}
		wanted = append(wanted, one)
	}
	err := s.storeBatch(wanted)
	for _, one := range wanted {
		if err != nil && len(wanted) > 1 {
			one.stored <- s.storeBatch([]*pendingDelivery{one})
			continue
		}
		one.stored <- err
	}
}

func (s *Store) storeBatch(batch []*pendingDelivery) error {
	if len(batch) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), receiveTimeout)
	defer cancel()
	return s.tx(ctx, "store deliveries", func(tx *sql.Tx) error {
		var tasks []queue.NewTask
		for _, one := range batch {
			isNew, err := s.storeDelivery(ctx, tx, one.row)
			if err != nil {
				return err
			}
			if isNew {
				tasks = append(tasks, queue.NewTask{Kind: autobuild.TaskPlan, Arg: one.row.ID, Lane: one.row.HookID})
			}
		}
		return s.tasks.Enqueue(ctx, tx, tasks...)
	})
}

// storeDelivery changes nothing if the row exists already. Then an earlier transaction was
// committed, with its task, although the connection broke before the reply arrived.
func (s *Store) storeDelivery(ctx context.Context, tx *sql.Tx, d deliveryRow) (isNew bool, err error) {
	result, err := tx.ExecContext(ctx,
		`INSERT INTO deliveries (id, hook_id, event, request_id, header, body, received_at, state, reason,
			outcomes, planned_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '', 'null', 0) ON CONFLICT (id) DO NOTHING`, d.ID, d.HookID,
		d.Event, d.RequestID, asJSON(d.Header), d.packed, ms(d.ReceivedAt), d.State)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

const deliveryColumns = `id, hook_id, event, request_id, header, received_at, state, reason, outcomes, planned_at`

func scanDelivery(r scanner) (d autobuild.Delivery, err error) {
	err = r.Scan(&d.ID, &d.HookID, &d.Event, &d.RequestID, fromJSON(&d.Header), at(&d.ReceivedAt), &d.State,
		&d.Reason, fromJSON(&d.Outcomes), at(&d.PlannedAt))
	return d, err
}

// Delivery returns a delivery with its body and headers.
func (s *Store) Delivery(ctx context.Context, id string) (autobuild.Delivery, error) {
	var c conditions
	c.terms = append(c.terms, "id = "+c.arg(id))
	return s.delivery(ctx, id, c)
}

func (s *Store) delivery(ctx context.Context, id string, c conditions) (autobuild.Delivery, error) {
	d, err := scanDelivery(s.read.QueryRowContext(ctx, `SELECT `+deliveryColumns+`
		FROM deliveries`+c.where(), c.args...))
	if err != nil {
		return autobuild.Delivery{}, fmt.Errorf("delivery %s: %w", id, mapError(err))
	}
	var packed []byte
	if err := s.read.QueryRowContext(ctx, `SELECT body FROM deliveries WHERE id = $1`, id).Scan(&packed); err != nil {
		return autobuild.Delivery{}, fmt.Errorf("delivery %s: %w", id, mapError(err))
	}
	if d.Body, err = s.decoder.DecodeAll(packed, nil); err != nil {
		return autobuild.Delivery{}, fmt.Errorf("delivery %s: unpack: %w", id, err)
	}
	return d, nil
}

// ExplainDelivery stores in the Reason of a received delivery why its planning waits. It does not
// change a planned delivery.
func (s *Store) ExplainDelivery(ctx context.Context, id, reason string) error {
	return s.tx(ctx, "explain delivery "+id, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE deliveries SET reason = $2 WHERE id = $1 AND state = $3`, id, reason,
			autobuild.DeliveryReceived)
		return err
	})
}

// Deliveries returns the deliveries of a filter, newest first, without bodies.
func (s *Store) Deliveries(ctx context.Context, f autobuild.DeliveryFilter) ([]autobuild.Delivery, error) {
	return s.listDeliveries(ctx, conditions{}, f)
}

func (s *Store) listDeliveries(
	ctx context.Context, c conditions, f autobuild.DeliveryFilter,
) ([]autobuild.Delivery, error) {
	if f.HookID != "" {
		c.terms = append(c.terms, "hook_id = "+c.arg(f.HookID))
	}
	if f.Before != "" {
		c.terms = append(c.terms,
			"(received_at, id) < (SELECT received_at, id FROM deliveries WHERE id = "+c.arg(f.Before)+")")
	}
	return s.queryDeliveries(ctx, c, c.where(), pageLimit(f.Limit))
}

// queryDeliveries returns the newest deliveries of a WHERE clause, which has the arguments of the conditions.
func (s *Store) queryDeliveries(
	ctx context.Context, c conditions, where string, limit int,
) ([]autobuild.Delivery, error) {
	statement := `SELECT ` + deliveryColumns + ` FROM deliveries` + where +
		` ORDER BY received_at DESC, id DESC LIMIT ` + c.arg(limit)
	all, err := queryAll(ctx, s.read, scanDelivery, statement, c.args...)
	if err != nil {
		return nil, fmt.Errorf("list deliveries: %w", err)
	}
	return all, nil
}
