package ctest

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/internal/testing/needs"
)

// The library exports exactly the functions of the table, under its own name, and is not larger than 12 MB.
func TestExports(t *testing.T) {
	path := filepath.Join(library(t), "libImSDK.so")
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	syms, err := f.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, s := range syms {
		if s.Section != elf.SHN_UNDEF {
			got = append(got, s.Name)
		}
	}
	funcs, callbacks := prototypes(t)
	for _, f := range funcs {
		want = append(want, f.name)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("exported: %v\nwant: %v", got, want)
	}
	if len(want) != 248 || len(callbacks) != 75 {
		t.Errorf("%d functions and %d callback types", len(want), len(callbacks))
	}
	if names, err := f.DynString(elf.DT_SONAME); err != nil || !slices.Equal(names, []string{"libImSDK.so"}) {
		t.Errorf("soname %v %v", names, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %.2f MB", filepath.Base(path), float64(info.Size())/1e6)
	if info.Size() > 12<<20 {
		t.Errorf("the library has %d bytes, more than 12 MB", info.Size())
	}
}

// The library carries nothing of what it must do without, and the linker has left out what is not called. It keeps every exported method of every type that
// lives once something in the program may look a method up by a name that is not a constant: the decoder of a request, which servers alone call, would be among them.
func TestNothingHeavy(t *testing.T) {
	f, err := elf.Open(filepath.Join(symbols(t), "libImSDK.so"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	syms, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	const im = "github.com/tidings-im/tidings/im."
	encoder := false
	for _, s := range syms {
		for _, heavy := range []string{"net/http.", "google.golang.org/protobuf/reflect/", "google.golang.org/protobuf/internal/impl.", "text/template.", "regexp.",
			im + "(*LoginRequest).UnmarshalVT"} {
			if strings.HasPrefix(s.Name, heavy) {
				t.Fatalf("the library has %s", s.Name)
			}
		}
		encoder = encoder || s.Name == im+"(*LoginRequest).MarshalVT"
	}
	if !encoder {
		t.Error("a login cannot be encoded: the names of the symbols are others")
	}
}

// A binding that resolves every function when it starts, including those that are not built, starts.
func TestBindingResolvesAll(t *testing.T) {
	funcs, _ := prototypes(t)
	var b strings.Builder
	b.WriteString("#include <dlfcn.h>\n#include <stdio.h>\n#include <TIMCloud.h>\n\nint main(void) {\n")
	fmt.Fprintf(&b, "  void* lib = dlopen(%q, RTLD_NOW | RTLD_LOCAL);\n  if (!lib) { puts(dlerror()); return 0; }\n", filepath.Join(library(t), "libImSDK.so"))
	for _, f := range funcs {
		fmt.Fprintf(&b, "  if (!dlsym(lib, %q)) puts(dlerror());\n", f.name)
	}
	b.WriteString("  int (*init)(uint64_t, const char*);\n  *(void**)&init = dlsym(lib, \"TIMInit\");\n  if (init(1400000000, NULL) != 0) puts(\"TIMInit\");\n  return 0;\n}\n")
	if out := run(t, compile(t, "binding", write(t, "binding.c", b.String()), "-Wno-pedantic"), []string{"XDG_DATA_HOME=" + t.TempDir()}); out != "" {
		t.Errorf("%s", out)
	}
}

// The header compiles by itself, in C and C++, with all warnings as errors, in a file that uses nothing of it.
func TestHeaderCompiles(t *testing.T) {
	dir := library(t)
	source := "#include <TIMCloud.h>\nint main(void) { return 0; }\n"
	for _, c := range []struct{ compiler, std, name string }{
		{"gcc", "-std=c11", "alone.c"}, {"gcc", "-std=c17", "alone.c"}, {"g++", "-std=c++17", "alone.cpp"}, {"g++", "-std=c++20", "alone.cpp"},
	} {
		needs.Program(t, c.compiler, c.compiler)
		path := write(t, c.name, source)
		for _, opt := range []string{"-O0", "-O2"} {
			out, err := exec.Command(c.compiler, c.std, opt, "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", "-I"+filepath.Join(dir, "include"), path).CombinedOutput()
			if err != nil {
				t.Errorf("%s %s: %v\n%s", c.compiler, c.std, err, out)
			}
		}
	}
}

// The header agrees with the facts.
func TestFacts(t *testing.T) {
	source := factsSource(t)
	for _, name := range []string{"facts.c", "facts.cpp"} {
		t.Run(name, func(t *testing.T) {
			program := compile(t, strings.ReplaceAll(name, ".", "_"), write(t, name, source), "-Wno-unused-variable")
			if out := run(t, program, nil); out != "" {
				t.Errorf("keys that differ:\n%s", out)
			}
		})
	}
}

// The files of `make build` for pkg-config work.
func TestPkgConfig(t *testing.T) {
	needs.Program(t, "pkg-config", "pkg-config")
	dir := library(t)
	cmd := exec.Command("pkg-config", "--cflags", "--libs", "libImSDK")
	cmd.Env = append(os.Environ(), "PKG_CONFIG_PATH="+filepath.Join(dir, "pkgconfig"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("pkg-config: %v\n%s", err, out)
	}
	source := write(t, "pkg.c", "#include <TIMCloud.h>\n#include <stdio.h>\nint main(void) { puts(TIMGetSDKVersion()); return 0; }\n")
	program := filepath.Join(work, "pkg")
	args := append([]string{"-o", program, source}, strings.Fields(string(out))...)
	if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	if out := run(t, program, []string{"LD_LIBRARY_PATH=" + dir}); strings.Count(out, ".") != 2 {
		t.Errorf("version %q", out)
	}
}

// The files of `make build` for CMake work, whether CMake is given the folder of the library or the one around it, as with /usr/local.
func TestCMake(t *testing.T) {
	cmake := needs.Program(t, "cmake", "cmake")
	around := t.TempDir()
	if out, err := exec.Command("cp", "-r", library(t), filepath.Join(around, "lib")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, prefix := range []string{around, filepath.Join(around, "lib")} {
		project := t.TempDir()
		for name, text := range map[string]string{
			"CMakeLists.txt": "cmake_minimum_required(VERSION 3.13)\nproject(p C)\nfind_package(ImSDK 8.0 REQUIRED)\nadd_executable(p p.c)\ntarget_link_libraries(p ImSDK::ImSDK)\n",
			"p.c":            "#include <TIMCloud.h>\n#include <stdio.h>\nint main(void) { puts(TIMGetSDKVersion()); return 0; }\n",
		} {
			if err := os.WriteFile(filepath.Join(project, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for _, args := range [][]string{{"-S", project, "-B", project + "/b", "-DCMAKE_PREFIX_PATH=" + prefix}, {"--build", project + "/b"}} {
			if out, err := exec.Command(cmake, args...).CombinedOutput(); err != nil {
				t.Fatalf("cmake %v: %v\n%s", args, err, out)
			}
		}
		run(t, project+"/b/p", nil)

		lists := "cmake_minimum_required(VERSION 3.13)\nproject(p C)\nfind_package(ImSDK 99.0 REQUIRED)\n"
		if err := os.WriteFile(filepath.Join(project, "CMakeLists.txt"), []byte(lists), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(cmake, "-S", project, "-B", project+"/b99", "-DCMAKE_PREFIX_PATH="+prefix).CombinedOutput(); err == nil || !strings.Contains(string(out), "99.0") {
			t.Errorf("version 99 was found: %v\n%s", err, out)
		}
	}
}

// The first line of an example's build file builds it, with the library where `make build` puts it.
func TestExampleBuilds(t *testing.T) {
	for _, c := range []struct{ file, program string }{
		{"examples/c/Makefile", "chat"}, {"examples/c/Makefile", "device"}, {"examples/cpp/CMakeLists.txt", "build/chat"},
	} {
		t.Run(c.file+"/"+c.program, func(t *testing.T) {
			if strings.Contains(c.file, "CMake") {
				needs.Program(t, "cmake", "cmake")
				needs.Program(t, "g++", "g++")
			} else {
				needs.Program(t, "pkg-config", "pkg-config")
			}
			repo := t.TempDir()
			folder := filepath.Join(repo, filepath.Dir(c.file))
			if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
				t.Fatal(err)
			}
			for from, to := range map[string]string{filepath.Join(root, filepath.Dir(c.file)): folder, library(t): filepath.Join(repo, "lib")} {
				if out, err := exec.Command("cp", "-r", from, to).CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
			}
			text, err := os.ReadFile(filepath.Join(root, c.file))
			if err != nil {
				t.Fatal(err)
			}
			line, _, _ := strings.Cut(string(text), "\n")
			build := exec.Command("sh", "-ec", strings.TrimPrefix(line, "# "))
			build.Dir = folder
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", line, err, out)
			}
			// It finds the library by itself, and says what arguments it takes.
			out, err := exec.Command(filepath.Join(folder, c.program)).CombinedOutput()
			if err == nil || !strings.Contains(string(out), "usage: ") {
				t.Errorf("%s: %v\n%s", c.program, err, out)
			}
		})
	}
}

// Names of keys that only headers of earlier generations had: programs that use them still compile.
func TestOlderNames(t *testing.T) {
	older := map[string]string{
		"kTIMUserProfileFaceURL":               "kTIMUserProfileFaceUrl",
		"KTIMGroupMemberInfoOnlineDevices":     "kTIMGroupMemberInfoOnlineDevices",
		"KTIMUserStatusOnlineDevices":          "kTIMUserStatusOnlineDevices",
		"kTIMFriendProfileCustemStringInfoKey": "kTIMFriendProfileCustomStringInfoKey",
		"kTIMGroupInfoCustemStringInfoValue":   "kTIMGroupInfoCustomStringInfoValue",
	}
	var b strings.Builder
	b.WriteString("#include <TIMCloud.h>\n#include <stdio.h>\n#include <string.h>\n\nint main(void) {\n")
	for name, newest := range older {
		fmt.Fprintf(&b, "  if (strcmp(%s, %s) != 0) puts(\"%[1]s\");\n", name, newest)
	}
	b.WriteString("  return 0;\n}\n")
	if out := run(t, compile(t, "older", write(t, "older.c", b.String())), nil); out != "" {
		t.Errorf("keys that differ from those of their newest names:\n%s", out)
	}
}
