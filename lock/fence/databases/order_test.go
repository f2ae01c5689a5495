package databases_test

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/etcdkit/etcdkit/lock/fence"
)

// Whatever is visible last is never of an older token than what was accepted before: each write is
// noted in the transaction that makes it, and the notes are in the order of the commits, as the row
// of the token is locked until then.
func TestAcceptedWritesAreInTheOrderOfTheirTokens(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB) {
		levels := map[string]sql.IsolationLevel{"default": sql.LevelDefault}
		id := "INTEGER PRIMARY KEY AUTOINCREMENT"
		if isPostgres(db) {
			levels["repeatable read"], levels["serializable"] = sql.LevelRepeatableRead, sql.LevelSerializable
			id = "BIGSERIAL PRIMARY KEY"
		}
		for name, level := range levels {
			t.Run(name, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), within)
				defer cancel()
				lock := "lock at " + name
				for _, statement := range []string{`DROP TABLE IF EXISTS story`, `CREATE TABLE story (id ` + id + `, token BIGINT NOT NULL)`} {
					if _, err := db.ExecContext(ctx, statement); err != nil {
						t.Fatal(err)
					}
				}
				var (
					next                     atomic.Int64
					accepted, stale, retried atomic.Int64
					newest                   atomic.Int64 // of those whose commit was answered
					wg                       sync.WaitGroup
				)
				const clients, times = 12, 40
				for range clients {
					wg.Go(func() {
						for range times {
							token := max(1, next.Add(1)-rand.Int64N(clients)) // some are late
							before := newest.Load()
							err := again(&retried, func() error {
								return inTx(ctx, db, level, func(tx *sql.Tx) error {
									if err := fences.Check(ctx, tx, lock, token); err != nil {
										return err
									}
									_, e1 := tx.ExecContext(ctx, `INSERT INTO story (token) VALUES ($1)`, token)
									return errors.Join(e1, writeOnly(ctx, tx, token, "by a client"))
								})
							})
							switch {
							case errors.Is(err, fence.ErrStale):
								stale.Add(1)
							case err != nil:
								t.Error(err)
							default:
								accepted.Add(1)
								if token < before {
									t.Errorf("%d was accepted after %d", token, before)
								}
								raise(&newest, token)
							}
						}
					})
				}
				wg.Wait()
				notes := notes(t, db)
				for i := 1; i < len(notes); i++ {
					if notes[i] < notes[i-1] {
						t.Errorf("write %d is of token %d, after one of %d", i+1, notes[i], notes[i-1])
					}
				}
				if _, token := read(t, db); token != newest.Load() || int64(len(notes)) != accepted.Load() {
					t.Errorf("visible last: %d, newest accepted: %d; %d notes of %d accepted", token, newest.Load(), len(notes), accepted.Load())
				}
				t.Logf("%d accepted, %d stale, %d begun again", accepted.Load(), stale.Load(), retried.Load())
				if accepted.Load() == 0 || stale.Load() == 0 {
					t.Error("want some of both")
				}
			})
		}
	})
}

// again begins a transaction again that PostgreSQL ended as it could not be serialized.
func again(count *atomic.Int64, f func() error) error {
	for {
		err := f()
		if pg, ok := errors.AsType[*pgconn.PgError](err); !ok || pg.Code != "40001" {
			return err
		}
		count.Add(1)
	}
}

func raise(newest *atomic.Int64, token int64) {
	for {
		seen := newest.Load()
		if token <= seen || newest.CompareAndSwap(seen, token) {
			return
		}
	}
}

func notes(t *testing.T, db *sql.DB) (tokens []int64) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `SELECT token FROM story ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var token int64
		if err := rows.Scan(&token); err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, token)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return tokens
}

func isPostgres(db *sql.DB) bool {
	var version string
	return db.QueryRow(`SELECT version()`).Scan(&version) == nil && strings.HasPrefix(version, "PostgreSQL")
}

// The row is locked from the check on, with an equal token, too, and what waits compares with what
// was committed.
func TestACheckWaitsForTheTransactionOfAnotherOne(t *testing.T) {
	for name, first := range map[string]int64{"newer": 35, "equal to what is stored": 34} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, db *sql.DB) {
				if err := write(t.Context(), db, 34, "before"); err != nil {
					t.Fatal(err)
				}
				tx, err := db.BeginTx(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := fences.Check(t.Context(), tx, "lock", first); err != nil {
					t.Fatal(err)
				}
				second := make(chan error, 1)
				go func() { second <- write(t.Context(), db, first-1, "late") }() // ends with the write
				third := make(chan error, 1)
				go func() { third <- write(t.Context(), db, first+1, "newest") }()
				select {
				case err := <-second:
					t.Errorf("an older one did not wait: %v", err)
				case err := <-third:
					t.Errorf("a newer one did not wait: %v", err)
				case <-shortly():
				}
				if err := errors.Join(writeOnly(t.Context(), tx, first, "of the first"), tx.Commit()); err != nil {
					t.Fatal(err)
				}
				if err := <-second; !errors.Is(err, fence.ErrStale) {
					t.Errorf("the older one: got %v, want ErrStale", err)
				}
				if err := <-third; err != nil {
					t.Errorf("the newer one: %v", err)
				}
				if text, _ := read(t, db); text != "newest" {
					t.Errorf("the file is %q", text)
				}
			})
		})
	}
}

// Why Check wants the transaction of the write: in one of its own it lets a late write through.
func TestACheckInATransactionOfItsOwnDoesNotProtect(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB) {
		alone := fence.TableStore{DB: db, Table: fences}
		if err := alone.Check(t.Context(), "lock", 33); err != nil {
			t.Fatal(err)
		}
		if err := write(t.Context(), db, 34, "of the second"); err != nil { // while the first one stands still
			t.Fatal(err)
		}
		if err := writeOnly(t.Context(), db, 33, "late"); err != nil {
			t.Fatal(err)
		}
		if text, _ := read(t, db); text != "late" {
			t.Errorf("the file is %q: the documentation says that this does not protect", text)
		}
	})
}

// Why Check comes before what is read: the fence knows of the second one when it passes for the
// first time.
func TestAnUpdateIsNotLostIfTheFenceIsPassedBeforeReading(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB) {
		for _, c := range []struct {
			name          string
			first, second int64
			fenceFirst    func() error
			late          error
		}{
			{"passed before", 33, 34, func() error { return fence.TableStore{DB: db, Table: fences}.Check(t.Context(), "lock", 34) }, fence.ErrStale},
			{"passed after", 35, 36, func() error { return nil }, nil}, // and what 35 wrote is lost
		} {
			if err := c.fenceFirst(); err != nil {
				t.Fatal(err)
			}
			text, _ := read(t, db) // by the second
			if err := write(t.Context(), db, c.first, "late"); !errors.Is(err, c.late) {
				t.Errorf("%s: the late write: got %v, want %v", c.name, err, c.late)
			}
			if err := write(t.Context(), db, c.second, text+"+1"); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	})
}
