package histcheck

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"
)

// limit is how long a history may take: many times as long as one does.
const limit = 5 * time.Minute

// at notes what the history is doing.
func (r *runner) at(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	r.stage.Store(&s)
}

// within makes a history and returns it. One that is not there when the runner's time is over is abandoned with everything that waits in it: what is returned
// contains nothing but where it stands.
func (r *runner) within(story func()) *History {
	done := make(chan struct{})
	go func() {
		defer close(done)
		story()
	}()
	select {
	case <-done:
		return r.h
	case <-r.ctx.Done():
	}
	stacks := make([]byte, 4<<20)
	r.t.Logf("all goroutines of a history that does not end:\n%s", stacks[:runtime.Stack(stacks, true)])
	return &History{Seed: r.h.Seed, Violations: []string{"it does not end: " + r.stands()}}
}

// stands says what the history is doing and which calls are not answered.
func (r *runner) stands() string {
	out := []string{"populating"}
	if s := r.stage.Load(); s != nil {
		out[0] = *s
	}
	r.h.mu.Lock()
	devices := slices.Clone(r.devices)
	r.h.mu.Unlock()
	for _, d := range devices {
		out = append(out, waits(d.Device, len(d.queue)))
	}
	out = append(out, waits(r.operator.Device, len(r.operator.queue)))
	return strings.Join(out, "\n\t")
}

// waits says what a device waits for.
func waits(d *Device, queued int) string {
	rs := d.records()
	open := map[string]Record{}
	for _, x := range rs {
		switch k := fmt.Sprint(x.Run, " ", x.Call); x.Kind {
		case Calling:
			open[k] = x
		case Returned, Answer:
			delete(open, k)
		}
	}
	s := fmt.Sprintf("%s: %d records, %d operations queued", d.Name, len(rs), queued)
	if len(rs) > 0 {
		s += fmt.Sprintf(", the last record: %v", rs[len(rs)-1])
	}
	for _, k := range sortedKeys(open) {
		s += fmt.Sprintf("\n\t\twaits for: %v", open[k])
	}
	return s
}
