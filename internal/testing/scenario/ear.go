package scenario

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Ear records what a device gets, as lines of a transcript: an event's name, its type, and its data in the form of Compact. What depends only on time
// is left out:
//
//   - everything about the user Probe;
//   - a conversation while its last message is being sent: whether that state is seen depends on how fast the server answers. The next event is its addition then;
//   - of the attempts to reconnect, all except the one that succeeds.
type Ear struct {
	// Heard are the lines of this step.
	Heard []string
	// Probed is the text of the probe's last message.
	Probed string

	adding map[string]bool
	lost   bool // the connection, and not found again
}

// Hear takes an event; data is JSON, or empty. It reports whether that was a message of the probe.
func (e *Ear) Hear(name, typ, data string) (probed bool) {
	var v any
	if data != "" {
		d := json.NewDecoder(strings.NewReader(data))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			v = "unreadable: " + err.Error() + ": " + data
		}
	}
	switch list, isList := v.([]any); {
	case name == "network":
		if e.network(v) {
			return false
		}
	case isList && len(list) > 0:
		list, typ = e.filter(list, typ, &probed)
		if len(list) == 0 {
			return probed
		}
		v = list
	case isList:
		v = nil
	}
	line := strings.TrimSpace(name + " " + typ)
	if v != nil {
		line += " " + Compact(v)
	}
	e.Heard = append(e.Heard, line)
	return probed
}

// network reports whether a state of the link is left out. Of the others it keeps the status, and that there was a code: which one, and its text,
// depend on the system.
func (e *Ear) network(v any) bool {
	status := at(v, "status")
	if e.lost && status != "connected" {
		return true
	}
	e.lost = status == "disconnected"
	if state, ok := v.(map[string]any); ok {
		delete(state, "desc")
		if state["code"] != json.Number("0") {
			state["code"] = "*"
		}
	}
	return false
}

// filter leaves out messages and conversations.
func (e *Ear) filter(list []any, typ string, probed *bool) ([]any, string) {
	kept := slices.Clone(list)[:0]
	for _, one := range list {
		id := at(one, "conv_id")
		switch {
		case at(one, "message_sender") == Probe:
			e.Probed, *probed = fmt.Sprint(at(one, "message_elem_array", "0", "text_elem_content")), true
			continue
		case id == Probe:
			continue
		case at(one, "conv_last_msg", "message_status") == json.Number("1"):
			if e.adding == nil {
				e.adding = map[string]bool{}
			}
			e.adding[fmt.Sprint(id)] = e.adding[fmt.Sprint(id)] || typ == "add"
			continue
		case id != nil && e.adding[fmt.Sprint(id)]:
			delete(e.adding, fmt.Sprint(id))
			typ = "add"
		}
		kept = append(kept, one)
	}
	return kept, typ
}

// at returns the value at a path in decoded JSON; of an array, 0 is its first item.
func at(v any, path ...string) any {
	for _, p := range path {
		switch x := v.(type) {
		case map[string]any:
			v = x[p]
		case []any:
			if len(x) == 0 || p != "0" {
				return nil
			}
			v = x[0]
		default:
			return nil
		}
	}
	return v
}
