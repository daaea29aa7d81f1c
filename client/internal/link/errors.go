package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"

	"github.com/tidings-im/tidings/client/internal/ws"
	"github.com/tidings-im/tidings/im"
)

// dialError returns the reason why a request did not become a WebSocket. Only a response that names a code comes from a Tidings server: any other may
// come from something in between, and is temporary.
func dialError(u string, err error) error {
	var plain tls.RecordHeaderError
	var a *ws.Answer
	switch {
	case errors.As(err, &plain):
		return im.Errorf(im.CodeConnectRefused, "the server at %s speaks no TLS: is the address ws://?", u)
	case errors.Is(err, ws.ErrTLS):
		return errSpeaksTLS(u)
	case !errors.As(err, &a):
		return err
	}
	code, e := strconv.ParseInt(a.Header.Get(im.CodeHeader), 10, 32)
	ours := e == nil && code != 0
	switch {
	case a.Code == 429:
		if !ours {
			code = im.CodeConnectionLimit
		}
		return &Refused{Err: im.Errorf(int32(code), "the server refuses the connection: %s", a.Status), Retry: true}
	case a.Code == 400 && ours:
		return &Refused{Err: im.Errorf(im.CodeConnectRefused, "the server at %s does not speak %s", u, subprotocol)}
	case a.Code == 400:
		if strings.Contains(string(a.Body), "HTTPS") { // what servers in Go, nginx and Apache respond
			return errSpeaksTLS(u)
		}
	}
	return im.Errorf(im.CodeConnectRefused, "the server at %s refuses the connection: %s", u, a.Status)
}

func errSpeaksTLS(u string) error {
	return im.Errorf(im.CodeConnectRefused, "the server at %s speaks TLS: is the address wss://?", u)
}

// ErrorOf returns the TIM code for a network error.
func ErrorOf(err error) *im.Error {
	var e *im.Error
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case err == nil:
		return &im.Error{Code: im.CodeDisconnected, Desc: "disconnected"}
	case errors.As(err, &e):
		return e
	case errors.As(err, &dns):
		return im.Errorf(im.CodeResolve, "cannot resolve %s", dns.Name)
	case errors.Is(err, syscall.ECONNREFUSED):
		return &im.Error{Code: im.CodeConnectRefused, Desc: "ERR_CONNECTION_REFUSED"}
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return &im.Error{Code: im.CodeUnreachable, Desc: "ERR_ADDRESS_UNREACHABLE"}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return &im.Error{Code: im.CodeConnectionReset, Desc: "ERR_CONNECTION_RESET"}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return &im.Error{Code: im.CodeConnectTimeout, Desc: "ERR_TIMED_OUT"}
	}
	return &im.Error{Code: im.CodeDisconnected, Desc: fmt.Sprintf("disconnected: %v", err)}
}
