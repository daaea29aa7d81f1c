package capi

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/tidings-im/tidings/internal/gen/events"
)

const generatedPage = "<!-- " + generated + " -->\n\n"

// groupPage returns the name of the page of a group of functions.
func groupPage(group string) string {
	return strings.ReplaceAll(strings.ReplaceAll(group, "+", "-"), " ", "-") + ".md"
}

// pages writes docs/reference: a page per group, the callback types, the JSON objects, the codes, and what is built.
func pages(t *tables) map[string][]byte {
	files := map[string][]byte{
		"docs/reference/coverage.md":  coverage(t),
		"docs/reference/callbacks.md": callbackPage(t),
		"docs/reference/json.md":      jsonPage(t),
		"docs/reference/enums.md":     enumPage(t),
		"docs/reference/codes.md":     codePage(t),
	}
	var index bytes.Buffer
	index.WriteString(generatedPage + "# The C API\n\n`TIMCloud.h` declares it, `libImSDK.so` implements it. The header has the rules for all functions, [the state table](../c-states.md) their " +
		"results in each state, and [the coverage table](coverage.md) what is built.\n\n")
	var groups []string
	for _, f := range t.funcs {
		if !slices.Contains(groups, f.group) {
			groups = append(groups, f.group)
		}
	}
	for _, g := range groups {
		files["docs/reference/"+groupPage(g)] = functionPage(t, g)
		fmt.Fprintf(&index, "- [%s](%s)\n", title(g), groupPage(g))
	}
	index.WriteString("- [Callback types](callbacks.md)\n- [JSON objects](json.md)\n- [Enums](enums.md)\n- [Codes](codes.md)\n\n" +
		"For operators: [the settings](configuration.md), [the types of groups](group-types.md), [the calls of the admin API](rest.md) and [the webhooks](webhooks.md).\n")
	index.WriteString(limits)
	files["docs/reference/README.md"] = index.Bytes()
	return files
}

const limits = `
## The server's address

The operation ` + "`internal_operation_set_custom_server_info`" + ` of ` + "[callExperimentalAPI](other.md#callexperimentalapi)" + ` sets it; otherwise the environment variable
` + "`TIDINGS_SERVER`" + ` (` + "`ws://host:port` or `wss://host`" + `); otherwise it is ` + "`ws://127.0.0.1:7070`" + `. The address is read when ` + "`TIMLogin`" + ` is called. ` + "`TIDINGS_PLATFORM`" + ` sets
the kind of device: windows, mac, linux, android, ios, pad or web; the default is the system of the build.

## The log

Each line goes to three places, each with its own level: to the file if it is at or above ` + "`set_config_log_level`" + `; to the console (stderr) if
` + "`set_config_is_log_output_console`" + ` is on and the line is at or above the level in the environment variable ` + "`TIDINGS_CONSOLE_LOG`" + ` (off, debug, info, warn, error; by default the file's);
to ` + "[TIMLogCallback](callbacks.md#timlogcallback)" + ` if it is at or above ` + "`set_config_callback_log_level`" + `. All levels start at 4, info. The file is ` + "`imsdk.log`" + ` in the folder
` + "`sdk_config_log_file_path`" + ` of TIMInit; without a folder, or with ` + "`/`" + `, there is none. At 5 MiB it is renamed to ` + "`imsdk.log.1`" + `, the one before to ` + "`imsdk.log.2`" + `, up to 4.

| level | lines |
|---|---|
| 3, debug | each call with its result, one line per call; what the link reports to the application |
| 4, info | TIMInit with version and folders, the server's address, connecting, connected, the login with device and time, start and end of the first sync of a connection with its counts, the end of a connection with its cause, the pause before the next attempt, a kick, an expired ticket, a callback that took over a second, the logout |
| 5, warn | something is not as requested, and the library continues: no log file, a folder that cannot be written, a callback that has been running for over 5 seconds |
| 6, error | internal failures |

No line contains a ticket or anything of a message, and texts that errors quote are left out.

## What a program must know

- The library is a Go runtime in the program's process. There can be only one of those per process, and it cannot be unloaded: no ` + "`dlclose`" + `.
- Signal handlers of the program need ` + "`SA_ONSTACK`" + `. The callback thread inherits the signal mask of the thread that starts it, so that runtimes which suspend threads with a
  signal can suspend it.
- No exception, ` + "`longjmp`" + ` or ` + "`pthread_exit`" + ` may leave a callback.
- A forked child may only ` + "`exec`" + ` or ` + "`_exit`" + `: there, functions return -1 or nothing, and enter no Go.
- Built and tested with glibc; musl is untested.
- The folder in ` + "`sdk_config_config_file_path`" + ` is the device: it contains the device's id and a database per user. The default is the folder ` + "`tidings`" + ` in the user's data home.

## Sanitizers

A program that uses the library can be built with AddressSanitizer, LeakSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer; the library itself is not instrumented. ThreadSanitizer
does not see how Go orders its threads, and reports memory and locks of SQLite that Go passes from thread to thread as races: suppress those with
` + "`capi/ctest/testdata/tsan.supp`" + `, and build the library with its symbols (` + "`make library STRIP=`" + `) so that they can be named. The calls of the library and its callbacks are not
suppressed: they pass a mutex that ThreadSanitizer sees, so that a race in a callback is found and the hand-over to it is not reported. LeakSanitizer cannot see what Go holds; after
` + "`TIMUninit`" + ` nothing of that kind is left.
`

