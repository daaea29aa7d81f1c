package local

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// mostTickets is how many tickets a device remembers, the latest ones.
const mostTickets = 16

// Ticket is a ticket that a server has accepted: its SHA-256, and its end by this device's clock, in milliseconds since 1970.
type Ticket struct {
	Hash string
	End  int64
}

func HashTicket(sig string) string {
	sum := sha256.Sum256([]byte(sig))
	return hex.EncodeToString(sum[:])
}

// Tickets reads the tickets that a server has accepted, the latest last. Unreadable ones are ignored.
func (l *DB) Tickets() ([]Ticket, error) {
	v, err := l.Meta("tickets")
	var out []Ticket
	for one := range strings.FieldsSeq(v) {
		hash, end, _ := strings.Cut(one, ":")
		if ms, err := strconv.ParseInt(end, 10, 64); err == nil {
			out = append(out, Ticket{hash, ms})
		}
	}
	return out, err
}

// KeepTicket remembers a ticket that a server has accepted, or with end 0 forgets it.
func (l *DB) KeepTicket(hash string, end int64) error {
	all, err := l.Tickets()
	if err != nil {
		return err
	}
	now := time.Now().UnixMilli()
	all = slices.DeleteFunc(all, func(t Ticket) bool { return t.Hash == hash || t.End <= now })
	if end > now {
		all = append(all, Ticket{hash, end})
	}
	var b strings.Builder
	for _, t := range all[max(0, len(all)-mostTickets):] {
		fmt.Fprintf(&b, "%s:%d ", t.Hash, t.End)
	}
	return l.SetMeta("tickets", b.String())
}
