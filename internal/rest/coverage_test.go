package rest

import (
	"os"
	"regexp"
	"testing"

	"github.com/tidings-im/tidings/internal/chat"
)

// TestCoverage compares every line of the page of calls with the server: what is built is not answered as an unknown command, and everything else is.
func TestCoverage(t *testing.T) {
	page, err := os.ReadFile("../../docs/reference/rest.md")
	if err != nil {
		t.Fatal(err)
	}
	n := start(t, chat.Config{})
	rows := regexp.MustCompile(`(?m)^\| \[(\w+/\w+)\]\(.*\) \| .* \| (yes|no) \|$`).FindAllSubmatch(page, -1)
	built := 0
	for _, row := range rows {
		command := string(row[1])
		a := n.post(command, `{}`)
		if (a.ErrorCode != codeNoCommand) != (string(row[2]) == "yes") {
			t.Errorf("%s answers %d (%s), and the page says built: %s", command, a.ErrorCode, a.ErrorInfo, row[2])
		}
		if a.ErrorCode != codeNoCommand {
			built++
		}
	}
	if len(rows) != 157 || built < 7 {
		t.Errorf("the page has %d calls, %d of which are built", len(rows), built)
	}
}
