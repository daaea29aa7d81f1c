package ctest

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/testing/scenario"
)

var update = flag.Bool("update", false, "write what the transcripts show into their files")

// TestGroupTranscripts calls the functions that a file names, each with its parameters as they are, and compares what fires on all devices, and the
// results, with the file: in order, with all JSON. In JSON, keys at their defaults are left out and values that differ from run to run are "*". What fires on
// the device that makes the call fires after its result. "the tip" in a message is the tip that fired before it, and "the message" in a conversation the
// last one in it that the device got or sent; "like ann" is what has fired on ann's device in this step.
//
// In parameters, $text is the JSON of the message that was sent with this text, $text=new the same with another text, and $request the first of the requests
// that were listed last; on is a callback or a buffer.
func TestGroupTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/groups/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	driverProgram(t)
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			t.Parallel()
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			s := imtest.Start(t)
			s.Dial("dan", noEvents)
			p := &transcript{t: t, s: s, probe: s.Dial(scenario.Probe, noEvents), programs: map[string]*listener{}, sent: map[string]string{}}
			got := p.run(string(b))
			if *update {
				err = os.WriteFile(f, []byte(got), 0o644)
			} else if got != string(b) {
				have, want := strings.Split(got, "\n"), strings.Split(string(b), "\n")
				for i := range min(len(have), len(want)) {
					if have[i] != want[i] {
						t.Fatalf("line %d:\n%s\nwant\n%s\nall of it:\n%s", i+1, have[i], want[i], got)
					}
				}
				t.Fatalf("%d lines, want %d", len(have), len(want))
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range p.programs {
				d.quit()
			}
		})
	}
}

// transcript is a server and the programs of a file.
type transcript struct {
	t        *testing.T
	s        *imtest.Server
	probe    *client.Client
	probes   int
	order    []string
	programs map[string]*listener
	// sent are the messages that were sent, by their texts. request is the first of the requests that were listed last.
	sent    map[string]string
	request string
}

// listener is a program with what it got in this step.
type listener struct {
	*device
	at   int // the lines before it were taken
	ear  scenario.Ear
	tip  any // the tip that fired last
	last any // the message in a conversation that the program got or sent last
}

func (p *transcript) run(text string) string {
	var out strings.Builder
	for block := range strings.SplitAfterSeq(text, "\n\n") {
		script, events, ok := strings.Cut(block, "\n")
		if !ok || !strings.HasPrefix(script, "> ") {
			out.WriteString(block) // words for readers
			continue
		}
		expected := map[string]int{}
		for l := range strings.SplitSeq(events, "\n") {
			name, _, _ := strings.Cut(l, " ")
			expected[name]++
		}
		out.WriteString(script + "\n")
		words := scenario.Split(script)[1:]
		if words[0] == "device" {
			p.start(words[1], words[2], words[3])
		} else {
			out.WriteString(p.call(words[0], words[1], words[2:]))
		}
		for _, name := range p.order {
			p.programs[name].until(expected[name])
		}
		p.settle()
		if *update {
			time.Sleep(time.Second / 2) // what a file does not expect yet may come late
		}
		like := map[string]string{}
		for _, name := range p.order {
			d := p.programs[name]
			d.take(len(d.all()))
			for _, h := range scenario.Join(d.ear.Heard) {
				if other := like[h]; other != "" {
					event, _, _ := strings.Cut(h, " ")
					h = event + " like " + other
				} else {
					like[h] = name
				}
				fmt.Fprintf(&out, "%s %s\n", name, h)
			}
			d.ear.Heard = nil
		}
		out.WriteString("\n")
	}
	return strings.TrimRight(out.String(), "\n") + "\n"
}

func (p *transcript) start(name, user, platform string) {
	d := &listener{device: newDevice(p.t, p.s, user, "", "TIDINGS_PLATFORM="+platform)}
	d.call("TIMSetGroupTipsEventCallback", on)
	d.call("TIMSetGroupAttributeChangedCallback", on)
	d.login()
	d.synced(0)
	p.programs[name] = d
	p.order = append(p.order, name)
}

var references = regexp.MustCompile(`\$(\w+)(=\w+)?`)

// call calls a function and returns its result.
func (p *transcript) call(name, fn string, args []string) string {
	d := p.programs[name]
	params := make([]any, len(args))
	for i, a := range args {
		if params[i] = any(a); a == "on" {
			params[i] = on
			continue
		}
		params[i] = references.ReplaceAllStringFunc(a, func(ref string) string {
			text, other, changed := strings.Cut(ref[1:], "=")
			switch m := p.sent[text]; {
			case text == "request":
				return p.request
			case m == "":
				p.t.Fatalf("no message %q was sent", text)
				return ""
			case changed:
				return with(p.t, m, map[string]any{"message_elem_array": decode[map[string]any](p.t, textJSON(other))["message_elem_array"]})
			default:
				return m
			}
		})
	}
	begin := d.position()
	r, _, id := d.callID(fn, params...)
	if r != 0 {
		return fmt.Sprintf("  returned %d\n", r)
	}
	if !slices.Contains(args, "on") {
		return "  returned 0\n"
	}
	a := d.answerOf(id, fn)
	end := slices.IndexFunc(d.all(), func(l line) bool { return l.kind == "TIMCommCallback" && l.num(3) == id })
	d.take(begin)
	heard := len(d.ear.Heard)
	d.take(end)
	for i := range d.ear.Heard[heard:] {
		d.ear.Heard[heard+i] += " BEFORE THE RESULT"
	}
	result := "  ok"
	if a.code != 0 {
		result = fmt.Sprint("  code ", a.code)
	}
	if a.json == "" {
		return result + "\n"
	}
	v := numbers(p.t, a.json)
	switch o, isObject := v.(map[string]any); {
	case strings.HasPrefix(fn, "TIMMsgSend"), fn == "TIMMsgModifyMessage":
		p.sent[decode[message](p.t, a.json).text()] = a.json
		d.last = numbers(p.t, a.json)
	case fn == "TIMGroupGetPendencyList" && isObject:
		if list, _ := o["group_pendency_result_pendency_array"].([]any); len(list) > 0 {
			b, err := json.Marshal(list[0])
			if err != nil {
				p.t.Fatal(err)
			}
			p.request = string(b)
		}
	}
	return result + " " + pendencyKey.ReplaceAllString(scenario.Compact(v), `"group_pendency_key":"*"`) + "\n"
}

