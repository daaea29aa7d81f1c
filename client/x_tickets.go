package client

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

// takenTicket is a ticket that a server has taken: its SHA-256, and its end by this device's clock, in milliseconds since 1970.
type takenTicket struct {
	hash string
	end  int64
}

func ticketHash(sig string) string {
	sum := sha256.Sum256([]byte(sig))
	return hex.EncodeToString(sum[:])
}

// takenTickets reads the tickets that a server has taken, the latest last. What is unreadable is none.
func (l *local) takenTickets() ([]takenTicket, error) {
	v, err := l.meta("tickets")
	var out []takenTicket
	for one := range strings.FieldsSeq(v) {
		hash, end, _ := strings.Cut(one, ":")
		if ms, err := strconv.ParseInt(end, 10, 64); err == nil {
			out = append(out, takenTicket{hash, ms})
		}
	}
	return out, err
}

// keepTicket remembers a ticket that a server has taken, or with end 0 forgets it.
func (l *local) keepTicket(hash string, end int64) error {
	all, err := l.takenTickets()
	if err != nil {
		return err
	}
	now := time.Now().UnixMilli()
	all = slices.DeleteFunc(all, func(t takenTicket) bool { return t.hash == hash || t.end <= now })
	if end > now {
		all = append(all, takenTicket{hash, end})
	}
	var b strings.Builder
	for _, t := range all[max(0, len(all)-mostTickets):] {
		fmt.Fprintf(&b, "%s:%d ", t.hash, t.end)
	}
	return l.setMeta("tickets", b.String())
}
