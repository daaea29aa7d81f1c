package events

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/internal/gen/tsv"
)

func row(event, word, kind, args string) tsv.Row {
	return tsv.Row{"callback": "TIM" + event + "Callback", "event": event, "word": word, "kind": kind, "args": args, "doc": event + " happens."}
}

// What is declared works: the code that is generated from a table with every form and every type of argument is compiled and run. Owed events read
// from their rows equal what was written, even if the rows have more arguments; a row that is cut off is refused; the values have their JSON.
func TestWritten(t *testing.T) {
	var all []Event
	for _, r := range []tsv.Row{
		row("Told", "told", "live", "text string, yes bool, count uint64, users []string"),
		row("Removed", "removed", "owed 3 values", "users []string"),
		row("Emptied", "emptied", "owed 4 values", ""),
		row("Changed", "changed", "owed 5 values", "group string, info *im.ConvInfo, recalls []*im.MsgLocator, on bool, a int, b int32, c int64, d uint32, e uint64, users []string"),
		row("News", "news", "owed 1 rows", "messages []*im.Message"),
		row("Recalled", "recalled", "owed 2 one", "recalls []*im.MsgLocator"),
		{"callback": "TIMUnbuiltCallback"},
	} {
		e, err := parse(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	text, err := write("main", all)
	if err != nil {
		t.Fatal(err)
	}
	const program = `package main

import (
	"fmt"
	"reflect"

	"github.com/tidings-im/tidings/im"
)

type owedEvent interface {
	kind() int
	payload() ([]byte, error)
	read([]byte) error
	tell(*Events)
}

type joins interface{ join(owedEvent, int) bool }

type Event struct {
	Name, Type string
	Args       []any
	data       func() string
}

func quoted(s string) string { return "'" + s + "'" }

func main() {
	var told []any
	record := Each(func(e Event) {
		told = append(told, e.Name)
		if len(e.Args) > 0 {
			told = append(told, e.data())
		}
	})
	for _, o := range []owedEvent{
		&owedRemoved{},
		&owedRemoved{[]string{"ann", "", "bob"}},
		&owedEmptied{},
		&owedChanged{},
		&owedChanged{"g", &im.ConvInfo{Id: "x"}, []*im.MsgLocator{{Seq: 1}, {Seq: 2}}, true, -1, -2, -3, 4, 1 << 63, []string{"u"}},
		&owedRecalled{[]*im.MsgLocator{{Seq: 7}}},
	} {
		b, err := o.payload()
		if err != nil {
			fmt.Println(err)
		}
		back := owedOf(o.kind())
		if back.kind() != o.kind() {
			fmt.Println("kinds differ")
		}
		later := b
		if o.kind() != 2 {
			later = append(b[:len(b):len(b)], 0x7a, 1, 'x') // an argument that comes later
		}
		if err := back.read(later); err != nil {
			fmt.Println(err)
		}
		told = nil
		o.tell(&record)
		before := fmt.Sprint(told...)
		told = nil
		back.tell(&record)
		if after := fmt.Sprint(told...); before != after || before == "" {
			fmt.Println(before, "is back as", after)
		}
		if len(b) > 0 {
			if o.kind() != 2 && owedOf(o.kind()).read(b[:len(b)-1]) == nil {
				fmt.Println("taken, though cut off")
			}
		}
	}
	if owedOf(1) != nil || !namesRows(1) || namesRows(2) || owedOf(99) != nil {
		fmt.Println("kinds")
	}
	told = nil
	record.tellRows(1, []*im.Message{{Seq: 5}})
	if len(told) != 2 || told[0] != "news" {
		fmt.Println(told)
	}
	(&Events{}).tellTold("", true, 0, nil) // nobody listens
	e := Each(func(e Event) {
		if got, want := e.data(), "{\"text\":'hi',\"yes\":true,\"count\":3,\"users\":[\"ann\"]}"; got != want || !reflect.DeepEqual(e.Args, []any{"hi", true, uint64(3), []string{"ann"}}) {
			fmt.Println(got, want, e.Args)
		}
	})
	e.Told("hi", true, 3, []string{"ann"})
	if names := fmt.Sprint(EventNames()); names != "[told removed emptied changed news recalled]" {
		fmt.Println(names)
	}
	one, two := &owedRemoved{[]string{"ann"}}, &owedRemoved{[]string{"bob", "cid"}}
	if joins(one).join(two, 2) || one.join(&owedEmptied{}, 9) || !one.join(two, 3) || fmt.Sprint(one.users, two.users) != "[ann bob cid] [bob cid]" {
		fmt.Println("joined:", one.users, two.users)
	}
	if none := (&owedEmptied{}); !none.join(&owedEmptied{}, 1) || none.join(one, 9) {
		fmt.Println("joined: events without arguments")
	}
	if _, ok := any(&owedChanged{}).(joins); ok {
		fmt.Println("joined: several arguments")
	}
	fmt.Println("done")
}
`
	dir := t.TempDir()
	for name, text := range map[string]string{"events_gen.go": string(text), "main.go": program} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, tags := range []string{"", "tidings_plain"} { // with the messages of Go programs, and with those of the C library
		out, err := exec.Command("go", "run", "-tags", tags, filepath.Join(dir, "events_gen.go"), filepath.Join(dir, "main.go")).CombinedOutput()
		if err != nil || string(out) != "done\n" {
			t.Errorf("tags %q: %v\n%s\n%s", tags, err, out, text)
		}
	}
}

// A line that declares only a part of an event is refused.
func TestRefused(t *testing.T) {
	for _, r := range []tsv.Row{
		row("", "x", "live", ""),
		row("X", "", "live", ""),
		row("X", "x", "", ""),
		row("X", "x", "sometimes", ""),
		row("X", "x", "owed", ""),
		row("X", "x", "owed 1", ""),
		row("X", "x", "owed one rows", "messages []*im.Message"),
		row("X", "x", "owed 1 rows", "recalls []*im.MsgLocator"),
		row("X", "x", "owed 1 one", "text string"),
		row("X", "x", "live", "string"),
	} {
		if e, err := parse(r); err == nil {
			t.Errorf("taken: %v as %+v", r, e)
		}
	}
	e, err := parse(row("X", "x", "owed 1 values", "when time.Time"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := write("main", []Event{e}); err == nil || !strings.Contains(err.Error(), "time.Time") {
		t.Errorf("an argument of type time.Time: %v", err)
	}
}
