package client

import (
	"context"
	"database/sql"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
	_ "github.com/mattn/go-sqlite3"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/private"
)

// migrations bring a local database from version i to i+1; the version is SQLite's user_version.
var migrations = []string{schema1, schema2, schema3}

var (
	//go:embed schema1.sql
	schema1 string
	//go:embed schema2.sql
	schema2 string
	//go:embed schema3.sql
	schema3 string
)

// memoryNames tells in-memory databases of one process apart.
var memoryNames atomic.Int64

// local is the database of one user on this device. Only the engine goroutine uses it after open.
type local struct {
	db    *sql.DB
	conn  *sql.Conn
	lock  *flock.Flock // nil in memory
	inTx  bool
	stmts map[string]*sql.Stmt
	// reads counts queries: what a call costs here.
	reads int
	// lastMessage is the last id of a message. One that is given up is not used again: what is owed names messages by them.
	lastMessage int64
}

// errLocked says that another process has the user's database open.
var errLocked = errors.New("client: the user's database is in use by another process")

// openLocal opens the database of user in dir, or one in memory if dir is empty. It does not wait for another process to let go, whichever it is: errLocked.
// What is open is locked until it is closed, so that no statement waits for another process either.
func openLocal(dir, user string, log *slog.Logger) (*local, error) {
	l := &local{stmts: map[string]*sql.Stmt{}}
	dsn := fmt.Sprintf("file:tidings-%d?mode=memory&cache=private", memoryNames.Add(1))
	if dir != "" {
		base := localBase(dir, user)
		if err := os.MkdirAll(filepath.Dir(base), 0o700); err != nil {
			return nil, err
		}
		l.lock = flock.New(base + ".lock")
		if err := private.File(l.lock.Path()); err != nil {
			return nil, err
		}
		ok, err := l.lock.TryLock()
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, errLocked
		}
		// SQLite gives the files that it makes beside a database the mode of that one.
		if err := errors.Join(private.File(base+".db"), private.Narrow(base+".db-wal", base+".db-shm")); err != nil {
			log.Warn("others may be able to read the user's local data", "file", base+".db", "error", err)
		}
		dsn = "file:" + (&fileURL{base + ".db"}).String() + "?_synchronous=NORMAL&_busy_timeout=0&_locking_mode=EXCLUSIVE"
	}
	var err error
	if l.db, err = sql.Open("sqlite3", dsn); err == nil {
		l.db.SetMaxOpenConns(1)
		l.conn, err = l.db.Conn(context.Background())
	}
	if err == nil && dir != "" {
		// Not in the DSN, whose order is the driver's: only what enters WAL mode in the exclusive mode has the file to itself from here to its end.
		_, err = l.conn.ExecContext(bg, "PRAGMA journal_mode = WAL")
	}
	if err == nil {
		err = l.migrate()
	}
	if isBusy(err) {
		l.close()
		return nil, errLocked
	}
	if err != nil {
		l.close()
		return nil, fmt.Errorf("client: local database of %q: %w", user, err)
	}
	return l, nil
}

// openUsable is openLocal with a damaged database set aside: what the server has is brought again by the sync, and the old files
// stay beside it under a name that says when they were left.
func openUsable(dir, user string, log *slog.Logger) (*local, error) {
	for try := 0; ; try++ {
		l, err := openSound(dir, user, log)
		if err == nil {
			return l, nil
		}
		if !isDamaged(err) || dir == "" || try > 0 {
			return nil, err
		}
		base := localBase(dir, user) + ".db"
		aside := fmt.Sprintf("%s.damaged-%d", base, time.Now().Unix())
		log.Error("the local database is damaged; it is set aside and a new one begins", "file", base, "kept as", aside, "error", err)
		for _, part := range []string{"", "-wal", "-shm"} {
			if err := os.Rename(base+part, aside+part); err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, err
			}
		}
	}
}

// localBase is the path of a user's local files without their endings.
func localBase(dir, user string) string {
	return filepath.Join(dir, "users", hex.EncodeToString([]byte(user)))
}

// fileURL writes a path so that SQLite's URI reading gives it back.
type fileURL struct{ path string }

func (u *fileURL) String() string {
	out := make([]byte, 0, len(u.path))
	for i := 0; i < len(u.path); i++ {
		switch b := u.path[i]; b {
		case '?', '#', '%':
			out = fmt.Appendf(out, "%%%02X", b)
		default:
			out = append(out, b)
		}
	}
	return string(out)
}

func (l *local) migrate() error {
	var version int
	if err := l.conn.QueryRowContext(bg, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if version < 0 {
		return errForeign
	}
	if version > len(migrations) {
		return fmt.Errorf("made by a newer version (schema %d, this one knows %d)", version, len(migrations))
	}
	for ; version < len(migrations); version++ {
		l.begin()
		if _, err := l.conn.ExecContext(bg, migrations[version]); err != nil {
			l.rollback()
			return err
		}
		if version == asideVersion {
			if err := l.markAside(); err != nil {
				l.rollback()
				return err
			}
		}
		if _, err := l.conn.ExecContext(bg, fmt.Sprintf("PRAGMA user_version = %d", version+1)); err != nil {
			l.rollback()
			return err
		}
		if err := l.commit(); err != nil {
			return err
		}
	}
	return nil
}

// asideVersion is the last version whose messages do not say beside their content that they stand aside.
const asideVersion = 2

// markAside brings the column up to date with the contents.
func (l *local) markAside() error {
	rows, err := l.query("SELECT id, body FROM message")
	if err != nil {
		return err
	}
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		var body sql.RawBytes
		if err := rows.Scan(&id, &body); err != nil {
			return err
		}
		if im.Aside(body) {
			ids = append(ids, id)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	rows.Close() // the connection is needed
	for _, id := range ids {
		if _, err := l.exec("UPDATE message SET aside = 1 WHERE id = ?", id); err != nil {
			return err
		}
	}
	return nil
}

// bg is the context of local statements: they are short and must not be torn off in the middle.
var bg = context.Background()

func (l *local) close() {
	if l.inTx {
		l.rollback()
	}
	for _, s := range l.stmts {
		s.Close()
	}
	if l.conn != nil {
		l.conn.Close()
	}
	if l.db != nil {
		l.db.Close()
	}
	if l.lock != nil {
		l.lock.Unlock()
	}
}

// begin opens the batch's transaction if it is not open.
func (l *local) begin() error {
	if l.inTx {
		return nil
	}
	if _, err := l.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	l.inTx = true
	return nil
}

func (l *local) commit() error {
	if !l.inTx {
		return nil
	}
	l.inTx = false
	_, err := l.exec("COMMIT")
	return err
}

func (l *local) rollback() {
	l.inTx = false
	l.exec("ROLLBACK")
}

// prepared keeps a statement for each text: the set of texts is fixed by the code.
func (l *local) prepared(q string) (*sql.Stmt, error) {
	if s, ok := l.stmts[q]; ok {
		return s, nil
	}
	s, err := l.conn.PrepareContext(bg, q)
	if err != nil {
		return nil, err
	}
	l.stmts[q] = s
	return s, nil
}

func (l *local) exec(q string, args ...any) (sql.Result, error) {
	s, err := l.prepared(q)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(bg, countable(args)...)
}

// countable brings numbers that come from elsewhere, such as those in a message id, into what SQL can count; beyond it there are none, here or at a server.
func countable(args []any) []any {
	for i, a := range args {
		if n, ok := a.(uint64); ok {
			args[i] = int64(min(n, math.MaxInt64))
		}
	}
	return args
}

// write is exec inside the batch's transaction.
func (l *local) write(q string, args ...any) (sql.Result, error) {
	if err := l.begin(); err != nil {
		return nil, err
	}
	return l.exec(q, args...)
}

func (l *local) query(q string, args ...any) (*sql.Rows, error) {
	s, err := l.prepared(q)
	if err != nil {
		return nil, err
	}
	l.reads++
	return s.QueryContext(bg, countable(args)...)
}

// meta reads a value; absent is "".
func (l *local) meta(key string) (string, error) {
	s, err := l.prepared("SELECT value FROM meta WHERE key = ?")
	if err != nil {
		return "", err
	}
	var v string
	err = s.QueryRowContext(bg, key).Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return v, err
}

// metaInt reads a number; absent or unreadable is 0.
func (l *local) metaInt(key string) (int64, error) {
	v, err := l.meta(key)
	n, _ := strconv.ParseInt(v, 10, 64)
	return n, err
}

func (l *local) setMeta(key string, value any) error {
	_, err := l.write("INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", key, fmt.Sprint(value))
	return err
}

// conv is a row of the conv table, kept in memory while the database is open. dirty rows are written with the batch.
type conv struct {
	id       int64
	key      Conv
	era      int64
	epoch    uint64
	syncedTo uint64
	rev      uint64
	holeTo   uint64

	others, own         uint64
	row                 uint64
	readSeq, readOthers uint64
	readTime            int64
	withdrawn           uint64
	withdrawnRev        uint64
	peerSeq             uint64
	peerTime            int64
	cleared             uint64
	recvOpt             int32
	pinned              bool
	time                int64
	announced           int64
	receipt             uint64
	toldUnread          uint64

	listed bool // in the list although it has no message
	untold bool // it may differ from what was announced
	hidden bool // off the list until its next message
	draft  []byte
	dirty  bool

	// What is known of the log's ends but may not be applied yet; not stored.
	headSeq, headRev    uint64
	headOthers, headOwn uint64
	pulling, queued     bool
	// deferred: a fresh device decides where to start when it knows all heads. refreshing: the head was asked for again.
	deferred, refreshing bool
	// seen is what pushes told before the conversation was ready for them: the log's epoch and ends, and where they began.
	seen struct {
		epoch     uint64
		entry     *im.Entry
		from, rev uint64
	}
	// receiptAt is when a receipt was last told.
	receiptAt time.Time
	// shown is its part of the total, as of the last state computed: what is not told yet does not count yet.
	shown uint64
}

const convColumns = "id, type, target, era, epoch, synced_to, rev, hole_to, others, own, row, read_seq, read_others, read_time, withdrawn, withdrawn_rev, peer_seq, peer_time, cleared, recv_opt, pinned, time, announced, receipt, unread, listed, untold, hidden, draft"

// columns are the row's fields in the order of convColumns, to scan into or to write from.
func (c *conv) columns() []any {
	return []any{&c.id, &c.key.Type, &c.key.ID, &c.era, &c.epoch, &c.syncedTo, &c.rev, &c.holeTo, &c.others, &c.own, &c.row, &c.readSeq, &c.readOthers,
		&c.readTime, &c.withdrawn, &c.withdrawnRev, &c.peerSeq, &c.peerTime, &c.cleared, &c.recvOpt, &c.pinned, &c.time, &c.announced, &c.receipt, &c.toldUnread, &c.listed, &c.untold, &c.hidden, &c.draft}
}

func (l *local) loadConvs() ([]*conv, error) {
	rows, err := l.query("SELECT " + convColumns + " FROM conv")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*conv
	for rows.Next() {
		c := &conv{}
		if err := rows.Scan(c.columns()...); err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, rows.Err()
}

func noNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func (l *local) putConv(c *conv) error {
	_, err := l.write("INSERT OR REPLACE INTO conv ("+convColumns+") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
		c.id, int32(c.key.Type), c.key.ID, c.era, c.epoch, c.syncedTo, c.rev, c.holeTo, c.others, c.own, c.row, c.readSeq, c.readOthers,
		c.readTime, c.withdrawn, c.withdrawnRev, c.peerSeq, c.peerTime, c.cleared, c.recvOpt, c.pinned, c.time, c.announced, c.receipt, c.toldUnread, c.listed, c.untold, c.hidden, noNil(c.draft))
	return err
}

// message is a row of the message table.
type message struct {
	id, conv, era int64
	pos           uint64
	sub           int64
	seq           uint64
	clientTime    uint64
	random        uint32
	sender        string
	senderTiny    uint64
	time          int64
	status        im.MessageStatus
	version       uint64
	here          bool
	revoker       string
	reason        string
	body          []byte
}

const messageColumns = "id, conv, era, pos, sub, seq, client_time, random, sender, sender_tiny, time, status, version, here, revoker, reason, body"

func (l *local) messages(where string, args ...any) ([]*message, error) {
	rows, err := l.query("SELECT "+messageColumns+" FROM message WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	return scanMessages(rows)
}

// messagesLike is messages for a condition that is put together anew each time: its statement is not kept.
func (l *local) messagesLike(where string, args ...any) ([]*message, error) {
	rows, err := l.conn.QueryContext(bg, "SELECT "+messageColumns+" FROM message WHERE "+where, countable(args)...)
	if err != nil {
		return nil, err
	}
	return scanMessages(rows)
}

func scanMessages(rows *sql.Rows) ([]*message, error) {
	defer rows.Close()
	var out []*message
	for rows.Next() {
		m := &message{}
		if err := rows.Scan(&m.id, &m.conv, &m.era, &m.pos, &m.sub, &m.seq, &m.clientTime, &m.random, &m.sender, &m.senderTiny,
			&m.time, &m.status, &m.version, &m.here, &m.revoker, &m.reason, &m.body); err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, rows.Err()
}

// one answers the single row of a query, nil if there is none.
func (l *local) one(where string, args ...any) (*message, error) {
	ms, err := l.messages(where, args...)
	if err != nil || len(ms) == 0 {
		return nil, err
	}
	return ms[0], nil
}

// before is the pos of the last logged message of a conversation with a time of at most t, 0 without one. It searches by halves: times never fall
// along a log.
func (l *local) before(cv *conv, t int64) (uint64, error) {
	low, high, found := uint64(1), uint64(math.MaxInt64), uint64(0)
	for low <= high {
		middle := low + (high-low)/2
		if high == math.MaxInt64 {
			middle = high // the end of the log is not known yet
		}
		r, err := l.one("conv = ? AND era = ? AND pos BETWEEN ? AND ? AND sub = 0 ORDER BY pos DESC LIMIT 1", cv.id, cv.era, low, middle)
		switch {
		case err != nil:
			return 0, err
		case r == nil:
			low = middle + 1
		case r.time <= t:
			found, low = r.pos, middle+1
		default:
			high = r.pos - 1
		}
	}
	return found, nil
}

// asideMost is how far back a conversation's last message is looked for behind those that are not to be it.
const asideMost = 1000

// last is the newest message of a conversation that may be its last message, and whether there is a newer one that may not; nil if there is none.
func (l *local) last(cv *conv) (m *message, behind bool, err error) {
	m, err = l.one("conv = ? AND status <> 4 ORDER BY era DESC, pos DESC, sub DESC LIMIT 1", cv.id)
	if err != nil || m == nil || !im.Aside(m.body) {
		return m, false, err
	}
	m, err = l.one("conv = ? AND era = ? AND pos > ? AND status <> 4 AND aside = 0 ORDER BY era DESC, pos DESC, sub DESC LIMIT 1",
		cv.id, m.era, m.pos-min(m.pos, asideMost))
	return m, true, err
}

// loadLast reads the last id that a message has, or has had while something still names it.
func (l *local) loadLast() error {
	var id int64
	if err := l.conn.QueryRowContext(bg, "SELECT coalesce(max(id), 0) FROM message").Scan(&id); err != nil {
		return err
	}
	indexed, err := l.metaInt("indexed")
	if err != nil {
		return err
	}
	owed, err := l.owed()
	if err != nil {
		return err
	}
	l.lastMessage = max(l.lastMessage, id, indexed)
	for _, o := range owed {
		l.lastMessage = max(l.lastMessage, slices.Max(append(o.messages(), 0)))
	}
	return nil
}

// newMessage is the id of another message.
func (l *local) newMessage() int64 {
	l.lastMessage++
	return l.lastMessage
}

// put inserts a message (id 0) or replaces the row.
func (l *local) put(m *message) error {
	if m.id == 0 {
		m.id = l.newMessage()
	}
	_, err := l.write("INSERT OR REPLACE INTO message ("+messageColumns+", aside) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
		m.id, m.conv, m.era, m.pos, m.sub, m.seq, m.clientTime, m.random, m.sender, m.senderTiny, m.time, int32(m.status), m.version, m.here, m.revoker, m.reason, m.body, im.Aside(m.body))
	return err
}
