// Package webhook talks by HTTP to a program of the app's owner: it asks the program before something is done, when the program may refuse or rewrite
// it, and notifies it afterwards.
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
	"reflect"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/hook"
	"github.com/tidings-im/tidings/internal/restjson"
)

// Config describes where the program is and how long the server waits for it. Zero values mean the defaults.
type Config struct {
	// URL is the address for requests; its own query stays.
	URL string
	// Token signs requests, if it is set.
	Token string
	AppID uint64
	// Deadline is how long a response may take: 2 s.
	Deadline time.Duration
	// Refuse makes the server refuse a message if the before-hook does not respond properly; otherwise the message is delivered.
	Refuse bool
	// RetryFirst and RetryMost are the pauses between attempts to report a message afterwards: 1 s, doubling up to 1 minute.
	RetryFirst, RetryMost time.Duration
	// GiveUp is how long one message is retried before it is left out: 24 h.
	GiveUp time.Duration
	// Aside is how long a message is retried before its conversation is set aside, so that it holds up no other: 1 minute.
	Aside time.Duration
	// Parallel is how many conversations are reported concurrently: 16.
	Parallel int
	Log      *slog.Logger
	// Metrics is where counters are registered; nil: nowhere.
	Metrics prometheus.Registerer
}

func (c *Config) setDefaults() {
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&c.Deadline, 2 * time.Second}, {&c.RetryFirst, time.Second}, {&c.RetryMost, time.Minute}, {&c.GiveUp, 24 * time.Hour}, {&c.Aside, time.Minute}} {
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

// New makes a Hook; it fails if the URL is not one.
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
	// Starting at 0, so that the first increase is visible.
	for _, of := range []struct{ commands, outcomes []string }{
		{hook.Before, []string{"allowed", "rewritten", "refused", "dropped", "failed"}}, {hook.After, []string{"told", "failed", "given up", "left out"}},
		{[]string{new(hook.C2CAfterSendMsg).Hook(), new(hook.GroupAfterSendMsg).Hook()}, []string{"set aside"}},
	} {
		for _, command := range of.commands {
			for _, outcome := range of.outcomes {
				h.metrics.WithLabelValues(command, outcome)
			}
		}
	}
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(h.metrics)
	}
	return h, nil
}

// checkURL refuses an address that requests would not go to exactly as it is written. It does not repeat the address, which may contain secrets.
func checkURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("it is not an http or https address")
	}
	if strings.Contains(text, "#") {
		return nil, errors.New("it must not have a part after a #, which would not be sent")
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

// ownQuery are the parameters that are added to the query of the address.
var ownQuery = []string{"SdkAppid", "CallbackCommand", "contenttype", "ClientIP", "OptPlatform", "RequestTime", "Sign"}

// Close closes idle connections.
func (h *Hook) Close() { h.client.CloseIdleConnections() }

// post sends body and reads the response.
func (h *Hook) post(ctx context.Context, command, addr, platform string, header http.Header, body any) (said []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, h.cfg.Deadline)
	defer cancel()
	q := url.Values{}
	q.Set("SdkAppid", strconv.FormatUint(h.cfg.AppID, 10))
	q.Set("CallbackCommand", command)
	q.Set("contenttype", "json")
	if platform != "" { // nobody's client has caused it
		q.Set("ClientIP", addr)
		q.Set("OptPlatform", platform)
	}
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
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(text))
	if err != nil {
		return nil, bare(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := h.client.Do(req)
	if err != nil {
		return nil, bare(err)
	}
	defer resp.Body.Close()
	const most = 1 << 20
	if said, err = io.ReadAll(io.LimitReader(resp.Body, most)); err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		return nil, fmt.Errorf("the answer has HTTP status %s", resp.Status)
	}
	return said, nil
}

// bare removes the address from an error, because its query may contain a secret, and contains the signature.
func bare(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// sign returns the signature of a time: the lower-case hex SHA-256 of token and time.
func sign(token, time string) string {
	sum := sha256.Sum256([]byte(token + time))
	return hex.EncodeToString(sum[:])
}

const (
	// The answers that every question allows; further ones are in the question's gate.
	allow, drop = 0, 2
)

// gate describes which answers a question allows, besides letting it pass.
type gate struct {
	// refused is the code of a refusal for which the program has no code of its own; 0: there is none, and any other code is no answer.
	refused int32
	// ownFirst to ownLast are the program's own codes.
	ownFirst, ownLast int32
	// drop means that it may be dropped.
	drop bool
	// what is asked about, for a refusal without a text.
	what string
}

// ask asks the program, and returns what the setting says if it does not respond properly.
func ask[A any](ctx context.Context, h *Hook, b hook.Body, from hook.Source, g gate) hook.Verdict[A] {
	v, outcome, err := askOnce[A](ctx, h, b, from, g)
	if err != nil {
		h.cfg.Log.Warn("the before-hook did not answer properly", append(b.About(), "hook", b.Hook(), "refused", h.cfg.Refuse, "err", err)...)
		outcome = "failed"
		v = hook.Verdict[A]{}
		if h.cfg.Refuse {
			v.Err = im.Errorf(im.CodeWebhookFailed, "the app's webhook did not respond")
		}
	}
	h.metrics.WithLabelValues(b.Hook(), outcome).Inc()
	return v
}

func askOnce[A any](ctx context.Context, h *Hook, b hook.Body, from hook.Source, g gate) (v hook.Verdict[A], outcome string, err error) {
	defer func() { // a program that cannot be asked has not responded
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	platform := restjson.Platform(from.Platform)
	if from.Operator {
		platform = restjson.PlatformREST
	}
	said, err := h.post(ctx, b.Hook(), from.Addr, platform, nil, b)
	if err != nil {
		return v, "", err
	}
	var a struct {
		ErrorCode *int32
		ErrorInfo string
	}
	if err := json.Unmarshal(said, &a); err != nil {
		return v, "", err
	}
	switch {
	case a.ErrorCode == nil:
		return v, "", errors.New("the answer has no ErrorCode")
	case *a.ErrorCode == allow:
	case *a.ErrorCode == drop && g.drop:
		return hook.Verdict[A]{Drop: true}, "dropped", nil
	case *a.ErrorCode >= g.ownFirst && *a.ErrorCode <= g.ownLast:
		return hook.Verdict[A]{Err: im.Errorf(*a.ErrorCode, "%s", im.Shorten(a.ErrorInfo, im.MaxDesc))}, "refused", nil
	case g.refused == 0:
		return v, "", fmt.Errorf("the answer has ErrorCode %d", *a.ErrorCode)
	default:
		return hook.Verdict[A]{Err: im.Errorf(g.refused, "%s", cmp.Or(im.Shorten(a.ErrorInfo, im.MaxDesc), "the app's webhook refused "+g.what))}, "refused", nil
	}
	if err := json.Unmarshal(said, &v.Answer); err != nil {
		return v, "", err
	}
	if of, ok := any(v.Answer).(interface{ Results() []hook.Result }); ok {
		if slices.ContainsFunc(of.Results(), func(r hook.Result) bool { return r.ResultCode != 0 }) {
			return v, "refused", nil
		}
		return v, "allowed", nil
	}
	if reflect.ValueOf(v.Answer).IsZero() {
		return v, "allowed", nil
	}
	return v, "rewritten", nil
}
