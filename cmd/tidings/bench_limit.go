package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/spf13/cobra"
)

// The bare relay shows what the machine itself allows: it reads a record from a connection, appends it to a file, syncs the file for all that have
// gathered, then forwards the record and acknowledges it. It has no identity, no rules, no numbers, no database.
//
// A record on the wire: length (4 bytes, of what follows), the connection it is for (4 bytes), text. To a client: length, a kind (1 byte: an
// acknowledgement or a message), text. A client's first four bytes are its own number.

func benchLimit(ctx context.Context, o *benchOptions) (*benchResult, error) {
	ch, err := startChild(ctx, o, func(addr, dir string) []string { return []string{"bench", "relay", addr, dir} })
	if err != nil {
		return nil, err
	}
	defer ch.stop()
	links := make([]link, o.users)
	for i := range links {
		conn, err := net.Dial("tcp", ch.addr)
		if err != nil {
			return nil, err
		}
		if _, err := conn.Write(binary.BigEndian.AppendUint32(nil, uint32(i))); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil { // the relay knows it
			return nil, err
		}
		links[i] = &relayLink{Conn: conn, r: bufio.NewReaderSize(conn, 16<<10), peer: uint32(i ^ 1)}
	}
	r := &benchResult{Bench: "limit"}
	return r, load(ctx, links, o, ch, r)
}

const (
	relayAck     = 'a'
	relayMessage = 'm'
)

type relayLink struct {
	net.Conn
	r    *bufio.Reader
	peer uint32
	buf  []byte
}

func (l *relayLink) appendSend(b []byte, _ uint64, text []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(4+len(text)))
	b = binary.BigEndian.AppendUint32(b, l.peer)
	return append(b, text...)
}

func (l *relayLink) write(b []byte) error {
	_, err := l.Write(b)
	return err
}

// read reads one record, and then those that have arrived with it.
func (l *relayLink) read(acked func() error, got func([]byte) error) error {
	for {
		b, err := readRecord(l.r, &l.buf)
		if err != nil {
			return err
		}
		if b[0] == relayAck {
			err = acked()
		} else {
			err = got(b[1:])
		}
		if err != nil || l.r.Buffered() == 0 {
			return err
		}
	}
}

func readRecord(r *bufio.Reader, buf *[]byte) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(head[:]))
	if cap(*buf) < n {
		*buf = make([]byte, n)
	}
	b := (*buf)[:n]
	_, err := io.ReadFull(r, b)
	return b, err
}

func relayCommand() *cobra.Command {
	return &cobra.Command{
		Use: "relay ADDR DIR", Hidden: true, Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error { return relay(c.Context(), args[0], args[1]) },
	}
}

// relayPeer is a connection of the relay; what waits to be written to it gathers in out.
type relayPeer struct {
	conn    net.Conn
	mu      sync.Mutex
	out     []byte
	spare   []byte
	writing bool
}

type relayRecord struct {
	from *relayPeer
	to   uint32
	text []byte
}

func relay(ctx context.Context, addr, dir string) error {
	file, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer file.Close()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { l.Close() })
	var mu sync.Mutex
	peers := map[uint32]*relayPeer{}
	var waiting []relayRecord
	more := make(chan struct{}, 1)

	go func() { // commits: everything that has gathered, with one sync
		var batch []relayRecord
		var log []byte
		for range more {
			mu.Lock()
			batch, waiting = waiting, batch[:0]
			mu.Unlock()
			log = log[:0]
			for _, r := range batch {
				log = binary.BigEndian.AppendUint32(log, uint32(len(r.text)))
				log = append(log, r.text...)
			}
			if _, err := file.Write(log); err != nil {
				panic(err)
			}
			if err := file.Sync(); err != nil {
				panic(err)
			}
			mu.Lock()
			for _, r := range batch {
				r.from.queue(relayAck, nil)
				if to := peers[r.to]; to != nil {
					to.queue(relayMessage, r.text)
				}
			}
			mu.Unlock()
		}
	}()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		go func() {
			r := bufio.NewReaderSize(conn, 4<<10)
			var head [4]byte
			if _, err := io.ReadFull(r, head[:]); err != nil {
				return
			}
			p := &relayPeer{conn: conn}
			mu.Lock()
			peers[binary.BigEndian.Uint32(head[:])] = p
			mu.Unlock()
			conn.Write([]byte{1})
			for {
				var buf []byte
				b, err := readRecord(r, &buf)
				if err != nil {
					conn.Close()
					return
				}
				mu.Lock()
				waiting = append(waiting, relayRecord{p, binary.BigEndian.Uint32(b), b[4:]})
				mu.Unlock()
				select {
				case more <- struct{}{}:
				default:
				}
			}
		}()
	}
}

func (p *relayPeer) queue(kind byte, text []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out = binary.BigEndian.AppendUint32(p.out, uint32(1+len(text)))
	p.out = append(append(p.out, kind), text...)
	if !p.writing {
		p.writing = true
		go p.write()
	}
}

func (p *relayPeer) write() {
	for {
		p.mu.Lock()
		if len(p.out) == 0 {
			p.writing = false
			p.mu.Unlock()
			return
		}
		out := p.out
		p.out = p.spare[:0]
		p.mu.Unlock()
		p.conn.Write(out)
		p.mu.Lock()
		p.spare = out
		p.mu.Unlock()
	}
}
