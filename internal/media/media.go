// Package media is /media/: uploads by the tus protocol (https://tus.io, version 1.0), the folder of their files, the smaller sizes of images, and downloads.
//
//	POST   /media/upload/     creates an upload
//	HEAD   /media/upload/ID   how much of it has arrived
//	PATCH  /media/upload/ID   more of it
//	DELETE /media/upload/ID   ends it
//	GET    /media/ID          the file; /media/ID/large and /media/ID/thumb are smaller sizes of an image, /media/ID/info describes them as JSON
//
// The id of an upload is random. Whoever has it, and a session, may read the file: so a message that is forwarded needs nothing else. Who may not read a file
// gets the same response as for one that does not exist. Equal files are on the disk once, which no response and no time shows.
package media

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/rate"
)

// Config of Media. Zero values mean the defaults.
type Config struct {
	Folder *Folder
	// Origins are the web pages whose scripts may use /media/; none: all.
	Origins []string
	// Unused is how long an upload may take, and how long a file is kept that no message refers to: 24 h.
	Unused time.Duration
	// OpenPerUser is how many uploads a user may have open: 20. PerDay and PerUser are how many bytes a user may upload in 24 h and have in all; 0: no limit.
	OpenPerUser     int
	PerDay, PerUser int64
	// Reserve is how much of the folder's disk is left to others, above all to the log.
	Reserve uint64
	// Creates is how many uploads a user may create per second, and as many again at once: 10.
	Creates int
	// Transfers is how many requests may transfer bytes at the same time: 256. One user gets an eighth of the places that others leave, but at least one: so a few
	// users cannot take all.
	Transfers int
	Pace      Pace
	// Free returns how many bytes may still be written to the disk of a folder. By default it asks the system.
	Free    func(dir string) (uint64, error)
	Now     func() time.Time
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

const (
	defaultUnused    = 24 * time.Hour
	defaultOpen      = 20
	defaultCreates   = 10
	defaultTransfers = 256
	// imageWorkers is how many images are made smaller at the same time, imageTime how long one may take.
	imageWorkers = 2
	imageTime    = 10 * time.Second
)

// copying is how many files are copied and hashed at the same time, for which they need a processor each: another one is for everything else.
var copying = max(1, runtime.GOMAXPROCS(0)/2)

// Media is an http.Handler for everything below /media/.
type Media struct {
	cfg     Config
	store   chat.Store
	rules   *chat.Chat
	folder  *Folder
	metrics metrics
	images  chan struct{}
	copies  chan struct{}

	mu        sync.Mutex
	held      map[string]*turns
	transfers int
	ofUser    map[chat.UID]int
	creates   map[chat.UID]*rate.Bucket // of users who have created uploads lately
	prefix    int                       // of the next folder that the sweep looks at

	stop context.CancelFunc
	done sync.WaitGroup
}

type metrics struct {
	bytes   *prometheus.CounterVec
	images  *prometheus.CounterVec
	refused *prometheus.CounterVec
	deleted prometheus.Counter
	open    prometheus.Gauge
}

// New makes the handler and starts the sweep, which Close stops.
func New(store chat.Store, rules *chat.Chat, cfg Config) *Media {
	cfg.Unused = cmp.Or(cfg.Unused, defaultUnused)
	cfg.OpenPerUser = cmp.Or(cfg.OpenPerUser, defaultOpen)
	cfg.Creates = cmp.Or(cfg.Creates, defaultCreates)
	cfg.Transfers = cmp.Or(cfg.Transfers, defaultTransfers)
	cfg.Pace = cmp.Or(cfg.Pace, DefaultPace)
	cfg.Log = cmp.Or(cfg.Log, slog.Default())
	if cfg.Free == nil {
		cfg.Free = free
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Metrics == nil {
		cfg.Metrics = prometheus.NewRegistry()
	}
	m := &Media{
		cfg: cfg, store: store, rules: rules, folder: cfg.Folder, images: make(chan struct{}, imageWorkers), copies: make(chan struct{}, copying),
		held: make(map[string]*turns), ofUser: make(map[chat.UID]int), creates: make(map[chat.UID]*rate.Bucket),
	}
	m.metrics.init(cfg.Metrics)
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	m.done.Go(func() { m.sweepAlways(ctx) })
	return m
}

// Close stops the sweep, and waits until what the last requests have left is deleted. Requests must have ended.
func (m *Media) Close() {
	m.stop()
	m.done.Wait()
}

// Reasons in the metric tidings_media_refused_total.
const (
	refusedAccess    = "access"
	refusedSize      = "size"
	refusedOpen      = "open_uploads"
	refusedRate      = "created_per_second"
	refusedDay       = "bytes_per_day"
	refusedKept      = "bytes_per_user"
	refusedDisk      = "disk"
	refusedTransfers = "transfers"
	refusedSlow      = "slow"
	refusedChecksum  = "checksum"
)

func (m *metrics) init(reg prometheus.Registerer) {
	m.bytes = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tidings_media_bytes_total", Help: "Bytes of media that clients have sent (up) and got (down)."}, []string{"direction"})
	m.images = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tidings_media_images_total", Help: "Images of which smaller sizes were made, and others, which are served as they are (original)."}, []string{"result"})
	m.refused = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tidings_media_refused_total", Help: "Requests for media that were refused, by reason."}, []string{"reason"})
	m.deleted = prometheus.NewCounter(prometheus.CounterOpts{Name: "tidings_media_deleted_total", Help: "Files of media that were deleted because nothing referred to them."})
	m.open = prometheus.NewGauge(prometheus.GaugeOpts{Name: "tidings_media_open_uploads", Help: "Uploads that are not done, as of the last minute."})
	reg.MustRegister(m.bytes, m.images, m.refused, m.deleted, m.open)
	for _, v := range []string{"up", "down"} {
		m.bytes.WithLabelValues(v)
	}
	for _, v := range []string{"made", "original"} {
		m.images.WithLabelValues(v)
	}
	for _, v := range []string{refusedAccess, refusedSize, refusedOpen, refusedRate, refusedDay, refusedKept, refusedDisk, refusedTransfers, refusedSlow, refusedChecksum} {
		m.refused.WithLabelValues(v)
	}
}

const (
	prefix       = "/media/"
	uploadPrefix = prefix + "upload/"
)

// newMediaID draws the id of an upload: 192 random bits. Not all of them are hexadecimal digits, which ids of other servers may be.
func newMediaID() string {
	for {
		b := make([]byte, 24)
		rand.Read(b)
		if id := base64.RawURLEncoding.EncodeToString(b); im.ValidMediaID(id) {
			return id
		}
	}
}

// partialOf returns the name of the file with what has arrived of an upload.
func partialOf(id string) string {
	h := sha256.Sum256([]byte(id))
	return hex.EncodeToString(h[:16])
}

// ServeHTTP serves a request. Paths contain ids, so they are not logged.
func (m *Media) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler {
				m.cfg.Log.Error("a request for media failed inside the server", "remote", r.RemoteAddr, "err", fmt.Sprintf("panic: %v\n%s", p, debug.Stack()))
			}
			panic(http.ErrAbortHandler)
		}
	}()
	h := w.Header()
	// What users have uploaded shares its origin with the rest of the server: it never becomes a page.
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	m.allowOrigin(h, r.Header.Get("Origin"))
	if r.Method == http.MethodOptions {
		options(h, r)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, uploadPrefix); ok {
		m.upload(w, r, rest)
		return
	}
	id, part, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, prefix), "/")
	m.read(w, r, id, part)
}

