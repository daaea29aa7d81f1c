// Package scenario is what the two runs of the event matrix share, through the Go SDK and through C: the lines of a script, the form of JSON in a
// transcript, and the operator.
package scenario

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// Probe is the user whose messages mark the ends of steps; everything about it is left out of a transcript.
const Probe = "probe"

// Parts reads a file of a scenario: "script", and "want", its transcript.
func Parts(file string) (*txtar.Archive, map[string]string, error) {
	a, err := txtar.ParseFile(file)
	if err != nil {
		return nil, nil, err
	}
	parts := map[string]string{}
	for _, p := range a.Files {
		parts[p.Name] = string(p.Data)
	}
	return a, parts, nil
}

// Split splits a line at spaces; "quoted words" stay together.
func Split(line string) []string {
	var out []string
	for line = strings.TrimLeft(line, " "); line != ""; line = strings.TrimLeft(line, " ") {
		if q, err := strconv.QuotedPrefix(line); err == nil {
			s, _ := strconv.Unquote(q)
			out, line = append(out, s), line[len(q):]
			continue
		}
		w, rest, _ := strings.Cut(line, " ")
		out, line = append(out, w), rest
	}
	return out
}

// volatile are the endings of the keys whose values differ from run to run.
var volatile = []string{"_time", "_rand", "_unique_id", "_msg_id", "_time_stamp", "_timestamp", "_file_path", "_file_id", "file_elem_url"}

// Compact removes the defaults from decoded JSON, whose numbers are json.Number, and puts "*" for values that differ from run to run. It changes v.
func Compact(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(prune("", v)); err != nil {
		return err.Error()
	}
	return strings.TrimSpace(b.String())
}

func prune(key string, v any) any {
	switch x := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, inner := range x {
			switch p := prune(k, inner).(type) {
			case nil:
			case []any:
				if len(p) > 0 {
					out[k] = p
				}
			case map[string]any:
				if len(p) > 0 {
					out[k] = p
				}
			default:
				if p != "" && p != false && p != json.Number("0") && k != "message_group_receipt_unread_count" {
					out[k] = p
				}
			}
		}
		return out
	case []any:
		for i := range x {
			x[i] = prune(key, x[i])
		}
		return x
	}
	if v != "" && v != json.Number("0") && slices.ContainsFunc(volatile, func(end string) bool { return strings.HasSuffix(key, end) }) {
		return "*"
	}
	return v
}

// File makes a file for a step, and returns its path. Without content there is none.
func File(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notes.txt")
	if content == "" {
		return path
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Join joins states into one line that a device may get at once or one after the other, because the server's pushes arrive together or apart: updates
// of different conversations, with the last total after them (rule 17: states fire with their present values).
func Join(heard []string) []string {
	var out []string
	for _, h := range heard {
		n := len(out)
		if n > 0 && strings.HasPrefix(out[n-1], total) {
			n--
		}
		if n > 0 && strings.HasPrefix(h, update) && strings.HasPrefix(out[n-1], update) {
			if joined, ok := join(out[n-1], h); ok {
				out[n-1] = joined
				continue
			}
		}
		if n < len(out) && n > 0 && strings.HasPrefix(h, total) && strings.HasPrefix(out[n-1], update) {
			out = out[:n] // the total before it is not the last
		}
		out = append(out, h)
	}
	return out
}

const update, total = "conversation update ", "total_unread "

// join joins two updates if no conversation is in both.
func join(a, b string) (string, bool) {
	seen := map[string]bool{}
	var all []json.RawMessage
	for _, line := range []string{a, b} {
		var list []json.RawMessage
		if json.Unmarshal([]byte(strings.TrimPrefix(line, update)), &list) != nil {
			return "", false
		}
		for _, raw := range list {
			var conv struct {
				ID   string `json:"conv_id"`
				Type int    `json:"conv_type"`
			}
			if json.Unmarshal(raw, &conv) != nil || seen[conv.ID+strconv.Itoa(conv.Type)] {
				return "", false
			}
			seen[conv.ID+strconv.Itoa(conv.Type)] = true
		}
		all = append(all, list...)
	}
	parts := make([]string, len(all))
	for i, raw := range all {
		parts[i] = string(raw)
	}
	return update + "[" + strings.Join(parts, ",") + "]", true
}
