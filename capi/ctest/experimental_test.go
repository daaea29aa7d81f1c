package ctest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every operation of callExperimentalAPI does what the reference says, also before TIMInit and without a callback. The ones that bindings call on
// every start return 0.
func TestOperations(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs/reference/other.md"))
	if err != nil {
		t.Fatal(err)
	}
	extra := map[string]string{ // parameters without which an operation makes no sense
		"set_custom_server_info": `,"request_set_custom_server_info_param":{"longconnection_address_array":[{"server_address_ip":"127.0.0.1","server_address_port":1}]}`,
		"set_env":                `,"request_set_env_param":true`,
		"set_ui_platform":        `,"request_set_ui_platform_param":23`,
		"set_max_retry_count":    `,"request_set_max_retry_count_param":3`,
		"write_log":              `,"request_write_log_log_level_param":4,"request_write_log_log_content_param":"hello"`,
	}
	gives := map[string]string{"set_env": `,"response_set_env_res":true`}
	starts := map[string]bool{"set_ui_platform": false, "write_log": false, "set_max_retry_count": false, "set_env": false}
	d := start(t)
	rows := table(t, "capi/facts/operations.tsv")
	if len(rows) != 36+1 { // those of 8.6, and an older name
		t.Errorf("%d operations", len(rows))
	}
	for _, r := range rows {
		name := r["operation"]
		short := strings.TrimPrefix(name, "internal_operation_")
		if !strings.Contains(string(page), fmt.Sprintf("| `%s` | %s | %s |", name, r["answer"], r["meaning"])) {
			t.Errorf("the reference has no row for %s", name)
		}
		json := fmt.Sprintf(`{"request_internal_operation":%q%s}`, name, extra[short])
		if result, _ := d.call("callExperimentalAPI", json, false); result != 0 {
			t.Errorf("%s without a callback answers %d", name, result)
		}
		a := d.ask("callExperimentalAPI", json, on)
		want := answer{0, "", fmt.Sprintf(`{"response_internal_operation":%q%s}`, name, gives[short])}
		if r["answer"] == "not built" {
			want.code, want.desc = 7013, name+": not implemented"
		}
		if a != want {
			t.Errorf("%s answers %+v, want %+v", name, a, want)
		}
		if _, ok := starts[short]; ok {
			starts[short] = a.code == 0
		}
	}
	for short, ok := range starts {
		if !ok {
			t.Errorf("%s does not answer 0", short)
		}
	}
	for _, json := range []string{`{"request_internal_operation":"x"}`, `{"request_internal_operation":"internal_operation_x"}`, `{"request_internal_operation":""}`,
		`{"request_internal_operation":"internal_operation_set_env","request_set_env_param":7.5}`} {
		if result, _ := d.call("callExperimentalAPI", json, on); result != -3 {
			t.Errorf("%s answers %d, want -3", json, result)
		}
	}
	d.quit()
}

// write_log writes a line of the program to the library's log, at its level.
func TestWriteLog(t *testing.T) {
	d := start(t)
	d.call("TIMSetLogCallback", on)
	for level, want := range map[int]int{4: 4, 5: 5, 6: 6, 7: 6} {
		text := fmt.Sprintf("main.cs:%d Start line of level %d", 10+level, level)
		result, _ := d.call("callExperimentalAPI", fmt.Sprintf(`{"request_internal_operation":"internal_operation_write_log","request_write_log_log_level_param":%d,`+
			`"request_write_log_log_content_param":"line of level %[1]d","request_write_log_file_name_param":"main.cs","request_write_log_func_name_param":"Start",`+
			`"request_write_log_line_number_param":%[2]d}`, level, 10+level), false)
		if result != 0 {
			t.Errorf("answers %d", result)
		}
		l := d.wait(0, "the line of the program", func(l line) bool { return l.kind == "TIMLogCallback" && l.fields[1] == text })
		if l.num(0) != want {
			t.Errorf("%q comes at level %d, want %d", text, l.num(0), want)
		}
	}
	// In C a text ends at a zero byte. It is still a text: programs do not expect NULL.
	if result, _ := d.call("callExperimentalAPI", `{"request_internal_operation":"internal_operation_write_log","request_write_log_log_level_param":6,"request_write_log_log_content_param":"\u0000"}`, false); result != 0 {
		t.Errorf("a line of one zero byte answers %d", result)
	}
	d.flushLog()
	if lines := d.logged(6); !slices.Contains(lines, "") || slices.Contains(lines, "(null)") {
		t.Errorf("a line of one zero byte comes as %q", lines)
	}
	d.quit()
}
