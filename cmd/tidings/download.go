package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

func init() { commands = append(commands, downloadCommand) }

func downloadCommand() *cobra.Command {
	l := login{folder: "cli-send", platform: "web"}
	var id, url string
	c := &cobra.Command{
		Use:   "download --user USER {--id ID | --url URL} PATH",
		Short: "Download a file of a message",
		Long: "Download a file of a message to a path. The id and the URL are in the message, such as file_elem_file_id and file_elem_url. A file at the path is replaced when " +
			"all of the new one is there. On a terminal, how much has arrived is shown.\n\n" + loginHelp,
		Example: "  tidings download --user bob --id NjTnHwkYm1CAgSYx3fVnbBBFDkTRZxRv report.pdf",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := settings(c.Flags(), ""); err != nil {
				return err
			}
			if id == "" && url == "" {
				return errors.New("download: give --id or --url")
			}
			cl, err := l.dial(c.Context(), client.Events{})
			if err != nil {
				return err
			}
			defer leave(cl)
			return cl.DownloadElem(c.Context(), &im.DownloadElemParam{Id: id, Url: url}, args[0], newBar(c.ErrOrStderr()).show)
		},
	}
	l.flags(c)
	c.Flags().StringVar(&id, "id", "", "the file's id in the message")
	c.Flags().StringVar(&url, "url", "", "the file's URL in the message")
	return c
}

// fileMessage returns a message with a file: as an image if its content is one.
func fileMessage(path string) (*im.Message, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, 512)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	switch http.DetectContentType(head[:n]) {
	case "image/jpeg", "image/png", "image/gif", "image/bmp":
		return &im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_IMAGE, Body: &im.Elem_Image{Image: &im.ImageElem{OrigPath: path}}}}}, nil
	}
	return &im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_FILE, Body: &im.Elem_File{File: &im.FileElem{FilePath: path, FileName: filepath.Base(path)}}}}}, nil
}

// bar shows on a terminal how much of a file has been transferred.
type bar struct{ out io.Writer }

// newBar returns a bar on w, or one that shows nothing if w is not a terminal.
func newBar(w io.Writer) *bar {
	if f, ok := w.(*os.File); ok {
		if fi, err := f.Stat(); err == nil && fi.Mode()&os.ModeCharDevice != 0 {
			return &bar{w}
		}
	}
	return &bar{io.Discard}
}

const barWidth = 40

func (b *bar) show(now, total int64) {
	if total <= 0 {
		return
	}
	full := int(now * barWidth / total)
	fmt.Fprintf(b.out, "\r[%s%s] %3d %%", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), now*100/total)
	if now == total {
		fmt.Fprintln(b.out)
	}
}
