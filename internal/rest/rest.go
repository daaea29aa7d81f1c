// Package rest is the admin API: POST /v4/{service}/{command} with the ticket of an admin in the query and JSON in the body.
package rest

import (
	"cmp"
	"encoding/json"
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

// maxRequest bounds a request's body.
const maxRequest = 1 << 20

// Codes of the API's own gate.
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

// New makes the API over the rules.
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
	fields
	admin, addr string
}

// route is a command: what does it, and the code that says that the server failed.
type route struct {
	do     func(*API, *call) (reply, error)
	failed int32
}

// reply holds what an answer has besides the envelope.
type reply map[string]any

var routes = map[string]route{
	"im_open_login_svc/account_import":      {(*API).accountImport, im.CodeServerInternal},
	"im_open_login_svc/multiaccount_import": {(*API).multiImport, im.CodeServerInternal},
	"im_open_login_svc/account_check":       {(*API).accountCheck, im.CodeServerInternal},
	"im_open_login_svc/kick":                {(*API).kick, im.CodeServerInternal},
	"openim/sendmsg":                        {(*API).sendMsg, codeServerFails},
	"openim/admin_msgwithdraw":              {(*API).withdraw, codeServerFails},
	"openim/modify_c2c_msg":                 {(*API).modify, codeServerFails},
}

// ServeHTTP answers a call; what was refused stands in the body, with HTTP status 200.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	failed := int32(codeServerFails)
	out, err := a.answer(w, r, &failed)
	envelope := reply{"ActionStatus": "OK", "ErrorCode": 0, "ErrorInfo": ""}
	for k, v := range out {
		envelope[k] = v
	}
	if err != nil {
		e := a.explain(r, err, failed)
		envelope = reply{"ActionStatus": "FAIL", "ErrorCode": e.Code, "ErrorInfo": e.Desc}
	}
	w.Header().Set("Content-Type", "application/json")
	text, err := restjson.Marshal(envelope)
	if err != nil {
		a.cfg.Log.Error("an answer has no JSON form", "path", r.URL.Path, "err", err)
		w.WriteHeader(http.StatusInternalServerError)
	}
	w.Write(text) // an admin that has gone does not matter
}

// explain makes code and text of an error. What the caller cannot have caused is logged, and not told in detail.
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

func (a *API) answer(w http.ResponseWriter, r *http.Request, failed *int32) (out reply, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	command := strings.TrimPrefix(r.URL.Path, "/v4/")
	rt, ok := routes[command]
	if !ok {
		return nil, im.Errorf(codeNoCommand, "there is no command %q", command)
	}
	*failed = rt.failed
	if r.Method != http.MethodPost {
		return nil, im.Errorf(codeBadRequest, "a call is a POST")
	}
	c := &call{Request: r}
	if c.admin, err = a.admin(r); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		return nil, im.Errorf(codeBadRequest, "the body cannot be read: %v", err)
	}
	if err := json.Unmarshal(body, &c.fields.raw); err != nil || c.fields.raw == nil {
		return nil, im.Errorf(codeNotJSON, "the body is not a JSON object")
	}
	if c.addr, _, err = net.SplitHostPort(r.RemoteAddr); err != nil {
		c.addr = r.RemoteAddr
	}
	return rt.do(a, c)
}

// admin checks who calls.
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

// fields are those of a request's body; names are exact. The first that is wrong is kept in err.
type fields struct {
	raw map[string]json.RawMessage
	err error
}

// has says that a field is there.
func (f *fields) has(name string) bool {
	v, ok := f.raw[name]
	return ok && string(v) != "null"
}

// read reads the first field of names that is there into v, and says whether there was one; a value of another type is an error with code.
func (f *fields) read(v any, code int32, names ...string) bool {
	for _, name := range names {
		if !f.has(name) {
			continue
		}
		if json.Unmarshal(f.raw[name], v) != nil && f.err == nil {
			f.err = im.Errorf(code, "%s has a value of the wrong type, or out of range", name)
		}
		return true
	}
	return false
}

// text reads a text that must be there and have something in it.
func (f *fields) text(code int32, names ...string) (s string) {
	f.read(&s, code, names...)
	if s == "" && f.err == nil {
		f.err = im.Errorf(code, "%s is missing", names[0])
	}
	return s
}

// flag reads a 0 or 1, which some clients write as false or true.
func (f *fields) flag(code int32, name string) bool {
	if !f.has(name) {
		return false
	}
	switch string(f.raw[name]) {
	case "0", "false":
	case "1", "true":
		return true
	default:
		if f.err == nil {
			f.err = im.Errorf(code, "%s is neither 0 nor 1", name)
		}
	}
	return false
}
