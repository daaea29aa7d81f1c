package chat_test

import (
	"os"
	"testing"

	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
