package databases_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"

	"github.com/etcdkit/etcdkit/lock/fence"
)

// In a program the table is fence.Table{}, and the tokens are those of holds.
func Example() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // each connection to :memory: is another database
	var fences fence.Table
	if err := fences.Create(ctx, db); err != nil {
		log.Fatal(err)
	}
	if _, err := db.ExecContext(ctx, `CREATE TABLE reports (day TEXT PRIMARY KEY, total INTEGER)`); err != nil {
		log.Fatal(err)
	}

	save := func(token int64, total int) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback() // after Commit it does nothing
		if err := fences.Check(ctx, tx, "jobs/nightly", token); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO reports VALUES ('monday', $1) ON CONFLICT (day) DO UPDATE SET total = excluded.total`, total)
		if err != nil {
			return err
		}
		return tx.Commit()
	}
	fmt.Println("33:", save(33, 100))
	fmt.Println("34:", save(34, 200)) // the lock was passed on
	err = save(33, 101)               // of one who was paused
	fmt.Println("33:", err, errors.Is(err, fence.ErrStale))

	var total int
	if err := db.QueryRowContext(ctx, `SELECT total FROM reports`).Scan(&total); err != nil {
		log.Fatal(err)
	}
	fmt.Println("total:", total)
	// Output:
	// 33: <nil>
	// 34: <nil>
	// 33: fence: stale token: lock "jobs/nightly" has been passed on from 33 to 34: acquire it again true
	// total: 200
}
