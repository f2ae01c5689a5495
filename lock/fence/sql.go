package fence

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// Table is the table in which a database remembers the largest token of each lock's name. The zero value
// is the table fencing_tokens. Databases without INSERT … ON CONFLICT (MySQL) are not supported.
type Table struct {
	// Name is table or schema.table, of lower-case letters, digits and underscores. It is always
	// quoted, so it may be a keyword. Default "fencing_tokens".
	Name string
}

// Schema is what Create executes for the default table. It is for programs that keep their schema elsewhere.
const Schema = schemaHead + `"` + defaultTable + `"` + schemaTail

const (
	defaultTable = "fencing_tokens"
	schemaHead   = `CREATE TABLE IF NOT EXISTS `
	schemaTail   = ` (name TEXT NOT NULL PRIMARY KEY, token BIGINT NOT NULL)`
)

// PostgreSQL cuts names after 63 bytes, without an error.
var tableName = regexp.MustCompile(`^([a-z_][a-z0-9_]{0,62}\.)?[a-z_][a-z0-9_]{0,62}$`)

// quoted is the table's name in a statement, or ErrInvalid.
func (t Table) quoted() (string, error) {
	name := cmp.Or(t.Name, defaultTable)
	if !tableName.MatchString(name) {
		return "", fmt.Errorf("%w: the table name is %q: use table or schema.table, of lower-case letters, digits and underscores, each of at most 63", ErrInvalid, name)
	}
	return `"` + strings.ReplaceAll(name, ".", `"."`) + `"`, nil
}

// Create makes the table if it does not exist. Several processes may call it at once.
func (t Table) Create(ctx context.Context, db *sql.DB) error {
	table, err := t.quoted()
	if err != nil {
		return err
	}
	// In PostgreSQL two calls at once can both find no table, and then the slower one fails. When it
	// tries again, it finds the table.
	for range 2 {
		if _, err = db.ExecContext(ctx, schemaHead+table+schemaTail); err == nil {
			return nil
		}
	}
	return errtext.Errorf("fence: create table %s: %w", table, err)
}

// Check accepts a token that is not smaller than any accepted before for the lock of this name.
// Otherwise it returns ErrStale. Call it first in the transaction of the write, before anything is read
// for that write, and roll back after an error. The token is remembered when the transaction commits.
//
// It is one statement:
//
//	INSERT INTO fencing_tokens AS f (name, token) VALUES ($1, $2)
//	ON CONFLICT (name) DO UPDATE SET token = excluded.token WHERE f.token <= excluded.token
//
// which changes one row, or none if the token is stale. That row stays locked until the transaction
// ends, and another Check of the name waits meanwhile. Therefore check in the transaction of the write:
// if the token were checked in another one, a newer holder could check and write between the check and
// the write. (The argument is a *sql.Tx so that this cannot happen by mistake.) The row is locked and
// written for an equal token, too.
//
// With READ COMMITTED, PostgreSQL's default, the waiting statement then compares with what was committed.
// With the stricter levels it fails if the row was changed since the transaction began (SQLSTATE 40001):
// begin the transaction again. SQLite has one writer: the others wait for its busy_timeout, and then fail
// (SQLITE_BUSY). Transactions that check several names must do so in the same order, or two of them can
// wait for each other.
func (t Table) Check(ctx context.Context, tx *sql.Tx, name string, token int64) error {
	return t.check(ctx, tx, name, token)
}

// Hold has a name and a token: a *lock.Hold or an *election.Term.
type Hold interface {
	Name() string
	Token() int64
}

// CheckHold is Check with the name and the token of a holder.
func (t Table) CheckHold(ctx context.Context, tx *sql.Tx, h Hold) error {
	return t.check(ctx, tx, h.Name(), h.Token())
}

// querier is a *sql.Tx or a *sql.DB.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func (t Table) check(ctx context.Context, in querier, name string, token int64) error {
	if err := validToken(name, token); err != nil {
		return err
	}
	table, err := t.quoted()
	if err != nil {
		return err
	}
	failed := func(err error) error {
		return errtext.Errorf("fence: check token %d of lock %s in table %s: %w", token, quote.Text(name), table, err)
	}
	// $1 is a parameter in SQLite, too.
	result, err := in.ExecContext(ctx, `INSERT INTO `+table+` AS f (name, token) VALUES ($1, $2) `+
		`ON CONFLICT (name) DO UPDATE SET token = excluded.token WHERE f.token <= excluded.token`, name, token)
	if err != nil {
		return failed(err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return failed(err)
	}
	if n == 1 {
		return nil
	}
	// RETURNING would save this statement, but needs SQLite 3.35.
	stale := &StaleError{Name: name, Token: token}
	err = in.QueryRowContext(ctx, `SELECT token FROM `+table+` WHERE name = $1`, name).Scan(&stale.Seen)
	if err != nil {
		return errors.Join(stale, failed(err))
	}
	return stale
}

// TableStore is a Store in a database. It outlives this process, and several processes can share it. It
// checks in a transaction of its own: a service that writes to the same database should use Token and
// Table.Check instead.
type TableStore struct {
	DB    *sql.DB
	Table Table
}

// Check implements Store.
func (s TableStore) Check(ctx context.Context, name string, token int64) error {
	return s.Table.check(ctx, s.DB, name, token)
}
