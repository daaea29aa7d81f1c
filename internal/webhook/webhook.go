// Package webhook tells a program of the app's owner about messages, by HTTP: before one is stored, when that program may refuse or rewrite
// it, and after.
package webhook

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/restjson"
)

// Config says where the program is and how long it is waited for. Zero values are the defaults.
type Config struct {
	// URL is what is posted to; its own query stays.
	URL string
	// Token signs what is sent, if it is set.
	Token string
	AppID uint64
	// Deadline is how long an answer may take: 2 s.
	Deadline time.Duration
	// Refuse makes a message be refused when the before-hook does not answer properly; else it is delivered.
	Refuse bool
	// RetryFirst and RetryMost are the waits between attempts to tell of a message afterwards: 1 s, doubling up to 1 minute.
	RetryFirst, RetryMost time.Duration
	// GiveUp is how long one message is tried for before it is left out: 24 h.
	GiveUp time.Duration
	// Parallel is how many conversations are told of at once: 16.
	Parallel int
	Log      *slog.Logger
	// Metrics is where counters are registered; nil: nowhere.
	Metrics prometheus.Registerer
}

func (c *Config) setDefaults() {
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&c.Deadline, 2 * time.Second}, {&c.RetryFirst, time.Second}, {&c.RetryMost, time.Minute}, {&c.GiveUp, 24 * time.Hour}} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	c.Parallel = cmp.Or(c.Parallel, 16)
	c.Log = cmp.Or(c.Log, slog.Default())
}

// Hook posts to the program.
type Hook struct {
	cfg     Config
	url     url.URL
	client  *http.Client
	metrics *prometheus.CounterVec
}

// New makes a Hook; the URL must be one.
func New(cfg Config) (*Hook, error) {
	cfg.setDefaults()
	u, err := checkURL(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("webhook-url: %w", err)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 4 * cfg.Parallel
	t.MaxResponseHeaderBytes = 64 << 10
	h := &Hook{cfg: cfg, url: *u,
		client: &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	h.metrics = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tidings_webhooks_total", Help: "Calls of the webhook, by command and outcome."}, []string{"command", "outcome"})
	// From 0 on, so that the first one is seen to rise.
	for command, outcomes := range map[string][]string{
		beforeSend: {"allowed", "rewritten", "refused", "dropped", "failed"}, afterSend: {"told", "failed", "given up", "left out"},
	} {
		for _, outcome := range outcomes {
			h.metrics.WithLabelValues(command, outcome)
		}
	}
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(h.metrics)
	}
	return h, nil
}

// checkURL refuses an address that would not be posted to exactly as it is written. It does not repeat it: it may have secrets in it.
func checkURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("it is not an http or https address")
	}
	if strings.Contains(text, "#") {
		return nil, errors.New("no part of it may stand behind a #: that is not sent")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, fmt.Errorf("%s is not a port", port)
		}
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("its query is malformed")
	}
	for _, name := range ownQuery {
		if query.Has(name) {
			return nil, fmt.Errorf("%s in its query is set by the server", name)
		}
	}
	return u, nil
}

// ownQuery are the names that are added to the query of the address.
var ownQuery = []string{"SdkAppid", "CallbackCommand", "contenttype", "ClientIP", "OptPlatform", "RequestTime", "Sign"}

// Close lets go of idle connections.
func (h *Hook) Close() { h.client.CloseIdleConnections() }

// message is the body of both commands, as far as they share it.
type message struct {
	CallbackCommand string
	From_Account    string
	To_Account      string
	MsgSeq          uint64
	MsgRandom       uint32
	MsgTime         int64
	MsgKey          string
	OnlineOnlyFlag  int
}

// answer is what the program says.
type answer struct {
	ActionStatus    string
	ErrorCode       *int32
	ErrorInfo       string
	MsgBody         json.RawMessage
	CloudCustomData *string
}

