package webhook

import (
	"errors"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/hook"
)

// TestCannotBeAsked: a message about which the program cannot be asked counts as one that it did not answer. What happens then is a setting.
func TestCannotBeAsked(t *testing.T) {
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer s.Close()
	for _, refuse := range []bool{false, true} {
		h, err := New(Config{URL: s.URL, Refuse: refuse, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
		if err != nil {
			t.Fatal(err)
		}
		for name, m := range map[string][]*im.Elem{"has no form in JSON": im.Location("nowhere", math.NaN(), 0).ElemArray, "panics": {{Body: &im.Elem_Text{}}}} {
			v := h.Set().C2CBeforeSendMsg(t.Context(), &hook.C2CBeforeSendMsg{From_Account: "alice", To_Account: "bob", MsgBody: m}, hook.Source{})
			switch {
			case !refuse && (v.Err != nil || v.Drop || v.Answer.MsgBody != nil):
				t.Errorf("one that %s: %v", name, v)
			case refuse && !errors.Is(v.Err, &im.Error{Code: im.CodeWebhookFailed}):
				t.Errorf("one that %s is not refused: %v", name, v)
			}
		}
		var m dto.Metric
		if h.metrics.WithLabelValues("C2C.CallbackBeforeSendMsg", "failed").Write(&m); m.GetCounter().GetValue() != 2 {
			t.Errorf("%v are counted as failed", m.GetCounter().GetValue())
		}
		h.Close()
	}
	if asked != 0 {
		t.Errorf("asked %d times", asked)
	}
}
