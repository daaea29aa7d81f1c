package server

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/tidings-im/tidings/internal/private"
)

const secretFile = "secret.key"

// Secret reads the secret key of a data folder: the only line of its file.
func Secret(data string) (string, error) {
	name := filepath.Join(data, secretFile)
	b, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	key := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if key == "" {
		return "", fmt.Errorf("%s is empty", name)
	}
	if err := plain(key); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return key, nil
}

// takeKey returns the key that signs tickets: the setting, or the one in the data folder, which the first start makes. used means that there are data
// already: then a missing key was lost, and a new one would make every ticket void, so it is made only if the operator asks for it.
func (s *Server) takeKey(used bool) (err error) {
	name := filepath.Join(s.cfg.Data, secretFile)
	if s.key = s.cfg.SecretKey; s.key != "" {
		if s.cfg.NewKey {
			return errors.New("new-key: the setting secret-key names the key already")
		}
	} else if s.key, err = Secret(s.cfg.Data); errors.Is(err, fs.ErrNotExist) {
		if used && !s.cfg.NewKey {
			return fmt.Errorf("the secret key is lost: there are data, and no %s. Put it back (a backup has it) or name it with secret-key; or start once with --new-key, "+
				"which makes another one: then every ticket is void", name)
		}
		made, err := makeSecret(s.cfg.Data)
		if err == nil {
			s.key, err = Secret(s.cfg.Data)
		}
		if err != nil {
			return err
		}
		if s.fresh = made && !used; used {
			s.log.Warn("a new secret key was made; tickets that were signed before are void", "file", name)
		}
	} else if err != nil {
		return err
	} else {
		if s.cfg.NewKey {
			return fmt.Errorf("new-key: there is a secret key in %s; if its tickets are to be void, move it away first", name)
		}
		s.closeKey(name)
	}
	warnWeak(s.log, "secret-key", s.key)
	warnWeak(s.log, "webhook-token", s.cfg.Webhook.Token)
	return nil
}

// closeKey makes the key readable only by its owner.
func (s *Server) closeKey(name string) {
	fi, err := os.Stat(name)
	if err != nil {
		return
	}
	who := private.Others(fi)
	if err := private.Narrow(name); err != nil {
		s.log.Warn("the file of the secret key cannot be closed to others", "file", name, "err", err)
	}
	if who != "" {
		s.log.Warn("the secret key could be read by others; anyone who has read it can log in as any user until there is another key (--new-key)", "file", name, "by", who)
	}
}

// makeSecret makes the secret key of a data folder, unless there is one.
func makeSecret(data string) (made bool, err error) {
	var random [32]byte
	rand.Read(random[:])
	f, err := os.CreateTemp(data, secretFile+".*")
	if err != nil {
		return false, err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(hex.EncodeToString(random[:]) + "\n")
	if err = errors.Join(err, f.Chmod(private.Mode), f.Sync(), f.Close()); err != nil {
		return false, err
	}
	// Unlike a rename, a link does not replace a key that another process has made in the meantime.
	name := filepath.Join(data, secretFile)
	if err = os.Link(f.Name(), name); errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil { // a file system without links
		err = os.Rename(f.Name(), name)
	}
	return err == nil, errors.Join(err, private.SyncFolder(data))
}

// warnWeak warns about a key that can be guessed: with one ticket or one request, anybody can try keys as fast as their computer computes.
func warnWeak(log *slog.Logger, setting, key string) {
	if key != "" && bits(key) < 80 {
		log.Warn("the key is short or regular, and can be guessed; take one such as `openssl rand -hex 32` prints", "setting", setting)
	}
}

// bits estimates how many bits an attacker has to guess who knows how the key is made of bytes: the smaller one of its entropy by bytes, and by steps
// between them; repetitions count once.
func bits(key string) float64 {
	key = key[:min(strings.Index((key + key)[1:], key)+1, len(key))]
	steps := make([]byte, len(key))
	for i := range steps {
		steps[i] = key[i] - key[max(i, 1)-1]
	}
	return min(entropy([]byte(key)), entropy(steps))
}

func entropy(b []byte) (sum float64) {
	var n [256]float64
	for _, c := range b {
		n[c]++
	}
	for _, k := range n {
		if k > 0 {
			sum += k * math.Log2(float64(len(b))/k)
		}
	}
	return sum
}
