// Package databases tests fence.Table with real databases. It is a module of its own, so that their
// drivers do not enter etcdkit's go.mod.
package databases_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lock/fence"
)

func TestMain(m *testing.M) {
	code := etcdtest.Main(m).Run()
	if err := stopPostgres(); err != nil {
		fmt.Println("end PostgreSQL:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// within bounds what a test waits for, on a machine that does much else.
const within = 60 * time.Second

// fences is the table of these tests; any word will do.
var fences = fence.Table{Name: "order"}

// each runs a test with each database: one that is empty but for fences, and file, which has one row.
func each(t *testing.T, test func(t *testing.T, db *sql.DB)) {
	for name, open := range map[string]func(*testing.T) *sql.DB{"SQLite": openSQLite, "PostgreSQL": openPostgres} {
		t.Run(name, func(t *testing.T) {
			db := open(t)
			t.Cleanup(func() { db.Close() })
			if err := fences.Create(t.Context(), db); err != nil {
				t.Fatal(err)
			}
			for _, statement := range []string{
				`CREATE TABLE file (text TEXT NOT NULL, token BIGINT NOT NULL)`,
				`INSERT INTO file VALUES ('empty', 0)`,
			} {
				if _, err := db.ExecContext(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
			}
			test(t, db)
		})
	}
}

// openSQLite is as the driver comes, but for the time that a writer waits for another one.
func openSQLite(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "db")+"?_pragma=busy_timeout(60000)")
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// inTx is a transaction.
func inTx(ctx context.Context, db *sql.DB, level sql.IsolationLevel, f func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: level})
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// write is what a holder does: the check and the write in one transaction.
func write(ctx context.Context, db *sql.DB, token int64, text string) error {
	return inTx(ctx, db, sql.LevelDefault, func(tx *sql.Tx) error {
		if err := fences.Check(ctx, tx, "lock", token); err != nil {
			return err
		}
		return writeOnly(ctx, tx, token, text)
	})
}

type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func writeOnly(ctx context.Context, in execer, token int64, text string) error {
	_, err := in.ExecContext(ctx, `UPDATE file SET text = $1, token = $2`, text, token)
	return err
}

func read(t *testing.T, db *sql.DB) (text string, token int64) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), `SELECT text, token FROM file`).Scan(&text, &token); err != nil {
		t.Fatal(err)
	}
	return text, token
}

func TestAnOlderTokenWritesNothing(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB) {
		for _, token := range []int64{33, 33, 34, 1<<63 - 2, 1<<63 - 2} {
			if err := write(t.Context(), db, token, fmt.Sprint("by ", token)); err != nil {
				t.Errorf("token %d: %v", token, err)
			}
		}
		err := write(t.Context(), db, 34, "late")
		stale, ok := errors.AsType[*fence.StaleError](err)
		if want := (fence.StaleError{Name: "lock", Token: 34, Seen: 1<<63 - 2}); !errors.Is(err, fence.ErrStale) || !ok || *stale != want {
			t.Errorf("got %v, want %v", err, &want)
		}
		if text, _ := read(t, db); text != fmt.Sprint("by ", int64(1<<63-2)) {
			t.Errorf("the file is %q", text)
		}
		err = inTx(t.Context(), db, sql.LevelDefault, func(tx *sql.Tx) error { return fences.Check(t.Context(), tx, "another", 1) })
		if err != nil {
			t.Errorf("another lock's older token: %v", err)
		}
	})
}

func TestATokenCountsWhenItsTransactionCommits(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB) {
		sorry := errors.New("sorry")
		err := inTx(t.Context(), db, sql.LevelDefault, func(tx *sql.Tx) error {
			return errors.Join(fences.Check(t.Context(), tx, "lock", 34), sorry)
		})
		if !errors.Is(err, sorry) {
			t.Fatal(err)
		}
		if err := write(t.Context(), db, 33, "by 33"); err != nil {
			t.Errorf("after 34 was rolled back: %v", err)
		}
	})
}

func TestALocksNameIsAnyText(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB) {
		for _, name := range []string{"", "jobs/nightly", `'; DROP TABLE file; --`, "밤", strings.Repeat("long", 500)} {
			check := func(token int64) error {
				return inTx(t.Context(), db, sql.LevelDefault, func(tx *sql.Tx) error { return fences.Check(t.Context(), tx, name, token) })
			}
			if err := check(34); err != nil {
				t.Errorf("%.20q: %v", name, err)
			}
			if err := check(33); !errors.Is(err, fence.ErrStale) {
				t.Errorf("%.20q: got %v, want ErrStale", name, err)
			}
		}
		read(t, db)
	})
}

func TestSeveralMayCreateTheTableAtOnce(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB) {
		for round := range 20 {
			table := fence.Table{Name: fmt.Sprint("fences_", round)}
			errs := make(chan error)
			for range 8 {
				go func() { errs <- table.Create(t.Context(), db) }() // ends with the call
			}
			for range 8 {
				if err := <-errs; err != nil {
					t.Error(err)
				}
			}
		}
	})
}

func TestTheSchemaIsThatOfTheDefaultTable(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB) {
		if _, err := db.ExecContext(t.Context(), fence.Schema); err != nil {
			t.Fatal(err)
		}
		err := inTx(t.Context(), db, sql.LevelDefault, func(tx *sql.Tx) error { return fence.Table{}.Check(t.Context(), tx, "lock", 33) })
		if err != nil {
			t.Error(err)
		}
	})
}

func TestATableThatIsNotThereIsNamed(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB) {
		err := fence.TableStore{DB: db, Table: fence.Table{Name: "nowhere"}}.Check(t.Context(), "lock", 33)
		if err == nil || !strings.Contains(err.Error(), `check token 33 of lock "lock" in table "nowhere": `) {
			t.Errorf("got %v", err)
		}
	})
}

func TestTheStoreOutlivesTheProcess(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB) {
		if err := (fence.TableStore{DB: db, Table: fences}).Check(t.Context(), "lock", 34); err != nil {
			t.Fatal(err)
		}
		err := fence.TableStore{DB: db, Table: fences}.Check(t.Context(), "lock", 33) // another process's
		if stale, ok := errors.AsType[*fence.StaleError](err); !ok || stale.Seen != 34 {
			t.Errorf("got %v, want stale, with 34 seen", err)
		}
	})
}