// post sends body and reads the answer into out, unless that is nil.
func (h *Hook) post(ctx context.Context, command, addr, platform string, header http.Header, body any, out any) (err error) {
	ctx, cancel := context.WithTimeout(ctx, h.cfg.Deadline)
	defer cancel()
	q := url.Values{}
	q.Set("SdkAppid", strconv.FormatUint(h.cfg.AppID, 10))
	q.Set("CallbackCommand", command)
	q.Set("contenttype", "json")
	q.Set("ClientIP", addr)
	q.Set("OptPlatform", platform)
	if h.cfg.Token != "" {
		now := strconv.FormatInt(time.Now().Unix(), 10)
		q.Set("RequestTime", now)
		q.Set("Sign", sign(h.cfg.Token, now))
	}
	u := h.url
	if u.RawQuery != "" && !strings.HasSuffix(u.RawQuery, "&") {
		u.RawQuery += "&"
	}
	u.RawQuery += q.Encode()
	text, err := restjson.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(text))
	if err != nil {
		return bare(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := h.client.Do(req)
	if err != nil {
		return bare(err)
	}
	defer resp.Body.Close()
	const most = 1 << 20
	b, err := io.ReadAll(io.LimitReader(resp.Body, most))
	switch {
	case err != nil:
		return err
	case resp.StatusCode/100 != 2:
		return fmt.Errorf("the answer has HTTP status %s", resp.Status)
	case out == nil:
		return nil
	}
	return json.Unmarshal(b, out)
}

// bare takes the address out of an error, which has it with its query: that may have a secret in it, and has the signature.
func bare(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// sign is the signature of a time: the lower-case hex SHA-256 of token and time.
func sign(token, time string) string {
	sum := sha256.Sum256([]byte(token + time))
	return hex.EncodeToString(sum[:])
}

const (
	beforeSend = "C2C.CallbackBeforeSendMsg"
	afterSend  = "C2C.CallbackAfterSendMsg"

	// What a before-hook may answer.
	allow, drop       = 0, 2
	ownFirst, ownLast = 120001, 130000
)

type before struct {
	message
	MsgBody         []restjson.Elem
	CloudCustomData string
	*modified
}

// modified is what tells a modification from a message that is sent. TIM's webhooks know no modifications.
type modified struct {
	ModifyFlag      int
	MsgFrom_Account string
}

// Before is the before-hook: chat.Config.Before.
func (h *Hook) Before(ctx context.Context, d *chat.Draft) chat.Verdict {
	v, outcome, err := h.before(ctx, d)
	if err != nil {
		h.cfg.Log.Warn("the before-hook did not answer properly", "from", d.From, "to", d.To, "refused", h.cfg.Refuse, "err", err)
		outcome = "failed"
		v = chat.Verdict{}
		if h.cfg.Refuse {
			v.Err = im.Errorf(im.CodeWebhookFailed, "the app's webhook did not answer")
		}
	}
	h.metrics.WithLabelValues(beforeSend, outcome).Inc()
	return v
}

func (h *Hook) before(ctx context.Context, d *chat.Draft) (v chat.Verdict, outcome string, err error) {
	defer func() { // a program that cannot be asked has not answered
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	// There is no number yet; the client time stands in for it, and names the message to the admin API as well.
	b := before{message{
		CallbackCommand: beforeSend, From_Account: d.From, To_Account: d.To, MsgSeq: d.ClientTime, MsgRandom: d.Random, MsgTime: d.Time / 1000,
		MsgKey: restjson.Key(d.ClientTime, d.Random, d.Time/1000), OnlineOnlyFlag: bit(d.Online),
	}, restjson.Body(d.Message), d.Message.CloudCustomStr, nil}
	if d.Seq != 0 {
		b.MsgSeq, b.MsgKey = d.Seq, restjson.Key(d.Seq, d.Random, d.Time/1000)
		b.modified = &modified{ModifyFlag: 1, MsgFrom_Account: d.Sender}
	}
	platform := restjson.Platform(d.Platform)
	if d.Operator {
		platform = "RESTAPI"
	}
	var a answer
	if err := h.post(ctx, beforeSend, d.Addr, platform, nil, &b, &a); err != nil {
		return v, "", err
	}
	switch {
	case a.ErrorCode == nil:
		return v, "", errors.New("the answer has no ErrorCode")
	case *a.ErrorCode == drop:
		return chat.Verdict{Drop: true}, "dropped", nil
	case *a.ErrorCode >= ownFirst && *a.ErrorCode <= ownLast:
		return chat.Verdict{Err: im.Errorf(*a.ErrorCode, "%s", im.Shorten(a.ErrorInfo, im.MaxDesc))}, "refused", nil
	case *a.ErrorCode != allow:
		return chat.Verdict{Err: im.Errorf(im.CodeRefusedByWebhook, "%s", cmpOr(im.Shorten(a.ErrorInfo, im.MaxDesc), "the app's webhook refused the message"))}, "refused", nil
	}
	outcome = "allowed"
	if len(a.MsgBody) > 0 && string(a.MsgBody) != "null" {
		if v.Edit.Elems, err = restjson.ReadBody(a.MsgBody); err != nil {
			return v, "", err
		}
		outcome = "rewritten"
	}
	if a.CloudCustomData != nil {
		v.Edit.Cloud = a.CloudCustomData
		outcome = "rewritten"
	}
	return v, outcome, nil
}

func cmpOr(s, or string) string {
	if s == "" {
		return or
	}
	return s
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