func title(group string) string {
	return strings.ToUpper(group[:1]) + strings.ReplaceAll(group[1:], "+", " and ")
}

// firstGeneration is the generation with which the library began; functions of a later one are marked.
const firstGeneration = "2021"

// added returns the generation of a function that the first one does not have.
func added(f *function) string {
	if f.since == firstGeneration {
		return ""
	}
	return " Since " + f.since + "."
}

func coverage(t *tables) []byte {
	var b bytes.Buffer
	b.WriteString(generatedPage + "# What is built\n\n")
	done, later := 0, 0
	for _, f := range t.funcs {
		if f.built {
			done++
		}
		if f.since != firstGeneration {
			later++
		}
	}
	fmt.Fprintf(&b, "%d of the %d functions are built; %d are from the generation of %s, %d from later ones. The others check their parameters and the state as they will when they are built, and then return 7013 with the text "+
		"\"not implemented\" through their callback; setters keep their callback, and nothing calls it; a function without a callback returns -4 once a user is logged "+
		"in; a callback without a code gets an empty page. A test compares every line of this page with the library.\n\n", done, len(t.funcs), len(t.funcs)-later, firstGeneration, later)
	b.WriteString("| function | group | since | built |\n|---|---|---|---|\n")
	for _, f := range t.funcs {
		fmt.Fprintf(&b, "| [%s](%s#%s) | %s | %s | %s |\n", f.name, groupPage(f.group), strings.ToLower(f.name), f.group, f.since, yes(f.built))
	}
	b.WriteString("\n| callback type | since | fires |\n|---|---|---|\n")
	for _, f := range t.callbacks {
		fmt.Fprintf(&b, "| [%s](callbacks.md#%s) | %s | %s |\n", f.name, strings.ToLower(f.name), f.since, yes(f.built))
	}
	b.WriteString("\nOf the message elements, text, custom, face, location and merged messages are built. A message with an image, a sound, a file or a video is not sent: its " +
		"callback gets 7013 \"not implemented\" and the message with status 3. The operations of `callExperimentalAPI` that are built are listed [there](other.md#callexperimentalapi).\n")
	return b.Bytes()
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func functionPage(t *tables, group string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s# %s\n", generatedPage, title(group))
	for _, f := range t.funcs {
		if f.group != group {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n```c\n%s %s(%s);\n```\n\n%s%s\n", f.name, f.ret, f.name, f.prototype(), text(f.row["summary"]), added(f)+notBuilt(f))
		if v := f.row["takes"]; v != "" && v != "-" {
			fmt.Fprintf(&b, "\nJSON parameter: %s.", link(t, v))
		}
		if v := f.row["sample"]; v != "" {
			fmt.Fprintf(&b, " For example:\n\n```json\n%s\n```\n", v)
		} else if f.row["takes"] != "" && f.row["takes"] != "-" {
			b.WriteString("\n")
		}
		if v := f.row["gives"]; v != "" && v != "-" {
			fmt.Fprintf(&b, "\nJSON result: %s.\n", link(t, v))
		}
		b.WriteString(enumsOf(t, f))
		if s := resultCodes(t, f); s != "" {
			b.WriteString("\n" + s + "\n")
		}
		if f.name == "callExperimentalAPI" {
			operationTable(&b, t)
		}
	}
	return b.Bytes()
}

// operationTable lists the operations of callExperimentalAPI.
func operationTable(b *bytes.Buffer, t *tables) {
	b.WriteString("\nAn operation that *acts* has the described effect. One that is *accepted* returns 0 and changes nothing, which is all that programs need. One that is *not built* " +
		"returns 7013 through the callback. Any other name returns -3.\n\n| operation | result | meaning |\n|---|---|---|\n")
	for _, r := range t.operations {
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", r["operation"], r["answer"], cell(r["meaning"]))
	}
}

// resultCodes describes the results of a function, and the codes of its callback.
func resultCodes(t *tables, f *function) string {
	if f.class == "setter" || f.ret != "int" {
		return ""
	}
	var now []string
	c, err := f.check()
	if err != nil {
		return err.Error()
	}
	bad := ""
	if c.kind != "" && c.code != "0" {
		want := map[string]string{"object": "a JSON object", "array": "a JSON array", "strings": "a JSON array of strings", "conv": "`c2c_` or `group_` with an id, or one of the words c2c and group"}[c.kind]
		if c.nonEmpty {
			want += " that is not empty"
		}
		if len(c.keys) > 0 {
			want += " with `" + strings.Join(c.keys, "` and `") + "`"
		}
		bad = fmt.Sprintf("%s when %s is not %s", c.code, c.param, want)
	}
	texts, taken := "", ""
	for _, p := range f.params {
		if p.kind == 'o' && f.class == "sync" {
			texts = "-4 when " + p.name + " is NULL"
		}
		if p.kind != 's' {
			continue
		}
		m, err := f.missing(p.name)
		if err != nil {
			return err.Error()
		}
		texts = "-4 when a text is NULL, empty or longer than 16 MiB"
		switch {
		case m.null:
			taken += ", " + p.name + " may be NULL or empty"
		case m.empty:
			taken += ", " + p.name + " may be empty"
			if m.code != "-4" {
				taken += ", " + m.code + " when it is NULL"
			}
		case m.code != "-4":
			taken += ", " + m.code + " for " + p.name
		}
	}
	if taken != "" {
		texts += " (except: " + taken[2:] + ")"
	}
	if texts != "" {
		now = append(now, texts)
	}
	if bad != "" {
		now = append(now, bad)
	}
	out := "Returns 0"
	if len(now) > 0 {
		out += ", or " + strings.Join(now, ", ")
	}
	out += "; -1 in a forked child."
	var codes []string
	switch {
	case f.paged(): // its callback has no code
	case f.class == "online", f.class == "local":
		codes = append(codes, "6013 before TIMInit", "6014 without a login", "7009 when TIMUninit ends the call", "9507 with 1000 calls open")
	}
	if c.kind != "" && c.code == "0" {
		codes = append(codes, fmt.Sprintf("6027 when %s cannot be read", c.param))
	}
	for code := range strings.FieldsSeq(f.row["codes"]) {
		for _, r := range t.codes {
			if r["code"] == code {
				codes = append(codes, code+" "+r["meaning"])
			}
		}
	}
	if !f.built && f.class != "sync" && !f.paged() {
		codes = append(codes, "7013 not implemented")
	}
	if len(codes) > 0 {
		out += " Codes of the callback: " + strings.Join(codes, "; ") + "."
	}
	return out
}

// text keeps placeholders in angle brackets from being taken for HTML.
func text(s string) string { return strings.NewReplacer("<", "\\<", "@T", "\\@T").Replace(s) }

var word = regexp.MustCompile(`\w+`)

// link turns the names of JSON objects, enums, functions and callback types into links to their descriptions. TIM has two spellings for some,
// SdKConfig and SdkConfig.
func link(t *tables, s string) string {
	page := map[string]string{}
	for _, r := range t.keys {
		page[strings.ToLower(r["struct"])] = "json.md"
	}
	for _, r := range t.enums {
		page[strings.ToLower(r["enum"])] = "enums.md"
	}
	for _, f := range t.funcs {
		page[strings.ToLower(f.name)] = groupPage(f.group)
	}
	for _, f := range t.callbacks {
		page[strings.ToLower(f.name)] = "callbacks.md"
	}
	return word.ReplaceAllStringFunc(text(s), func(w string) string {
		low := strings.ToLower(w)
		if p := page[low]; p != "" && w[0] >= 'A' && w[0] <= 'Z' {
			return "[" + w + "](" + p + "#" + low + ")"
		}
		return w
	})
}

// enumsOf names the enums in a prototype, with links to their values.
func enumsOf(t *tables, f *function) string {
	var names []string
	for _, typ := range append([]string{f.ret}, func() (types []string) {
		for _, p := range f.params {
			types = append(types, p.typ)
		}
		return types
	}()...) {
		if name, ok := strings.CutPrefix(typ, "enum "); ok {
			names = append(names, link(t, name))
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "\nThe values of " + strings.Join(names, ", ") + ".\n"
}

func enumPage(t *tables) []byte {
	var b bytes.Buffer
	b.WriteString(generatedPage + "# Enums\n\nIn JSON they are numbers.\n")
	for _, name := range groupNames(t.enums, "enum") {
		fmt.Fprintf(&b, "\n## %s\n\n| value | constant | meaning |\n|---|---|---|\n", name)
		for _, r := range t.enums {
			if r["enum"] == name {
				fmt.Fprintf(&b, "| %s | %s | %s |\n", r["value"], r["constant"], cell(r["meaning"]))
			}
		}
	}
	return b.Bytes()
}

func callbackPage(t *tables) []byte {
	var b bytes.Buffer
	b.WriteString(generatedPage + "# Callback types\n")
	for _, f := range t.callbacks {
		fmt.Fprintf(&b, "\n## %s\n\n```text\ntypedef void (*%s)(%s);\n```\n\n%s", f.name, f.name, f.prototype(), text(f.row["summary"]))
		if !f.built {
			b.WriteString(" Never fires yet.")
		}
		b.WriteString(added(&f.function) + "\n")
		if f.Name != "" {
			fmt.Fprintf(&b, "\nIn Go it is `client.Events.%s`, in `tidings listen` `%s`. %s\n", f.Name, f.Word, repeats[f.Kind])
		}
		if v := f.row["setter"]; v != "" {
			fmt.Fprintf(&b, "\nSet by: %s.\n", link(t, strings.Join(strings.Fields(v), ", ")))
		}
		if v := f.row["gives"]; v != "" && v != "-" {
			fmt.Fprintf(&b, "\nPasses: %s.\n", link(t, v))
		}
		b.WriteString(enumsOf(t, &f.function))
	}
	return b.Bytes()
}

// repeats describes which parts of an event may be repeated, according to rule 17.
var repeats = map[events.Kind]string{
	events.Live:  "It never fires twice, and never later.",
	events.State: "It reports the difference to what was last reported: if it is not certain that something was reported, it is reported again with its present value.",
	events.Owed:  "It is kept until it has fired: after a crash it may fire a second time.",
}

// reached returns the JSON objects that built functions and callbacks take or return, and the elements that are built. A key that is not built does
// not count, unless its value is kept.
func (t *tables) reached() map[string]bool {
	out := map[string]bool{}
	var visit func(text string)
	known, lacks := map[string]string{}, t.reasons()
	for _, r := range t.keys {
		known[strings.ToLower(r["struct"])] = r["struct"]
	}
	visit = func(text string) {
		for _, w := range word.FindAllString(text, -1) {
			name := known[strings.ToLower(w)] // TIM has two spellings for SdkConfig
			if name == "" || out[name] {
				continue
			}
			out[name] = true
			for _, r := range t.keys {
				reason := lacks[r["key"]]
				if r["struct"] == name && (reason == "" || strings.HasPrefix(reason, "Kept")) {
					visit(r["type"])
				}
			}
		}
	}
	for _, f := range t.funcs {
		if f.built {
			visit(f.row["takes"] + " " + f.row["gives"])
		}
	}
	for _, f := range t.callbacks {
		if f.built {
			visit(f.row["gives"])
		}
	}
	visit("ElemType TextElem CustomElem FaceElem LocationElem MergerElem GroupTipsElem GroupReportElem ImageElem SoundElem FileElem VideoElem")
	return out
}

// reasons returns why keys are not built.
func (t *tables) reasons() map[string]string {
	out := map[string]string{}
	for _, r := range t.lacks {
		out[r["key"]] = r["reason"]
	}
	for _, r := range t.operations {
		switch r["answer"] {
		case "not built":
			out[r["operation"]] = "It returns 7013"
		case "accepted":
			out[r["operation"]] = "It returns 0. " + r["meaning"]
		}
	}
	return out
}

func jsonPage(t *tables) []byte {
	var b bytes.Buffer
	b.WriteString(generatedPage + "# JSON objects\n\n\"write\" marks what a program passes, \"read\" what it gets. Older spellings of a key are read, too, and written beside the new one. " +
		"An object that no built function or callback uses is marked as not built; so is a key that is not built while its object is, with the reason. All others are supported.\n")
	reached, lacks := t.reached(), t.reasons()
	for _, name := range groupNames(t.keys, "struct") {
		fmt.Fprintf(&b, "\n## %s\n\n", name)
		if !reached[name] {
			b.WriteString("Not built.\n\n")
		}
		b.WriteString("| key | constant | type | direction | meaning |\n|---|---|---|---|---|\n")
		for _, r := range t.keys {
			if r["struct"] != name {
				continue
			}
			meaning := cell(r["meaning"])
			if reason := lacks[r["key"]]; reason != "" {
				meaning += ". **Not built:** " + cell(reason)
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", r["key"], r["constant"], strings.ReplaceAll(link(t, r["type"]), "|", "\\|"), r["direction"], meaning)
		}
	}
	return b.Bytes()
}

func cell(s string) string { return strings.ReplaceAll(text(s), "|", "\\|") }

func codePage(t *tables) []byte {
	var b bytes.Buffer
	b.WriteString(generatedPage + "# Codes\n\n| code | constant | meaning |\n|---|---|---|\n")
	for _, r := range t.codes {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", r["code"], r["constant"], cell(r["meaning"]))
	}
	return b.Bytes()
}
