// Package rest is the admin API: POST /v4/{service}/{command} with the ticket of an admin in the query and JSON in the body.
package rest

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/restjson"
)

// Config of the API.
type Config struct {
	// AppID is the SDKAppID that calls name.
	AppID uint64
	// Admins are the users whose tickets may call: administrator.
	Admins []string
	Log    *slog.Logger
}

// DefaultAdmin is the admin if none is named.
const DefaultAdmin = "administrator"

// maxRequest limits a request's body.
const maxRequest = 1 << 20

// Codes of the checks before a command.
const (
	codeMalformed   = 60002
	codeNotJSON     = 60003
	codeNoUser      = 60004
	codeOtherApp    = 60006
	codeBadRequest  = 60008
	codeNoCommand   = 60009
	codeNoApp       = 60012
	codeServerFails = 91000
)

// API is an http.Handler for everything below /v4/.
type API struct {
	cfg  Config
	chat *chat.Chat
	sent dedupe
}

// New makes the API on top of the rules.
func New(c *chat.Chat, cfg Config) *API {
	if len(cfg.Admins) == 0 {
		cfg.Admins = []string{DefaultAdmin}
	}
	cfg.Log = cmp.Or(cfg.Log, slog.Default())
	return &API{cfg: cfg, chat: c}
}

// call is a request of an admin.
type call struct {
	*http.Request
	body        []byte
	admin, addr string
}

// envelope is the beginning of every reply.
type envelope struct {
	ActionStatus string
	ErrorCode    int32
	ErrorInfo    string
	// ErrorDisplay is in the replies of some services.
	ErrorDisplay *string `json:",omitempty"`
}

// reply is a reply with its envelope.
type reply interface{ head() *envelope }

func (e *envelope) head() *envelope { return e }

// route is a command: the handler, and the code for a failure of the server. display means that its replies have an ErrorDisplay.
type route struct {
	do      func(*API, *call) (reply, error)
	failed  int32
	display bool
}

// with makes a route of a command whose reply has fields.
func with[Q, A any, P shape[Q], R interface {
	*A
	reply
}](do func(*API, *call, P) (R, error)) func(*API, *call) (reply, error) {
	return func(a *API, c *call) (reply, error) {
		request, err := readBody[Q, P](c.body)
		if err != nil {
			return nil, err
		}
		out, err := do(a, c, request)
		if err != nil {
			return nil, err
		}
		return out, nil
	}
}

// without makes a route of a command whose reply is only the envelope.
func without[Q any, P shape[Q]](do func(*API, *call, P) error) func(*API, *call) (reply, error) {
	return with(func(a *API, c *call, request P) (*envelope, error) { return &envelope{}, do(a, c, request) })
}

// ServeHTTP serves a call; a refusal is in the body, with HTTP status 200.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rt := route{failed: codeServerFails}
	out, err := a.answer(w, r, &rt)
	if err != nil {
		e := a.explain(r, err, rt.failed)
		out = &envelope{ActionStatus: "FAIL", ErrorCode: e.Code, ErrorInfo: e.Desc}
	}
	head := out.head()
	head.ActionStatus = cmp.Or(head.ActionStatus, "OK")
	if rt.display {
		head.ErrorDisplay = new("")
	}
	w.Header().Set("Content-Type", "application/json")
	text, err := restjson.Marshal(out)
	if err != nil {
		a.cfg.Log.Error("an answer has no JSON form", "path", r.URL.Path, "err", err)
		w.WriteHeader(http.StatusInternalServerError)
	}
	w.Write(text) // an admin that has disconnected does not matter
}

// recode gives an error with the code from another code; it returns other errors unchanged.
func recode(err error, from, to int32) error {
	var e *im.Error
	if errors.As(err, &e) && e.Code == from {
		return im.Errorf(to, "%s", e.Desc)
	}
	return err
}

// explain returns code and text of an error. What the caller cannot have caused is logged, and not reported in detail.
func (a *API) explain(r *http.Request, err error, failed int32) *im.Error {
	var e *im.Error
	if errors.As(err, &e) {
		return im.Errorf(e.Code, "%s", im.Shorten(e.Desc, im.MaxDesc))
	}
	if why := chat.Known(err); why != "" {
		return im.Errorf(failed, "%s", why)
	}
	a.cfg.Log.Error("admin call failed", "path", r.URL.Path, "err", err)
	return im.Errorf(failed, "the server failed")
}

// answer carries out the command, and puts its route into rt.
func (a *API) answer(w http.ResponseWriter, r *http.Request, rt *route) (out reply, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	command := strings.TrimPrefix(r.URL.Path, "/v4/")
	found, ok := routes[command]
	switch {
	case !ok:
		return nil, im.Errorf(codeNoCommand, "there is no command %q", command)
	case found.do == nil:
		return nil, im.Errorf(codeNoCommand, "the command %q is not built", command)
	}
	*rt = found
	if r.Method != http.MethodPost {
		return nil, im.Errorf(codeBadRequest, "a call is a POST")
	}
	c := &call{Request: r}
	if c.admin, err = a.admin(r); err != nil {
		return nil, err
	}
	if c.body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest)); err != nil {
		return nil, im.Errorf(codeBadRequest, "the body cannot be read: %v", err)
	}
	if c.addr, _, err = net.SplitHostPort(r.RemoteAddr); err != nil {
		c.addr = r.RemoteAddr
	}
	return rt.do(a, c)
}

// admin checks that the caller is an admin.
func (a *API) admin(r *http.Request) (string, error) {
	query, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return "", err
	}
	app, user := query["sdkappid"], query["identifier"]
	switch n, err := strconv.ParseUint(app, 10, 64); {
	case app == "":
		return "", im.Errorf(codeNoApp, "sdkappid is missing")
	case err != nil || n != a.cfg.AppID:
		return "", im.Errorf(codeOtherApp, "this is not sdkappid %q", app)
	case user == "":
		return "", im.Errorf(codeNoUser, "identifier is missing")
	}
	if err := a.chat.CheckTicket(r.Context(), user, query["usersig"]); err != nil {
		return "", err
	}
	if !slices.Contains(a.cfg.Admins, user) {
		return "", im.Errorf(im.CodeNotAdmin, "%q is not an admin of this app", user)
	}
	return user, nil
}
