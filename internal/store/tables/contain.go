// Package tables is the SQL of both stores: the tables and the kinds of their rows, the statements that read and write them, and the migrations that create them.
//
// Each store provides two verbs, Ask and Tell (query.go), and what it does in its own way: ids of new rows, row locks, and the ends of conversations, which the store
// on SQLite has in memory (Base, Holder). It also inserts batches of messages by itself. Where only the text of a statement differs, both texts stand here side by
// side (Dialect).
//
// A new table needs a step in migrations/, a struct with its columns, and its statements.
package tables

import (
	"fmt"
	"log/slog"
	"runtime/debug"
)

// Contain runs a function that gets a result or an event. It handles what clients have sent; a panic in it is logged, and those behind it still run.
func Contain(log *slog.Logger, f func()) {
	defer func() {
		if r := recover(); r != nil {
			log.Error("telling of a commit failed inside the server", "err", fmt.Sprintf("panic: %v\n%s", r, debug.Stack()))
		}
	}()
	f()
}
