package stage

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// Device is what a device has heard. Expect goes through that from start to end and never back.
type Device struct {
	Name  string
	stage *Stage
	// match reports whether the text of an event is the wanted one.
	match func(text, want string) bool

	mu     sync.Mutex
	events []Event
	seen   int
	wake   chan struct{}
}

// Event is one event, as it is shown.
type Event struct{ Kind, Text string }

// Device makes a device with a name to show. match is how Expect compares the text of an event with the wanted one: strings.HasSuffix, say.
func (s *Stage) Device(name string, match func(text, want string) bool) *Device {
	return &Device{Name: name, stage: s, match: match, wake: make(chan struct{}, 1)}
}

// Does prints what the device does.
func (d *Device) Does(what string) { d.stage.Action(d.Name, what) }

// Heard shows an event and keeps it.
func (d *Device) Heard(kind, text string) {
	d.stage.Print("  %-14s   ◂ %s %s", d.Name, paint(blue, fmt.Sprintf("%-20s", kind)), text)
	d.Keep(kind, text)
}

// Keep keeps an event that is not shown.
func (d *Device) Keep(kind, text string) {
	d.mu.Lock()
	d.events = append(d.events, Event{kind, text})
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Expect waits for an event of the kind whose text matches, after those that were expected before.
func (d *Device) Expect(kind, text string) {
	late := time.After(Patience)
	for !d.next(kind, text) {
		select {
		case <-d.wake:
		case <-late:
			d.stage.Fail("%s did not get in time: %s %s", d.Name, kind, text)
		case <-d.stage.Ctx.Done():
			d.stage.Fail("interrupted")
		}
	}
}

func (d *Device) next(kind, text string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.seen < len(d.events) {
		e := d.events[d.seen]
		d.seen++
		if strings.HasPrefix(e.Kind, kind) && d.match(e.Text, text) {
			return true
		}
	}
	return false
}

// Events returns all events of a kind that the device has heard, as texts.
func (d *Device) Events(kind string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var texts []string
	for _, e := range d.events {
		if e.Kind == kind {
			texts = append(texts, e.Text)
		}
	}
	return texts
}

// Told returns the texts of all new messages that the device has heard.
func (d *Device) Told() []string {
	var texts []string
	for _, e := range d.Events("new message") {
		if _, text, ok := strings.Cut(e, ": "); ok {
			texts = append(texts, text)
		}
	}
	return texts
}
