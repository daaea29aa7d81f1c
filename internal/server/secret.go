package server

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const secretFile = "secret.key"

// Secret reads the secret key of a data folder.
func Secret(data string) (string, error) {
	b, err := os.ReadFile(filepath.Join(data, secretFile))
	if err != nil {
		return "", err
	}
	key := strings.TrimSpace(string(b))
	if key == "" {
		return "", fmt.Errorf("%s is empty", filepath.Join(data, secretFile))
	}
	return key, nil
}

// makeSecret reads the secret key of a data folder, or makes one. The caller holds the folder's lock.
func makeSecret(data string) (key string, made bool, err error) {
	if key, err = Secret(data); !errors.Is(err, os.ErrNotExist) {
		return key, false, err
	}
	var random [32]byte
	rand.Read(random[:])
	key = hex.EncodeToString(random[:])
	f, err := os.CreateTemp(data, secretFile+".*") // readable by the owner alone
	if err != nil {
		return "", false, err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(key + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(data, secretFile))
	}
	return key, true, err
}