// allowOrigin lets the script of a web page use /media/. Nothing is allowed by a cookie.
func (m *Media) allowOrigin(h http.Header, origin string) {
	switch {
	case len(m.cfg.Origins) == 0:
		h.Set("Access-Control-Allow-Origin", "*")
	case slices.ContainsFunc(m.cfg.Origins, func(o string) bool { return strings.EqualFold(o, origin) }):
		h.Set("Access-Control-Allow-Origin", origin)
		fallthrough
	default:
		h.Add("Vary", "Origin")
	}
	h.Set("Access-Control-Expose-Headers", "Location, Upload-Offset, Upload-Length, Upload-Expires, Tus-Resumable, Tus-Version, Tus-Extension, Tus-Max-Size, Tus-Checksum-Algorithm, ETag, Content-Range, "+im.CodeHeader)
}

// refuse responds to a request that is refused. code is for the SDK, 0 for none. No proxy keeps it: what is refused now may be allowed soon.
func (m *Media) refuse(w http.ResponseWriter, status int, reason string, code int32, text string) {
	if reason != "" {
		m.metrics.refused.WithLabelValues(reason).Inc()
	}
	if code != 0 {
		w.Header().Set(im.CodeHeader, strconv.Itoa(int(code)))
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, text, status)
}

// forbid is the response to whoever may not read something, and for what does not exist.
func (m *Media) forbid(w http.ResponseWriter) {
	m.refuse(w, http.StatusForbidden, refusedAccess, im.CodeMediaForbidden, "forbidden")
}

