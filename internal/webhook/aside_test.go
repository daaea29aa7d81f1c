package webhook

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/hook"
	"github.com/tidings-im/tidings/internal/store"
)

// TestAsideIsLimited: of a conversation that is aside, so much waits and no more; what does not fit is given up and counted. A conversation whose lane is
// empty is not aside any more, and a new run knows which ones are.
func TestAsideIsLimited(t *testing.T) {
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	st, err := store.Open(t.Context(), store.Config{Dir: t.TempDir(), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	var convs []int64
	for i := range 70 { // more lanes than are read at once
		a, err := st.CreateUser(t.Context(), fmt.Sprint("a", i))
		if err != nil {
			t.Fatal(err)
		}
		cv, err := st.C2C(t.Context(), a.UID, a.UID)
		if err != nil {
			t.Fatal(err)
		}
		convs = append(convs, int64(cv.ID))
	}
	h, err := New(Config{URL: "http://127.0.0.1:1", Log: log, Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	c := chat.New(st, chat.Config{Log: log})
	a := &After{hook: h, chat: c}
	s, err := asideOf(t.Context(), c)
	if err != nil || len(s.in) != 0 {
		t.Fatal(s, err)
	}
	events := func(n int) (list []*event) {
		for i := range n {
			list = append(list, &event{pos: int64(i + 1), command: hook.After[0]})
		}
		return list
	}
	full := convs[0]
	for _, n := range []int{mostWaiting - 2, 5, 5} {
		if !a.setAside(t.Context(), s, full, events(n)) {
			t.Fatal("it stopped")
		}
	}
	for _, conv := range convs[1:] {
		if !a.setAside(t.Context(), s, conv, events(1)) {
			t.Fatal("it stopped")
		}
	}
	if n, err := c.OutboxSize(t.Context(), chat.ConvID(full)); err != nil || n != mostWaiting {
		t.Errorf("%d wait, %v", n, err)
	}
	for outcome, want := range map[string]float64{"set aside": mostWaiting + 69, "given up": 8} {
		var m dto.Metric
		if h.metrics.WithLabelValues(hook.After[0], outcome).Write(&m); m.GetCounter().GetValue() != want {
			t.Errorf("%v are %s, want %v", m.GetCounter().GetValue(), outcome, want)
		}
	}
	s, err = asideOf(t.Context(), c)
	if err != nil || len(s.in) != 70 {
		t.Fatalf("a new run knows of %d, %v", len(s.in), err)
	}
	rows, err := c.Outbox(t.Context(), chat.LaneOf(chat.ConvID(convs[1])), 10)
	if err != nil || len(rows) != 1 || c.DropOutbox(t.Context(), []int64{rows[0].ID}) != nil {
		t.Fatal(rows, err)
	}
	for conv, want := range map[int64]bool{convs[1]: false, convs[2]: true} {
		if has, err := s.has(t.Context(), conv); err != nil || has != want {
			t.Errorf("aside: %v, %v", has, err)
		}
	}
	if !s.room() || len(s.in) != 69 {
		t.Errorf("%d are aside", len(s.in))
	}
	for i := range mostAside {
		s.in[-int64(i)] = true
	}
	if s.room() {
		t.Error("there is room for more than the limit")
	}
}
