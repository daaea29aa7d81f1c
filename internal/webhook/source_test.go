package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/hook"
	"github.com/tidings-im/tidings/internal/store"
)

// rows is a source that is unlike the log: it keeps no position, and what was delivered is removed from it.
type rows struct {
	mu    sync.Mutex
	list  []event
	empty chan bool // closed when nothing is left
}

func (r *rows) source() *source {
	return &source{
		name:  "rows",
		begin: func(context.Context) error { return nil },
		from:  func(context.Context) (int64, error) { return 0, nil },
		read: func(_ context.Context, after int64, limit int) ([]event, int64, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			for i, e := range r.list {
				if e.pos > after {
					list := r.list[i:min(len(r.list), i+limit)]
					return slices.Clone(list), list[len(list)-1].pos, nil
				}
			}
			return nil, after, nil
		},
		told: func(_ context.Context, upTo, lease int64) error {
			if lease == 0 {
				return errors.New("no lease")
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.list = slices.DeleteFunc(r.list, func(e event) bool { return e.pos <= upTo })
			if len(r.list) == 0 {
				close(r.empty)
			}
			return nil
		},
	}
}

// TestSources: events of any source are posted in the order of their lanes, each until it is received; an event without a body, or whose body could
// not be made, blocks nothing; and the source is notified when everything up to a position is done.
func TestSources(t *testing.T) {
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	st, err := store.Open(t.Context(), store.Config{Dir: t.TempDir(), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	var mu sync.Mutex
	taken, refused := map[string][]string{}, 0
	program := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var b struct{ To_Account string }
		if err := json.NewDecoder(r.Body).Decode(&b); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if b.To_Account == "lane1" && refused < 3 {
			refused++
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		taken[b.To_Account] = append(taken[b.To_Account], r.Header.Get(EventHeader))
	}))
	defer program.Close()
	h, err := New(Config{URL: program.URL, RetryFirst: time.Millisecond, RetryMost: time.Millisecond, Log: log, Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()

	const each = 200 // more than a batch, in all
	r := &rows{empty: make(chan bool)}
	want := map[string][]string{}
	for i := range 2 * each {
		lane := fmt.Sprint("lane", i%2+1)
		e := event{pos: int64(i + 1), id: fmt.Sprint("id", i), lane: int64(i % 2), command: hook.After[0]}
		e.update = func(context.Context, bool) error { return nil }
		switch {
		case i == 6:
			e.make = func() (*request, error) { return nil, nil }
		case i == 7:
			e.make = func() (*request, error) { return nil, errors.New("no form") }
		case i == 8:
			e.make = func() (*request, error) { panic("a mistake") }
		default:
			e.make = func() (*request, error) {
				return &request{platform: "iOS", body: &hook.C2CAfterSendMsg{To_Account: lane}}, nil
			}
			want[lane] = append(want[lane], e.id)
		}
		r.list = append(r.list, e)
	}
	c := chat.New(st, chat.Config{Log: log})
	a, err := h.startAfter(t.Context(), c, r.source())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	select {
	case <-r.empty:
	case <-time.After(time.Minute):
		t.Fatal("not all was told")
	}
	mu.Lock()
	defer mu.Unlock()
	for lane, ids := range want {
		if !slices.Equal(taken[lane], ids) {
			t.Errorf("%s got %s, want %s", lane, strings.Join(taken[lane], " "), strings.Join(ids, " "))
		}
	}
	for outcome, want := range map[string]float64{"told": 2*each - 3, "left out": 2, "failed": 3, "given up": 0} {
		var m dto.Metric
		if h.metrics.WithLabelValues(hook.After[0], outcome).Write(&m); m.GetCounter().GetValue() != want {
			t.Errorf("%v are %s, want %v", m.GetCounter().GetValue(), outcome, want)
		}
	}
}
