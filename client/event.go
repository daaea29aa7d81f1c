package client

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Event is a callback as a value, for programs that treat all of them in the same way: print, record or forward them. Each makes them.
type Event struct {
	// Name is the name of the event in JSON, such as new_message; docs/reference/callbacks.md has all of them.
	Name string
	// Type is what happened, of an event that says so: add, delete, update, sync_start or sync_finish of conversation.
	Type string
	// Args are the other arguments of the callback, in its order.
	Args []any

	data func() string
}

// Data returns Args in JSON: a single one as it is, in the form of the TIM C API; several as an object by their names; "" for none.
func (e Event) Data() string {
	if e.data == nil {
		return ""
	}
	return e.data()
}

// EventTypes are the types that an Event may have.
func EventTypes() (types []string) {
	for e := ConvAdd; e <= ConvSyncFinish; e++ {
		types = append(types, word(e))
	}
	return types
}

// word returns the name of an enum's value in JSON.
func word(v fmt.Stringer) string { return strings.ReplaceAll(v.String(), " ", "_") }

func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil { // of no string
		return `""`
	}
	return string(b)
}
