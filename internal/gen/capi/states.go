package capi

import (
	"bytes"
	"fmt"
	"strings"
)

// States are the states of a program, as the state table names them.
var states = []string{"uninit", "inited", "logging in", "in", "logging out"}

// special are the functions whose results do not follow from their class.
var special = map[string][5]string{
	"TIMLogin":                 {"0, 6013", "0, 0", "0, 7501", "0, 0", "0, 7502"},
	"TIMLogout":                {"0, 6013", "0, 6014", "0, 0", "0, 0", "0, 7502"},
	"TIMGetSDKVersion":         {"version", "version", "version", "version", "version"},
	"TIMGetServerTime":         {"time", "time", "time", "time", "time"},
	"TIMMsgCancelSend":         {"0, 6013", "0, 6014", "0, 6014", "0, 8020", "0, 6014"},
	"TIMMsgDownloadElemToPath": {"0, 6013", "0, 6014", "0, 6014", "0, 6009", "0, 6014"},
	"TIMGroupJoin":             {"0, 6013", "0, 6014", "0, 6014", "0, 10013", "0, 6014"},
	"TIMGroupQuit":             {"0, 6013", "0, 6014", "0, 6014", "0, 10009", "0, 6014"},
	"TIMGroupHandlePendency":   {"0, 6013", "0, 6014", "0, 6014", "0, 10004", "0, 6014"},
	"TIMGetLoginStatus":        {"3", "3", "2", "1", "4"},
}

// answers returns the results of a function in each state for correct parameters: its result and, after a comma, the code of its callback.
func answers(f *function) [5]string {
	if s, ok := special[f.name]; ok {
		return s
	}
	in := "0, 0"
	if !f.built {
		in = "0, 7013"
	}
	if f.paged() && !f.built {
		return [5]string{"0, []", "0, []", "0, []", "0, []", "0, []"}
	}
	switch f.class {
	case "setter":
		return [5]string{"-", "-", "-", "-", "-"}
	case "sync":
		if !f.built {
			return [5]string{"0", "0", "0", "-4", "0"}
		}
		return [5]string{"0", "0", "0", "0", "0"}
	case "any":
		return [5]string{in, in, in, in, in}
	case "local":
		if f.built {
			return [5]string{"0, 6013", "0, 6014", in, in, in}
		}
	}
	return [5]string{"0, 6013", "0, 6014", "0, 6014", in, "0, 6014"}
}

func statePage(t *tables) []byte {
	var b bytes.Buffer
	b.WriteString(generatedPage + "# States and results of the C library\n\n" +
		"The results of each function in each state with correct parameters: its result and, after a comma, the code of its callback. Wrong parameters are reported first, " +
		"in every state (see the reference pages). A test checks this table with the library.\n\n" +
		"- **uninit**: before `TIMInit` and after `TIMUninit`. **inited**: after `TIMInit`. **logging in**: after `TIMLogin`, before its callback. **in**: after that callback " +
		"with code 0. **logging out**: after `TIMLogout`, before its callback.\n" +
		"- `TIMLogin` in state *in* is for the same user; for another one it fails with 6017: log out first.\n" +
		"- `TIMLogout` while logging in ends that login, which fails with 7009.\n" +
		"- `TIMMsgCancelSend` names a message that was sent.\n" +
		"- `TIMMsgDownloadElemToPath` names a file that does not exist.\n" +
		"- The functions about groups name a group of type Public that the caller owns: `TIMGroupJoin` is for those who are no members, `TIMGroupQuit` for those who are not its owner. " +
		"`TIMGroupHandlePendency` names a request that does not exist.\n" +
		"- `[]` instead of a code is an empty page, for a callback that has no code.\n" +
		"- After a kick or an expired ticket the state is *inited*.\n" +
		"- `TIMUninit` leads to *uninit* from everywhere. Open calls are answered with 7009. Inside a callback it returns at once and they are answered when that " +
		"callback has returned; on other threads it waits for the running callback, 5 seconds at most: calls that could not be answered by then are never answered. Nothing starts after it has returned.\n" +
		"- The text of a callback with code 0 is empty. That is what the reference library was observed to return (`TIMSetConfig`, `TIMConvCreate`); the first callback of " +
		"`TIMMsgSendNewMsgEx` has `ok` in both. No other text of a successful call is known: programs should check the code.\n" +
		"- A function that returns 0 has filled the buffer that it was given, perhaps with an empty text; one that returns less leaves it as it was. A text that a callback gets is " +
		"never NULL, except the JSON of `TIMGetSignalingInfo` for a message that is no signaling.\n" +
		"- In a forked child functions that return int return -1, the others 0, nothing, the version, and 3 (`TIMGetLoginStatus`).\n\n")
	fmt.Fprintf(&b, "| function | %s |\n|---|---|---|---|---|---|\n", strings.Join(states, " | "))
	for _, f := range t.funcs {
		fmt.Fprintf(&b, "| %s |", f.name)
		for _, s := range answers(f) {
			b.WriteString(" " + s + " |")
		}
		b.WriteString("\n")
	}
	return b.Bytes()
}
