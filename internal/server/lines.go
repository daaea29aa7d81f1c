package server

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// linesMost is how many lines with the same text the log takes in linesWithin: otherwise anyone who can cause a line could fill the disk with it.
	linesMost   = 200
	linesWithin = time.Minute
	// linesKinds is how many different texts are counted. They are in the program, not from outside, so there are hardly as many.
	linesKinds = 1000
)

// lines is a log handler that leaves out lines that repeat too often. The last line before that says so, and the first one after it says how many
// were left out. Debug lines are not counted: an operator who turns them on wants all of them.
type lines struct {
	slog.Handler
	count *lineCount
}

type lineCount struct {
	leftOut atomic.Uint64

	mu    sync.Mutex
	kinds map[string]*lineKind
}

type lineKind struct {
	from time.Time
	n    int
}

// newLines returns a lines handler for h, or h itself if it already is one: that of a server that restarts.
func newLines(h slog.Handler) lines {
	if l, ok := h.(lines); ok {
		return l
	}
	return lines{h, &lineCount{kinds: make(map[string]*lineKind)}}
}

func (l lines) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelInfo {
		return l.Handler.Handle(ctx, r)
	}
	n, before := l.count.take(r.Message, r.Time)
	if n > linesMost {
		l.count.leftOut.Add(1)
		return nil
	}
	if n == linesMost || before > 0 {
		r = r.Clone()
	}
	if n == linesMost {
		r.AddAttrs(slog.String("further", "left out for up to "+linesWithin.String()))
	}
	if before > 0 {
		r.AddAttrs(slog.Int("left out before", before))
	}
	return l.Handler.Handle(ctx, r)
}

func (l lines) WithAttrs(a []slog.Attr) slog.Handler { return lines{l.Handler.WithAttrs(a), l.count} }
func (l lines) WithGroup(name string) slog.Handler   { return lines{l.Handler.WithGroup(name), l.count} }

// take counts a line. It returns which one of its minute it is, and with the first one, how many were left out before.
func (c *lineCount) take(text string, at time.Time) (n, before int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.kinds[text]
	if k == nil {
		if len(c.kinds) >= linesKinds {
			clear(c.kinds)
		}
		k = &lineKind{from: at}
		c.kinds[text] = k
	}
	if at.Sub(k.from) >= linesWithin {
		before = max(k.n-linesMost, 0)
		k.from, k.n = at, 0
	}
	k.n++
	return k.n, before
}
