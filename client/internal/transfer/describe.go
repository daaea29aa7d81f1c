package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/tidings-im/tidings/client/internal/ws"
	"github.com/tidings-im/tidings/im"
)

// Description is what the server knows of a file.
type Description struct {
	Size int64
	// Type is its media type, as the server has it from the content.
	Type string
	// Format is TIM's number of an image's format: 1 JPG, 2 GIF, 3 PNG, 4 BMP, 255 another one; 0 for other kinds.
	Format int `json:"image_format"`
	// Sizes are the original and, of an image, two smaller ones, which are the original if that is small enough or cannot be read.
	Sizes []Size
}

// Size is one size of an image.
type Size struct {
	ID            string // as in Fetch
	Size          int64
	Width, Height int64 // 0: nobody knows
}

// mostDescription limits what is read of a description.
const mostDescription = 16 << 10

// Describe asks what the server knows of a file that is uploaded. The codes are those of Download.
func (t *Transfers) Describe(ctx context.Context, id string) (*Description, error) {
	run, end, err := t.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	h := t.http()
	defer h.Close()
	for r := t.tries(); ; {
		d, err := t.describe(run, &h, id)
		var known *im.Error
		var refused *refusal
		switch {
		case err == nil:
			return d, nil
		case !errors.As(err, &known) && !(errors.As(err, &refused) && !refused.passing()):
			if err = r.again(run, err); err == nil {
				continue
			}
		}
		if errors.As(err, &refused) {
			err = refused.notGot()
		}
		return nil, t.outcome(ctx, err, im.CodeHTTP)
	}
}

func (t *Transfers) describe(ctx context.Context, h *ws.HTTP, id string) (*Description, error) {
	if !isPlain(id) {
		return nil, errNoFile
	}
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Request)
	defer cancel()
	resp, err := t.ask(ctx, h, ws.Request{Method: "GET", URL: t.at(id + "/info")})
	if err != nil {
		return nil, err
	}
	if resp.Answer.Code != 200 {
		drain(resp)
		return nil, refused(resp)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, mostDescription))
	if err != nil {
		return nil, err
	}
	var d struct {
		Description
		Sizes []struct {
			Path string
			Size
		}
	}
	if err := json.Unmarshal(b, &d); err != nil || len(d.Sizes) == 0 {
		return nil, im.Errorf(im.CodeHTTP, "the server describes the file in an unknown way")
	}
	for _, s := range d.Sizes {
		s.Size.ID = id
		if s.Path != "" {
			s.Size.ID += "/" + s.Path
		}
		d.Description.Sizes = append(d.Description.Sizes, s.Size)
	}
	return &d.Description, nil
}
