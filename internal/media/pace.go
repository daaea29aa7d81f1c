package media

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// Pace is how slow a client may be: in each window it must send or take some bytes.
type Pace struct {
	Window time.Duration
	Bytes  int
}

// DefaultPace is 1 KiB per second, over 30 s.
var DefaultPace = Pace{30 * time.Second, 30 << 10}

// meter moves a deadline on while a client keeps the pace.
type meter struct {
	pace Pace
	set  func(time.Time) error
	got  int
	run  bool
}

// step sets a deadline when a window begins.
func (m *meter) step(n int) error {
	m.got += n
	if m.run && m.got < m.pace.Bytes {
		return nil
	}
	m.run, m.got = true, 0
	return m.set(time.Now().Add(m.pace.Window))
}

// body reads the body of a request, at the pace.
type body struct {
	r     io.Reader
	meter meter
}

func paced(w http.ResponseWriter, r *http.Request, pace Pace) *body {
	return &body{r.Body, meter{pace: pace, set: http.NewResponseController(w).SetReadDeadline}}
}

// begin begins the first window.
func (b *body) begin() error {
	if b.meter.run {
		return nil
	}
	return b.meter.step(0)
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if n > 0 && err == nil {
		err = b.meter.step(n)
	}
	return n, err
}

// slow reports whether an error is that a client did not keep the pace.
func slow(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// response writes a response at the pace. It has no ReadFrom: the whole of a file would be one step.
type response struct {
	http.ResponseWriter
	meter meter
	n     int64
	err   error
}

// WriteHeader lets nobody keep what is not the file.
func (w *response) WriteHeader(status int) {
	if status >= http.StatusBadRequest {
		w.Header().Set("Cache-Control", "no-store")
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(p []byte) (n int, err error) {
	for len(p) > 0 && err == nil {
		some := p[:min(len(p), 32<<10)]
		if err = w.meter.step(0); err != nil {
			break
		}
		var k int
		k, err = w.ResponseWriter.Write(some)
		n += k
		w.meter.got += k
		p = p[k:]
	}
	w.n += int64(n)
	w.err = err
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }
