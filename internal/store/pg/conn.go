package pg

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// params are the settings of every session. A transaction whose server process is gone ends soon, so that its locks do. None ends a COMMIT:
// PostgreSQL's statement_timeout does not cover it.
var params = map[string]string{
	"application_name":                    "tidings",
	"client_encoding":                     "UTF8",
	"default_transaction_isolation":       "read committed",
	"statement_timeout":                   "25s",
	"lock_timeout":                        "4s",
	"idle_in_transaction_session_timeout": "5s",
	"tcp_keepalives_idle":                 "10",
	"tcp_keepalives_interval":             "5",
	"tcp_keepalives_count":                "3",
}

// keepAlive detects within 25 s that the machine at the other end is gone.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}

// Why a connection is not used, or a commit is not believed.
var (
	errStandby = errors.New("this is a standby")
	errOld     = errors.New("this was the primary before a standby was promoted")
	errUnsafe  = errors.New("store: committed, but perhaps not on the standby")
	// ErrMoved: the database is another store now, so users of this one have to reopen it.
	ErrMoved = errors.New("store: a standby was promoted that may not have had everything: this is another store now")
)

// hooks configures the connections of a configuration, and checks who is at the other end.
func (s *Store) hooks(c *pgx.ConnConfig) {
	for k, v := range params {
		if _, set := c.RuntimeParams[k]; !set {
			c.RuntimeParams[k] = v
		}
	}
	c.RuntimeParams["client_min_messages"] = "warning" // a COMMIT that did not wait for its standby reports that with a warning
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, connectWithin)
	dial := s.cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{KeepAliveConfig: keepAlive}).DialContext
	}
	c.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if network == (nowhere{}).Network() {
			return nil, errors.New("store: a COMMIT is not cancelled")
		}
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &link{Conn: conn}, nil
	}
	c.OnNotice = func(pc *pgconn.PgConn, n *pgconn.Notice) { pc.CustomData()[warning] = n }
	fatal := c.OnPgError
	c.OnPgError = func(pc *pgconn.PgConn, e *pgconn.PgError) bool {
		return fatal(pc, e) && e.Code != readOnly // a connection that only reads may lead to a standby by now
	}
	// Of several hosts the first that passes is used, so a standby is turned down here; prefer-standby ignores this, and not AfterConnect.
	own := c.ValidateConnect
	c.ValidateConnect = func(ctx context.Context, pc *pgconn.PgConn) error {
		if own != nil {
			if err := own(ctx, pc); err != nil {
				return err
			}
		}
		return s.primary(ctx, pc)
	}
	c.AfterConnect = s.suitable
}

// link is a connection for which no cancel request is sent. pgx sends one when a context ends or a connection breaks; PostgreSQL would then end the
// wait of a COMMIT for its standby as if it had been successful. pgx dials the other end's address for that, so link reports none that can be
// dialled.
type link struct {
	net.Conn
	cancel atomic.Bool // a request may be sent
}

func (l *link) RemoteAddr() net.Addr {
	if l.cancel.Load() {
		return l.Conn.RemoteAddr()
	}
	return nowhere{}
}

// nowhere is an address that cannot be dialled.
type nowhere struct{}

func (nowhere) Network() string { return "nowhere" }
func (nowhere) String() string  { return "nowhere" }

// cancellable allows a cancel request for what pc does, or forbids it again.
func cancellable(pc *pgconn.PgConn, may bool) {
	conn := pc.Conn()
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if l, ok := conn.(*link); ok {
		l.cancel.Store(may)
	}
}

// Keys of what is kept with a connection.
const (
	warning = "warning" // the last one that arrived
	spanKey = "span"
)

// quiet forgets warnings; waited returns an error if one has arrived since that means that a commit did not wait for its standby.
func quiet(pc *pgconn.PgConn) { delete(pc.CustomData(), warning) }

func waited(pc *pgconn.PgConn) error {
	n, ok := pc.CustomData()[warning].(*pgconn.Notice)
	if ok && (n.Code == "01000" || n.Code == "57P01") { // cancelled by somebody; by the end of the connection
		return fmt.Errorf("%w: %s", errUnsafe, n.Message)
	}
	return nil
}

// sqlMark writes a few bytes to PostgreSQL's log and nothing else. A transaction that has a number and wrote nothing would not wait.
const sqlMark = "SELECT pg_logical_emit_message(true, 'tidings', '')::text"

// fence is a small commit that waits for the standby if there is one. The log of PostgreSQL is in order, so everything that could be seen before is
// on the standby then. It may be cancelled, as it changes nothing: otherwise each attempt without a standby would leave a process waiting.
func fence(ctx context.Context, pc *pgconn.PgConn) error {
	quiet(pc)
	cancellable(pc, true)
	if err := pc.ExecParams(ctx, sqlMark, nil, nil, nil, nil).Read().Err; err != nil {
		return err
	}
	cancellable(pc, false)
	return waited(pc)
}

// span is a time in which PostgreSQL did not recover: a recovery shows what was committed and not acknowledged, and may reuse transaction ids.
type span struct {
	started  string // the server
	reset    string // its statistics, as each recovery after a crash does: the server process may have lived on
	timeline int64
}

func spanOf(pc *pgconn.PgConn) span {
	v, _ := pc.CustomData()[spanKey].(span)
	return v
}

// primary refuses a standby: it takes no writes, and an older head would look like a log that was set back.
func (s *Store) primary(ctx context.Context, pc *pgconn.PgConn) error {
	r := pc.ExecParams(ctx, "SELECT pg_is_in_recovery()", nil, nil, nil, nil).Read()
	if r.Err == nil && string(r.Rows[0][0]) == "t" {
		return errStandby
	}
	return r.Err
}

const sqlSuitable = `SELECT current_setting('server_version_num')::bigint, current_setting('server_version'), current_setting('server_encoding'),
	set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false),
	pg_postmaster_start_time(), coalesce(pg_stat_get_bgwriter_stat_reset_time()::text, ''),
	CASE WHEN pg_is_in_recovery() THEN '' ELSE pg_walfile_name(pg_current_wal_lsn()) END`

// suitable refuses a database that the store cannot rely on.
func (s *Store) suitable(ctx context.Context, pc *pgconn.PgConn) error {
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	r := pc.ExecParams(ctx, sqlSuitable, nil, nil, nil, nil).Read()
	if r.Err != nil {
		return r.Err
	}
	v := r.Rows[0]
	if n, _ := strconv.Atoi(string(v[0])); n < minVersion {
		return fmt.Errorf("PostgreSQL %s is too old, 15 is needed", v[1])
	}
	if string(v[2]) != "UTF8" {
		return fmt.Errorf("the database's encoding is %s, UTF8 is needed", v[2])
	}
	wal := string(v[6])
	if wal == "" {
		return errStandby
	}
	timeline, err := strconv.ParseInt(wal[:min(8, len(wal))], 16, 64)
	if err != nil {
		return fmt.Errorf("the name of a WAL file is %q: %w", wal, err)
	}
	now := span{string(v[4]), string(v[5]), timeline}
	pc.CustomData()[spanKey] = now
	s.spans.Lock()
	known, proven := s.spans.timeline, s.spans.proven == now
	s.spans.Unlock()
	switch {
	case s.moved.Load():
		return ErrMoved
	case known != 0 && timeline < known:
		return errOld
	case known != 0 && timeline > known && !s.cfg.Synchronous:
		s.move(timeline)
		return ErrMoved
	}
	if !proven {
		if err := fence(ctx, pc); err != nil {
			return fmt.Errorf("nobody knows whether the standby has what the database shows: %w", err)
		}
	}
	if known != 0 && timeline > known {
		if err := pc.ExecParams(ctx, "UPDATE meta SET timeline = greatest(timeline, $1::bigint)", [][]byte{[]byte(strconv.FormatInt(timeline, 10))}, nil, nil, nil).Read().Err; err != nil {
			return err
		}
	}
	s.spans.Lock()
	s.spans.proven = now
	newer := known != 0 && timeline > s.spans.timeline
	if newer {
		s.spans.timeline = timeline
	}
	s.spans.Unlock()
	if newer {
		s.cfg.Log.Warn("store: a synchronous standby was promoted", "timeline", timeline)
		s.pool.Reset() // connections to the old primary
	}
	return nil
}

// move ends the use of this store: the database is another store now.
func (s *Store) move(timeline int64) {
	if s.moved.Swap(true) {
		return
	}
	s.cfg.Log.Error("store: a standby was promoted, and it is not known to have had everything: this is another store now", "timeline", timeline)
	s.pool.Reset()
	if s.cfg.Moved != nil {
		s.cfg.Moved()
	}
}

// stale reports whether a connection leads to a former primary.
func (s *Store) stale(pc *pgconn.PgConn) bool {
	s.spans.Lock()
	defer s.spans.Unlock()
	return spanOf(pc).timeline < s.spans.timeline
}
