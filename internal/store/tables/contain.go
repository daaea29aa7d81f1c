// Package tables is what the two stores share, written once: the tables and the kinds of their rows, the queries and writes, and the migrations.
//
// A store provides the verbs: Ask and Tell (query.go), and what differs between them: numbers of what is new, locks of rows, the ends of
// conversations that one of them has in memory (Base, Holder). It stores batches of messages in its own way. Where only a text differs, both are here
// side by side (Dialect).
//
// A new table is a step in migrations/, a struct with its columns, and its statements.
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
