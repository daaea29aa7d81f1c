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

// Result is what a program answers about one of the users in a question. A code that is not 0 refuses that user.
type Result struct {
	To_Account string
	ResultCode int64
	ResultInfo string
}

// Results returns the answer for each user.
func (a SnsPrevFriendAddAnswer) Results() []Result { return results(a.ResultItem) }

// Results returns the answer for each user.
func (a SnsPrevFriendResponseAnswer) Results() []Result { return results(a.ResultItem) }

func results[T SnsPrevFriendAddAnswerResultItem | SnsPrevFriendResponseAnswerResultItem](items []T) []Result {
	out := make([]Result, len(items))
	for i := range items {
		out[i] = Result(items[i])
	}
	return out
}
