// Package hook is what the app's webhook is asked and told: a type for the body of each, made from api/webhooks.tsv, and the set of what is asked. The
// rules fill the bodies; how they are posted is the business of internal/webhook.
package hook

import "github.com/tidings-im/tidings/im"

// Body is what is posted to the app's program.
type Body interface {
	// Hook names the webhook, and writes the name into the body if it has a place for it.
	Hook() string
	// About are the accounts and groups that it is about, as names and values for the log.
	About() []any
}

// Source is where that came from which a body is about.
type Source struct {
	Addr     string
	Platform im.Platform
	// Operator says that it was a call of the admin API.
	Operator bool
}

// Verdict is what the program says of what it was asked about. The zero value lets it through as it is.
type Verdict[A any] struct {
	// Err refuses it.
	Err error
	// Drop makes whoever did it believe that it was done (rule 20).
	Drop bool
	// Answer is what the program says besides.
	Answer A
}

// Nothing is the answer of webhooks that only allow or refuse.
type Nothing struct{}
