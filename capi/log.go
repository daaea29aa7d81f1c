package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tidings-im/tidings/im"
)

// logWaiting limits the lines that wait for the log callback; older ones are dropped, and counted.
const logWaiting = 1000

// lineMost limits a line of the log, in bytes: an application may write lines of its own.
const lineMost = 64 << 10

// logger is the log of the library and of its client: to the console, to a file and to the application's callback, each with its own level.
type logger struct {
	*slog.Logger
	lib  *library
	file logFile

	mu      sync.Mutex
	waiting []logLine // a ring once it is full: next is the oldest
	next    int
	dropped int
	posted  bool
}

type logLine struct {
	level int
	text  string
}

func newLogger(l *library) *logger {
	lg := &logger{lib: l}
	lg.Logger = slog.New(&logHandler{logger: lg})
	return lg
}

// printf writes a line to the console only, at any level.
func (lg *logger) printf(format string, args ...any) {
	writeLine(levelWarn, fmt.Sprintf(format, args...))
}

func writeLine(level int, text string) {
	syscall.Write(2, []byte(formatLine(level, text))) // one write, so that lines do not mix; nothing can be done about an error
}

// formatLine returns a line for the console or the file.
func formatLine(level int, text string) string {
	return time.Now().Format("2006-01-02T15:04:05.000Z07:00 ") + levelName(level) + " tidings: " + text + "\n"
}

func levelName(level int) string {
	switch level {
	case levelDebug:
		return "DEBUG"
	case levelInfo:
		return "INFO"
	case levelWarn:
		return "WARN"
	}
	return "ERROR"
}

// line takes a line of the log. It is called on any goroutine, and must not wait.
func (lg *logger) line(level int, text string) {
	text = im.Shorten(text, lineMost)
	console, file, callback := lg.lib.config.levels()
	if console != levelOff && level >= console {
		writeLine(level, text)
	}
	if file != levelOff && level >= file {
		lg.file.write(formatLine(level, text))
	}
	if callback == levelOff || level < callback || !lg.lib.slots.any(cbTIMLogCallback) {
		return
	}
	lg.mu.Lock()
	if len(lg.waiting) < logWaiting {
		lg.waiting = append(lg.waiting, logLine{level, text})
	} else {
		lg.waiting[lg.next] = logLine{level, text}
		lg.next = (lg.next + 1) % logWaiting
		lg.dropped++
	}
	post := !lg.posted
	lg.posted = true
	lg.mu.Unlock()
	if !post {
		return
	}
	t := lg.lib.threads.current(lg.lib)
	if !t.disp.Post(func() { lg.deliver(t) }) {
		lg.take() // the library is ending, and the callback was removed
	}
}

func (lg *logger) take() (lines []logLine, dropped int) {
	lg.mu.Lock()
	defer lg.mu.Unlock()
	lines = append(lines, lg.waiting[lg.next:]...)
	lines = append(lines, lg.waiting[:lg.next]...)
	dropped = lg.dropped
	lg.waiting, lg.next, lg.dropped, lg.posted = lg.waiting[:0], 0, 0, false
	return lines, dropped
}

// deliver calls the log callback with what waits; it runs on the callback thread, t.
func (lg *logger) deliver(t *thread) {
	lines, dropped := lg.take()
	if dropped > 0 {
		lines = append([]logLine{{levelWarn, fmt.Sprintf("%d log lines were dropped", dropped)}}, lines...)
	}
	for _, line := range lines {
		lg.lib.tell(t, cbTIMLogCallback, func() brought { return brought{texts: []string{line.text}, numbers: []int64{int64(line.level)}} })
	}
}

// logHandler passes what is logged with slog to line.
type logHandler struct {
	*logger
	attrs string // as they are written
	group string // prefix of the names of attributes
}

func levelOf(l slog.Level) int {
	switch {
	case l >= slog.LevelError:
		return levelError
	case l >= slog.LevelWarn:
		return levelWarn
	case l >= slog.LevelInfo:
		return levelInfo
	}
	return levelDebug
}

// slogLevel converts a level of TIM to what levelOf converts back.
func slogLevel(level int) slog.Level {
	switch {
	case level >= levelError:
		return slog.LevelError
	case level == levelWarn:
		return slog.LevelWarn
	case level == levelInfo:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

func (h *logHandler) Enabled(_ context.Context, l slog.Level) bool {
	console, file, callback := h.lib.config.levels()
	level := levelOf(l)
	return console != levelOff && level >= console || file != levelOff && level >= file && h.file.on() || callback != levelOff && level >= callback && h.lib.slots.any(cbTIMLogCallback)
}

func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	text := r.Message + h.attrs
	r.Attrs(func(a slog.Attr) bool {
		text += h.format(a)
		return true
	})
	h.line(levelOf(r.Level), text)
	return nil
}

func (h *logHandler) format(a slog.Attr) string {
	v := a.Value.Resolve().String()
	// A value may come from a server. What a terminal takes for a command, or for the start of another line, is quoted, too.
	if strings.ContainsFunc(v, func(r rune) bool {
		return r == '"' || r == '=' || r == ' ' || r == utf8.RuneError || !unicode.IsPrint(r)
	}) {
		v = fmt.Sprintf("%q", v)
	}
	return " " + h.group + a.Key + "=" + v
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	n := *h
	for _, a := range attrs {
		n.attrs += h.format(a)
	}
	return &n
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	n := *h
	n.group += name + "."
	return &n
}
