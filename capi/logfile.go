package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/tidings-im/tidings/internal/private"
)

const (
	logName = "imsdk.log"
	// logSize is how large the file becomes before it is put aside as imsdk.log.1, that one as imsdk.log.2, and so on; logKept is how many of those
	// there are.
	logSize = 5 << 20
	logKept = 4
)

// logFile is the log in the folder that TIMInit names. Programs that share a folder share the file: a line is one write at its end.
type logFile struct {
	mu   sync.Mutex
	path string
	most int64
	f    *os.File // nil: no file
	ours os.FileInfo
}

// open begins to write into a folder, which is created; "" ends it.
func (lf *logFile) open(dir string) error {
	lf.mu.Lock()
	defer lf.mu.Unlock()
	if lf.f != nil {
		lf.f.Close()
	}
	lf.f = nil
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	lf.path = filepath.Join(dir, logName)
	for i := range logKept {
		if err := private.Narrow(fmt.Sprintf("%s.%d", lf.path, i+1)); err != nil {
			return err
		}
	}
	lf.most = cmp.Or(lf.most, logSize)
	return lf.begin()
}

// begin opens the file; lf.mu is held. On an error there is no file any more.
func (lf *logFile) begin() error {
	if err := private.File(lf.path); err != nil {
		return err
	}
	f, err := os.OpenFile(lf.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	if lf.ours, err = f.Stat(); err != nil {
		f.Close()
		return err
	}
	lf.f = f
	return nil
}

func (lf *logFile) on() bool {
	lf.mu.Lock()
	defer lf.mu.Unlock()
	return lf.f != nil
}

// write appends a line; it is lost if the disk does not take it. Another program may have put the file aside, or deleted it.
func (lf *logFile) write(line string) {
	lf.mu.Lock()
	defer lf.mu.Unlock()
	if lf.f == nil {
		return
	}
	now, err := os.Stat(lf.path)
	same := err == nil && os.SameFile(lf.ours, now)
	full := same && now.Size() > 0 && now.Size()+int64(len(line)) > lf.most
	if full {
		for i := logKept - 1; i > 0; i-- {
			os.Rename(fmt.Sprintf("%s.%d", lf.path, i), fmt.Sprintf("%s.%d", lf.path, i+1))
		}
		os.Rename(lf.path, lf.path+".1")
	}
	if full || !same {
		lf.f.Close()
		lf.f = nil
		if lf.begin() != nil {
			return
		}
	}
	lf.f.WriteString(line)
}