// fail responds to a request that failed for a reason that the client has not caused.
func (m *Media) fail(w http.ResponseWriter, err error) {
	if text := chat.Known(err); text != "" {
		m.refuse(w, http.StatusServiceUnavailable, "", im.CodeUploadFailed, text)
		return
	}
	if !errors.Is(err, context.Canceled) && !errors.Is(err, chat.ErrClosed) {
		m.cfg.Log.Error("media: a request failed", "err", err)
	}
	m.refuse(w, http.StatusInternalServerError, "", im.CodeUploadFailed, "the server failed")
}

// caller returns the user of a request about an upload. If it returns false, the request has its response. Tokens to read may stand in the URL, where a browser
// puts nothing else for an image. The app's program has the tokens of files that were shown to it; it is user 0.
func (m *Media) caller(w http.ResponseWriter, r *http.Request, id string, upload bool) (chat.UID, bool) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok && !upload {
		token = r.URL.Query().Get("token")
	}
	if !upload && m.rules.MayOpen(token, id) {
		return 0, true
	}
	uid, err := m.rules.CheckMedia(r.Context(), token, upload)
	switch {
	case err == nil:
		return uid, true
	case im.CodeOf(err) != 0:
		m.forbid(w)
	default:
		m.fail(w, err)
	}
	return 0, false
}

// enter counts a transfer of a user. If it returns false, there are too many, and the request has its response.
func (m *Media) enter(w http.ResponseWriter, uid chat.UID) bool {
	m.mu.Lock()
	others := m.transfers - m.ofUser[uid]
	ok := m.transfers < m.cfg.Transfers && m.ofUser[uid] < max((m.cfg.Transfers-others)/8, 1)
	if ok {
		m.transfers++
		m.ofUser[uid]++
	}
	m.mu.Unlock()
	if !ok {
		w.Header().Set("Retry-After", "1")
		m.refuse(w, http.StatusTooManyRequests, refusedTransfers, im.CodeUploadFailed, "too many transfers")
	}
	return ok
}

func (m *Media) leave(uid chat.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.transfers--
	if m.ofUser[uid]--; m.ofUser[uid] == 0 {
		delete(m.ofUser, uid)
	}
}

// room reports whether some bytes may be written without taking the reserve.
func (m *Media) room(n int64) bool {
	left, err := m.cfg.Free(m.folder.dir)
	if err != nil {
		m.cfg.Log.Error("media: nobody knows how full the disk is", "err", err)
		return false
	}
	return left >= m.cfg.Reserve && left-m.cfg.Reserve >= uint64(n)
}
