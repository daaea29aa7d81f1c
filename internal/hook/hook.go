// Package hook is what the app's webhook is asked and notified of: a type for the body of each, generated from api/webhooks.tsv, and the set of
// questions. The rules fill the bodies; internal/webhook posts them.
package hook

import "github.com/tidings-im/tidings/im"

// Body is the body of a request to the app's program.
type Body interface {
	// Hook returns the name of the webhook, and writes the name into the body if it has a field for it.
	Hook() string
	// About returns the accounts and groups that it is about, as names and values for the log.
	About() []any
}

// Source is the origin of what a body is about.
type Source struct {
	Addr     string
	Platform im.Platform
	// Operator means that it was a call of the admin API.
	Operator bool
}

// Verdict is the program's answer to a question. The zero value lets it through unchanged.
type Verdict[A any] struct {
	// Err refuses it.
	Err error
	// Drop makes the sender believe that it was done (rule 20).
	Drop bool
	// Answer is what the program answers besides.
	Answer A
}

// Nothing is the answer of webhooks that only allow or refuse.
type Nothing struct{}
