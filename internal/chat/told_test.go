package chat

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"golang.org/x/sync/semaphore"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/hook"
)

// TestAskedIsBounded: the before-hook is asked at the same time about as many messages as fit into its memory, decoded and in JSON. Small ones are
// asked about at once beside large ones, and what had to wait is asked about when there is room.
func TestAskedIsBounded(t *testing.T) {
	inner := &im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_MERGER, Body: &im.Elem_Merger{Merger: &im.MergerElem{
		MessageArray: slices.Repeat([]*im.Message{{}}, im.MaxMerged)}}}}}
	large, err := checkMessage(wire(&im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_MERGER, Body: &im.Elem_Merger{Merger: &im.MergerElem{
		CompatibleText: "c", MessageArray: []*im.Message{inner, inner, inner}}}}}}), im.Platform_PLATFORM_IOS)
	if err != nil {
		t.Fatal(err)
	}
	small, err := checkMessage(wire(im.Text("x")), im.Platform_PLATFORM_IOS)
	if err != nil {
		t.Fatal(err)
	}
	fit := int32(maxTold / large.told)
	if large.told < 400<<10 || small.told > 10<<10 {
		t.Fatalf("reckoned are %d and %d bytes", large.told, small.told)
	}
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		let := make(chan struct{})
		c := &Chat{log: slog.New(slog.DiscardHandler), told: semaphore.NewWeighted(maxTold), cfg: Config{Hooks: hook.Set{C2CBeforeSendMsg: func(context.Context, *hook.C2CBeforeSendMsg, hook.Source) hook.C2CBeforeSendMsgVerdict {
			asked.Add(1)
			<-let
			return hook.C2CBeforeSendMsgVerdict{}
		}}}}
		ask := func(m *content) {
			go func() {
				if v := c.askC2C(context.Background(), m, &hook.C2CBeforeSendMsg{}, hook.Source{}); v.Err != nil {
					t.Error(v.Err)
				}
			}()
		}
		for range fit - 1 {
			ask(&large)
		}
		synctest.Wait()
		ask(&small)
		synctest.Wait()
		if n := asked.Load(); n != fit {
			t.Errorf("%d are asked about at a time, want %d", n, fit)
		}
		for range 5 {
			ask(&large)
		}
		synctest.Wait()
		if n := asked.Load(); n > fit+1 {
			t.Errorf("%d are asked about at a time, and %d fit", n, fit)
		}
		close(let)
		synctest.Wait()
		if n := asked.Load(); n != fit+5 {
			t.Errorf("%d were asked about, want all", n)
		}
	})
}
