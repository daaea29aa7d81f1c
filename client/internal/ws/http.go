package ws

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Request is a request of HTTP/1.1.
type Request struct {
	Method string
	URL    *url.URL // http or https
	Header []string // names, each followed by its value, without line ends
	Body   []byte
}

// Response is what a server responded. Its body is valid until the next request.
type Response struct {
	Answer
	// Length is how long the body is; -1 if the head does not say it.
	Length int64
	// Body ends with io.EOF only where the response ends.
	Body io.Reader
}

// HTTP makes requests, one at a time, on one connection. It keeps the connection for the next request to the same server if it can. It is used by one
// goroutine, which closes it.
type HTTP struct {
	Dialer *Dialer
	// Idle is how long a connection may neither send nor receive a byte while it should.
	Idle time.Duration

	origin    string
	tcp, conn net.Conn
	limited   *io.LimitedReader
	r         *bufio.Reader
	release   func() bool   // ends the watch of the context of the last request
	whole     bool          // the last response was read to its end, and the connection may be used again
	wait      time.Duration // Idle, or less
}

// earlyAnswer is how long a connection that takes no more of a request is still read: the server may have refused the request.
const earlyAnswer = time.Second

// Do makes a request. When ctx ends, the connection is closed, also while the body is read.
func (h *HTTP) Do(ctx context.Context, req *Request) (*Response, error) {
	origin := req.URL.Scheme + "://" + req.URL.Host
	if h.conn != nil && (!h.whole || h.origin != origin) {
		h.Close()
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if h.conn == nil {
		tcp, conn, err := h.Dialer.open(ctx, req.URL)
		if err != nil {
			return nil, cause(ctx, err)
		}
		h.tcp, h.conn, h.origin = tcp, conn, origin
		h.limited = &io.LimitedReader{R: readerFunc(h.read)}
		h.r = bufio.NewReader(h.limited)
	}
	h.whole = false
	tcp := h.tcp
	h.release = context.AfterFunc(ctx, func() { tcp.Close() }) // below TLS: that waits for nothing
	resp, err := h.exchange(req)
	if err != nil {
		h.Close()
		return nil, cause(ctx, err)
	}
	return resp, nil
}

// cause returns the error of the context if that has ended: it is why the connection failed.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Close closes the connection. Another request makes another one.
func (h *HTTP) Close() {
	if h.conn == nil {
		return
	}
	h.released()
	h.tcp.Close()
	h.tcp, h.conn = nil, nil
}

func (h *HTTP) released() {
	if h.release != nil {
		h.release()
		h.release = nil
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func (h *HTTP) read(p []byte) (int, error) {
	h.conn.SetReadDeadline(time.Now().Add(h.wait))
	return h.conn.Read(p)
}

func (h *HTTP) write(b []byte) error {
	for len(b) > 0 {
		some := b[:min(len(b), 32<<10)]
		h.conn.SetWriteDeadline(time.Now().Add(h.Idle))
		n, err := h.conn.Write(some)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func (h *HTTP) exchange(req *Request) (*Response, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: tidings\r\nAccept-Encoding: identity\r\n", req.Method, target(req.URL), hostOf(req.URL))
	for i := 0; i+1 < len(req.Header); i += 2 {
		if strings.ContainsAny(req.Header[i]+req.Header[i+1], "\r\n\x00") {
			return nil, errors.New("client: a header has a line end")
		}
		fmt.Fprintf(&b, "%s: %s\r\n", req.Header[i], req.Header[i+1])
	}
	if req.Method != "GET" && req.Method != "HEAD" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(req.Body))
	}
	b.WriteString("\r\n")
	h.wait = h.Idle
	failed := h.write(b.Bytes())
	if failed == nil {
		failed = h.write(req.Body)
	}
	if failed != nil { // the server may have refused the request before it had all of it
		h.wait, failed = min(h.Idle, earlyAnswer), errors.Join(errCut, failed)
	}
	h.limited.N = maxHeaders
	a, err := readAnswer(h.r, h.limited)
	if err != nil {
		return nil, errors.Join(failed, err)
	}
	h.limited.N = math.MaxInt64
	resp := &Response{Answer: *a}
	keep := failed == nil && !a.last
	end := func() { // of the body
		h.released()
		h.whole = keep
	}
	lengths := a.Header["Content-Length"]
	switch {
	case req.Method == "HEAD" || a.Code == 204 || a.Code == 304:
		end()
		resp.Body = bytes.NewReader(nil)
	case a.Header.Get("Transfer-Encoding") != "":
		if !strings.EqualFold(a.Header.Get("Transfer-Encoding"), "chunked") || len(a.Header["Transfer-Encoding"]) > 1 {
			return nil, errors.New("client: the server responds in an unknown encoding")
		}
		keep = keep && len(lengths) == 0
		resp.Length, resp.Body = -1, &ending{&chunked{r: h.r}, end}
	case len(lengths) > 0:
		n, err := strconv.ParseUint(lengths[0], 10, 63)
		if err != nil || len(lengths) > 1 {
			return nil, errors.New("client: the server responds with an invalid length")
		}
		resp.Length, resp.Body = int64(n), &ending{&sized{h.r, int64(n)}, end}
	default:
		keep = false
		resp.Length, resp.Body = -1, &ending{h.r, end}
	}
	return resp, nil
}

var errCut = errors.New("client: the server did not take the request")

// target is what a request names of an address: what an address from elsewhere may contain unescaped is escaped.
func target(u *url.URL) string {
	var b strings.Builder
	for _, c := range []byte(u.RequestURI()) {
		if c <= ' ' || c >= 0x7f {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// ending calls end at the end of a body.
type ending struct {
	r   io.Reader
	end func()
}

func (e *ending) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if err == io.EOF && e.end != nil {
		e.end()
		e.end = nil
	}
	return n, err
}

// sized is a body of a known length.
type sized struct {
	r    io.Reader
	left int64
}

func (f *sized) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	n, err := f.r.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	switch {
	case f.left == 0:
		err = io.EOF
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// chunked is a body in chunks.
type chunked struct {
	r    *bufio.Reader
	left int64
	err  error
	some bool // a chunk has begun
}

var errChunk = errors.New("client: the server responds with an invalid chunk")

func (c *chunked) Read(p []byte) (n int, err error) {
	if c.err == nil && c.left == 0 {
		c.err = c.next()
	}
	if c.err != nil {
		return 0, c.err
	}
	n, err = c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	c.err = err
	return n, err
}

// next reads up to the content of the next chunk; io.EOF: there is none.
func (c *chunked) next() error {
	if c.some {
		if line, err := c.line(); err != nil || len(line) > 0 {
			return cmp.Or(err, errChunk)
		}
	}
	c.some = true
	line, err := c.line()
	if err != nil {
		return err
	}
	digits, _, _ := strings.Cut(line, ";")
	size, err := strconv.ParseUint(strings.TrimSpace(digits), 16, 63)
	if err != nil {
		return errChunk
	}
	if c.left = int64(size); size > 0 {
		return nil
	}
	for range maxTrailers {
		line, err := c.line()
		if err != nil {
			return err
		}
		if line == "" {
			return io.EOF
		}
	}
	return errChunk
}

// maxTrailers limits the lines behind the last chunk.
const maxTrailers = 100

// line reads a line, which is no longer than the buffer.
func (c *chunked) line() (string, error) {
	line, err := c.r.ReadSlice('\n')
	switch {
	case err == bufio.ErrBufferFull:
		return "", errChunk
	case err == io.EOF:
		return "", io.ErrUnexpectedEOF
	case err != nil:
		return "", err
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}