// pendencyKey is the key of a request, which is drawn.
var pendencyKey = regexp.MustCompile(`"group_pendency_key":"\d+"`)

// numbers decodes JSON without a loss of digits.
func numbers(t testing.TB, s string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %.200s", err, s)
	}
	return v
}

// until waits until as much as this has fired.
func (d *listener) until(n int) {
	for timeout := time.After(patience); !*update; {
		d.mu.Lock()
		more, lines := d.more, len(d.lines)
		d.mu.Unlock()
		if d.take(lines); len(d.ear.Heard) >= n {
			return
		}
		select {
		case <-more:
		case <-timeout:
			return // the transcript shows it
		}
	}
}

// take takes the lines up to a position.
func (d *listener) take(to int) {
	for _, l := range d.all()[d.at:max(d.at, to)] {
		d.at++
		switch l.kind {
		case "TIMRecvNewMsgCallback":
			d.ear.Hear("new_message", "", d.messages(l.fields[0]))
		case "TIMMsgUpdateCallback":
			d.ear.Hear("updated", "", d.messages(l.fields[0]))
		case "TIMMsgRevokeCallback":
			d.ear.Hear("revoked", "", l.fields[0])
		case "TIMMsgReadedReceiptCallback":
			d.ear.Hear("receipt", "", l.fields[0])
		case "TIMGroupTipsEventCallback":
			d.tip = numbers(d.t, l.fields[0])
			d.ear.Hear("group_tips", "", l.fields[0])
		case "TIMGroupAttributeChangedCallback":
			d.ear.Hear("group_attributes", l.fields[0], l.fields[1])
		case "TIMConvTotalUnreadMessageCountChangedCallback":
			d.ear.Hear("total_unread", "", l.fields[0])
		case "TIMConvEventCallback":
			if e := client.ConvEvent(l.num(0)); e != client.ConvSyncStart && e != client.ConvSyncFinish {
				d.ear.Hear("conversation", e.String(), d.conversations(l.fields[1]))
			}
		case "TIMKickedOfflineCallback", "TIMUserSigExpiredCallback":
			d.ear.Hear(l.kind, "", "")
		}
	}
}

// messages returns a list of messages, in which the tip that fired before is "the tip".
func (d *listener) messages(list string) string {
	v := numbers(d.t, list)
	for _, m := range v.([]any) {
		m := m.(map[string]any)
		if m["message_sender"] == scenario.Probe {
			continue
		}
		if m["message_conv_id"] != "" {
			d.last = maps.Clone(m)
		}
		elem, _ := m["message_elem_array"].([]any)[0].(map[string]any)
		elem = maps.Clone(elem)
		delete(elem, "elem_type")
		if reflect.DeepEqual(any(elem), d.tip) {
			m["message_elem_array"] = "the tip"
		}
	}
	return toJSON(d.t, v)
}

// conversations returns a list of conversations, in which the message that the program got or sent last is "the message".
func (d *listener) conversations(list string) string {
	v := numbers(d.t, list)
	for _, c := range v.([]any) {
		c := c.(map[string]any)
		if m, ok := c["conv_last_msg"].(map[string]any); ok && reflect.DeepEqual(any(m), d.last) {
			c["conv_last_msg"] = "the message"
		}
	}
	return toJSON(d.t, v)
}

func toJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// settle sends a message of the probe to all users, and waits until their devices have got it.
func (p *transcript) settle() {
	p.t.Helper()
	p.probes++
	mark := fmt.Sprint("probe ", p.probes)
	users := map[string]bool{}
	for _, d := range p.programs {
		users[d.user] = true
	}
	for _, u := range slices.Sorted(maps.Keys(users)) {
		m := im.Text(mark)
		m.IsExcludedFromUnreadCount = true
		if _, err := p.probe.SendMessage(p.t.Context(), client.C2C(u), m); err != nil {
			p.t.Fatal(err)
		}
	}
	for _, name := range p.order {
		d := p.programs[name]
		d.wait(0, mark+" at "+name, func(l line) bool {
			return l.kind == "TIMRecvNewMsgCallback" && strings.Contains(l.fields[0], `"`+mark+`"`)
		})
	}
}
