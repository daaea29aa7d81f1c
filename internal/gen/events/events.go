// Package events reads api/events.tsv, where the events are declared, and generates the parts of package client that depend on it.
//
// A line is a callback type of the C API: its parameters, what sets it, what it passes. If something fires it, the line has more:
//
//   - event is the field of client.Events, word its name in JSON, doc its comment in Events.
//   - kind is "live" (never repeated), "state" (the difference to what was last reported; repeated until it was reported), or "owed N FORM": one for one with what happened, kept in the local database as kind N
//     until it has fired. FORM is the form of the row in the database: "rows" names messages of the database, which are passed with their content at that time; "values" contains the arguments themselves; "one" is a
//     list that fires once per item, and contains that item. "owed N rows M values" has both forms: what it passes need not be in the database.
//   - args are the arguments in Go, as many as the callback type has besides the user data, each "name type". A list followed by a ? is an empty text in C if there is none.
//
// The kinds "result" and "log" are callbacks of the C library only.
package events

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tidings-im/tidings/internal/gen/tsv"
)

// Event is a line of the table.
type Event struct {
	tsv.Row
	Callback string
	// Name is the field of client.Events; empty if there is none.
	Name, Word string
	Kind       Kind
	// Owed is the number in the local database, Form the form of the row.
	Owed int
	Form string
	// Values is the number of the second form, whose row contains the arguments; 0 if there is none.
	Values int
	Args   []Arg
}

// Kind is when an event is repeated; Unbuilt means that nothing fires it.
type Kind string

const (
	Unbuilt Kind = ""
	Live    Kind = "live"
	State   Kind = "state"
	Owed    Kind = "owed"
	Result  Kind = "result"
	Log     Kind = "log"
)

// Arg is an argument in Go.
type Arg struct {
	Name, Type string
	// Optional: without a list, C gets an empty text.
	Optional bool
}

// Load reads the table below root.
func Load(root string) ([]Event, error) {
	rows, err := tsv.Read(filepath.Join(root, "api", "events.tsv"))
	if err != nil {
		return nil, err
	}
	var all []Event
	for _, r := range rows {
		e, err := parse(r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r["callback"], err)
		}
		all = append(all, e)
	}
	return all, nil
}

func parse(r tsv.Row) (Event, error) {
	e := Event{Row: r, Callback: r["callback"], Name: r["event"], Word: r["word"]}
	words := strings.Fields(r["kind"])
	if len(words) > 0 {
		e.Kind = Kind(words[0])
	}
	switch e.Kind {
	case Unbuilt, Result, Log:
		if e.Name != "" {
			return e, fmt.Errorf("kind %q has no event", e.Kind)
		}
	case Live, State:
	case Owed:
		both := len(words) == 5 && words[2] == "rows" && words[4] == "values"
		if len(words) != 3 && !both || !slices.Contains([]string{"rows", "values", "one"}, words[2]) {
			return e, fmt.Errorf("cannot read the kind %q", r["kind"])
		}
		var err error
		if e.Owed, err = strconv.Atoi(words[1]); err != nil {
			return e, err
		}
		e.Form = words[2]
		if both {
			if e.Values, err = strconv.Atoi(words[3]); err != nil {
				return e, err
			}
		}
	default:
		return e, fmt.Errorf("unknown kind %q", e.Kind)
	}
	if (e.Name == "") != (e.Word == "") || (e.Name == "") != (r["doc"] == "") || e.Fires() && e.Name == "" {
		return e, fmt.Errorf("an event has a name, a word, a kind and a doc")
	}
	for part := range strings.SplitSeq(r["args"], ", ") {
		if part == "" {
			continue
		}
		name, typ, ok := strings.Cut(part, " ")
		if !ok {
			return e, fmt.Errorf("argument %q has no type", part)
		}
		a := Arg{Name: name}
		a.Type, a.Optional = strings.CutSuffix(typ, "?")
		e.Args = append(e.Args, a)
	}
	list := len(e.Args) == 1 && strings.HasPrefix(e.Args[0].Type, "[]*im.")
	if (e.Form == "rows" && (!list || e.Args[0].Type != "[]*im.Message")) || e.Form == "one" && !list {
		return e, fmt.Errorf("the form %s is for a list of messages", e.Form)
	}
	return e, nil
}

// Fires reports whether the client has the event.
func (e *Event) Fires() bool { return e.Kind == Live || e.Kind == State || e.Kind == Owed }
