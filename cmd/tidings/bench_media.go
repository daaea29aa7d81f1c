package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
)

// mediaResult is the line that a run prints.
type mediaResult struct {
	Bench string `json:"bench"`
	// Size is that of a file; Uploads and Images are how many are under way at a time. Images have so many million pixels, and Bytes.
	Size       int     `json:"size"`
	Uploads    int     `json:"uploads"`
	Images     int     `json:"images"`
	Megapixels float64 `json:"megapixels"`
	Line       float64 `json:"line_mb_per_s"`
	ImageBytes int     `json:"image_bytes"`
	// Megabytes per second that the server has taken and given, and images per second of which it has made the smaller sizes. Files are whole uploads.
	Up         float64 `json:"up_mb_per_s"`
	Files      int     `json:"files"`
	Down       float64 `json:"down_mb_per_s"`
	ImagesPerS float64 `json:"images_per_s"`
	// What messages between two people take before, and during each of these, and that divided by the first.
	C2CRate   float64 `json:"c2c_rate"`
	C2CAlone  float64 `json:"c2c_p99_ms_alone"`
	C2CUp     float64 `json:"c2c_p99_ms_up"`
	C2CDown   float64 `json:"c2c_p99_ms_down"`
	C2CImages float64 `json:"c2c_p99_ms_images"`
	UpRatio   float64 `json:"c2c_p99_ratio_up"`
	// The server's memory before, and how much more it was at most.
	RSS         float64 `json:"rss_mb"`
	RSSUp       float64 `json:"rss_mb_more_up"`
	RSSDown     float64 `json:"rss_mb_more_down"`
	RSSImages   float64 `json:"rss_mb_more_images"`
	StartMillis float64 `json:"start_ms"`
}

// mediaLoad is the load of a run.
type mediaLoad struct {
	size, uploads, images int
	megapixels, line      float64
	group                 groupLoad // of which it has the pairs
}

func benchMedia() *cobra.Command {
	var o benchOptions
	var load mediaLoad
	c := &cobra.Command{
		Use: "media", Short: "Files that users upload and download, and what they cost others", Args: cobra.NoArgs,
		Long: "Let users upload files, then download them, and then upload images, each as fast as the server takes them. Pairs of other users write to each other at a fixed rate, first " +
			"while nothing else happens and then during each of these. How long a message takes is counted from when it was due.",
		RunE: func(c *cobra.Command, _ []string) error {
			if load.size < mediaMark || load.size > 100<<20 || load.uploads < 1 || load.uploads > 200 || load.images < 0 || load.images > 200 || load.megapixels <= 0 || load.megapixels > 40 || load.line < 0 ||
				load.group.pairs < 1 || load.group.others <= 0 || o.size < minText || o.seconds <= 0 {
				return fmt.Errorf("bench media: a file has %d bytes to 100 MB, uploads and images are at most 200, an image has at most 40 million pixels, text at least %d bytes, and all numbers are positive",
					mediaMark, minText)
			}
			r, err := runMedia(c.Context(), &o, &load)
			if err != nil {
				return err
			}
			printMedia(c.OutOrStdout(), r, o.json)
			return nil
		},
	}
	f := c.Flags()
	f.IntVar(&load.size, "file-size", 8<<20, "bytes of a file")
	f.IntVar(&load.uploads, "uploads", 8, "files that are uploaded, and then downloaded, at a time, each by another user")
	f.IntVar(&load.images, "images", 4, "images that are uploaded at a time; 0: none")
	f.Float64Var(&load.megapixels, "megapixels", 12, "million pixels of an image")
	f.Float64Var(&load.line, "line", 0, "MB/s of all transfers together, as those of a line to the server; 0: as many as the machine can")
	f.IntVar(&load.group.pairs, "pairs", 10, "pairs of other users who write to each other")
	f.Float64Var(&load.group.others, "c2c-rate", 200, "messages per second of all pairs together")
	f.IntVar(&o.size, "size", 100, "bytes of text of a message")
	f.Float64Var(&o.seconds, "seconds", 5, "how long to measure each, after a warm-up of a second")
	jsonFlag(c, &o.json)
	dirFlag(c, &o.dir)
	return c
}

func printMedia(w io.Writer, r *mediaResult, asJSON bool) {
	if asJSON {
		printJSON(w, r)
		return
	}
	fmt.Fprintf(w, "%s   %d files of %.1f MB: up %.0f MB/s, down %.0f MB/s   %d images of %.0f megapixels: %.1f per s   others p99 %.1f ms alone, %.1f (%.2f of it) up, %.1f down, %.1f images   "+
		"%.0f MB, and at most %.0f more up, %.0f down, %.0f images\n", r.Bench, r.Uploads, mb(int64(r.Size)), r.Up, r.Down, r.Images, r.Megapixels, r.ImagesPerS,
		r.C2CAlone, r.C2CUp, r.UpRatio, r.C2CDown, r.C2CImages, r.RSS, r.RSSUp, r.RSSDown, r.RSSImages)
}

// mediaMark are the first bytes of a file, which no other has.
const mediaMark = 16

// mediaUser is a user who uploads.
type mediaUser struct {
	base, read, token string
	path              string // of a whole upload
}

type mediaBench struct {
	o     *benchOptions
	load  *mediaLoad
	child *child
	users []*mediaUser
	block []byte
	files atomic.Int64
	begin time.Time    // of a phase
	moved atomic.Int64 // bytes up or down in it
	most  atomic.Int64 // memory of the server
}

func runMedia(ctx context.Context, o *benchOptions, load *mediaLoad) (*mediaResult, error) {
	args := serveArgs(o)
	ch, err := startChild(ctx, o, func(addr, dir string) []string { return append(args(addr, dir), "--media-reserve", "0") })
	if err != nil {
		return nil, err
	}
	defer ch.stop()
	b := &mediaBench{o: o, load: load, child: ch, block: make([]byte, 1<<20)}
	rand.NewChaCha8([32]byte{}).Read(b.block)
	for i := range max(load.uploads, load.images) {
		l, reply, err := dialAgain(ch.addr, fmt.Sprintf("m%04d", i), false, nil)
		if err != nil {
			return nil, err
		}
		l.Close()
		b.users = append(b.users, &mediaUser{base: "http://" + ch.addr, read: reply.MediaToken, token: reply.UploadToken})
	}
	picture, err := photo(load.megapixels)
	if err != nil {
		return nil, err
	}
	r := &mediaResult{
		Bench: "media", Size: load.size, Uploads: load.uploads, Images: load.images, Megapixels: load.megapixels, Line: load.line, ImageBytes: len(picture),
		C2CRate: load.group.others, StartMillis: round(float64(ch.took.Microseconds())/1000, 1),
	}
	alone, err := others(ctx, ch, o, &load.group)
	if err != nil {
		return nil, err
	}
	r.C2CAlone, r.RSS = alone.P99, round(ch.rss(), 1)
	up, err := b.phase(ctx, load.uploads, b.upload)
	if err != nil {
		return nil, err
	}
	r.Up, r.Files, r.C2CUp, r.RSSUp = up.rate, int(b.files.Load()), up.p99, round(up.rss-r.RSS, 1)
	if alone.P99 > 0 {
		r.UpRatio = round(up.p99/alone.P99, 2)
	}
	down, err := b.phase(ctx, load.uploads, b.download)
	if err != nil {
		return nil, err
	}
	r.Down, r.C2CDown, r.RSSDown = down.rate, down.p99, round(max(down.rss-r.RSS, 0), 1)
	if load.images == 0 {
		return r, nil
	}
	before := b.files.Load()
	images, err := b.phase(ctx, load.images, func(ctx context.Context, u *mediaUser) error {
		_, err := b.put(ctx, u, "image", len(picture), bytes.NewReader(picture))
		return err
	})
	if err != nil {
		return nil, err
	}
	r.ImagesPerS, r.C2CImages, r.RSSImages = round(float64(b.files.Load()-before)/images.took.Seconds(), 2), images.p99, round(max(images.rss-r.RSS, 0), 1)
	return r, nil
}

// measured is what a phase gives.
type measured struct {
	rate, p99, rss float64
	took           time.Duration
}

// phase lets users do something again and again while pairs of others write to each other, and everybody once before it ends.
func (b *mediaBench) phase(ctx context.Context, n int, do func(context.Context, *mediaUser) error) (m measured, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var stop atomic.Bool
	var wg sync.WaitGroup
	b.moved.Store(0)
	b.most.Store(0)
	b.begin = time.Now()
	for _, u := range b.users[:n] {
		wg.Go(func() {
			for first := true; first || !stop.Load(); first = false {
				if err := do(ctx, u); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	watched := make(chan struct{})
	wg.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-watched:
				return
			case <-tick.C:
				b.most.Store(max(b.most.Load(), b.child.rssBytes()))
			}
		}
	})
	r, err := others(ctx, b.child, b.o, &b.load.group)
	stop.Store(true)
	close(watched)
	wg.Wait()
	m.took = time.Since(b.begin)
	if cause := context.Cause(ctx); cause != nil {
		return m, cause
	}
	if err != nil {
		return m, err
	}
	m.rate, m.p99, m.rss = round(mb(b.moved.Load())/m.took.Seconds(), 1), r.P99, mb(b.most.Load())
	return m, nil
}

// ask makes a request to /media/.
func (b *mediaBench) ask(ctx context.Context, method, url, token string, size int, body io.Reader, headers ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = int64(size)
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Tus-Resumable", "1.0.0")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err == nil && resp.StatusCode >= http.StatusBadRequest {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		resp.Body.Close()
		if resp.StatusCode == http.StatusTooManyRequests {
			return nil, errTooFast
		}
		return nil, fmt.Errorf("bench media: %s: %s %s", method, resp.Status, text)
	}
	return resp, err
}

var errTooFast = errors.New("bench media: users create uploads faster than they may")

// put uploads a file, in one part, and returns its path.
func (b *mediaBench) put(ctx context.Context, u *mediaUser, kind string, size int, from io.Reader) (string, error) {
	var resp *http.Response
	err := errTooFast
	for errors.Is(err, errTooFast) { // small files: a user creates at most ten per second
		resp, err = b.ask(ctx, http.MethodPost, u.base+"/media/upload/", u.token, 0, nil, "Upload-Length", fmt.Sprint(size), "Upload-Metadata", "kind "+base64.StdEncoding.EncodeToString([]byte(kind)))
		if errors.Is(err, errTooFast) {
			time.Sleep(10 * time.Millisecond)
		}
	}
	if err != nil {
		return "", err
	}
	resp.Body.Close()
	path := resp.Header.Get("Location")
	resp, err = b.ask(ctx, http.MethodPatch, u.base+path, u.token, size, &counted{from, b}, "Upload-Offset", "0", "Content-Type", "application/offset+octet-stream")
	if err != nil {
		return "", err
	}
	resp.Body.Close()
	b.files.Add(1)
	return strings.Replace(path, "/upload/", "/", 1), nil
}

// counted counts what is read, at the pace of the line.
type counted struct {
	from  io.Reader
	bench *mediaBench
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	all := c.bench.moved.Add(int64(n))
	if line := c.bench.load.line; line > 0 {
		time.Sleep(time.Until(c.bench.begin.Add(time.Duration(mb(all) / line * float64(time.Second)))))
	}
	return n, err
}

// upload uploads a file that nobody has uploaded before.
func (b *mediaBench) upload(ctx context.Context, u *mediaUser) (err error) {
	parts := []io.Reader{bytes.NewReader(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, rand.Uint64()), rand.Uint64()))}
	for n := mediaMark; n < b.load.size; n += len(b.block) {
		parts = append(parts, bytes.NewReader(b.block))
	}
	u.path, err = b.put(ctx, u, "file", b.load.size, io.LimitReader(io.MultiReader(parts...), int64(b.load.size)))
	return err
}

// download downloads the last file that a user has uploaded.
func (b *mediaBench) download(ctx context.Context, u *mediaUser) error {
	resp, err := b.ask(ctx, http.MethodGet, u.base+u.path, u.read, 0, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, &counted{resp.Body, b})
	if err == nil && n != int64(b.load.size) {
		err = fmt.Errorf("bench media: a file of %d bytes came back with %d", b.load.size, n)
	}
	return err
}

// photo makes a JPEG of so many million pixels, four to three, with as much detail as a photo has.
func photo(megapixels float64) ([]byte, error) {
	w := 1
	for float64(w*w)*3/4 < megapixels*1e6 {
		w += 4
	}
	img := image.NewYCbCr(image.Rect(0, 0, w, max(w*3/4, 1)), image.YCbCrSubsampleRatio420)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range img.Y {
		img.Y[i] = byte(i/img.YStride/8+i%img.YStride/8) + byte(rnd.Uint32()&15)
	}
	for i := range img.Cb {
		img.Cb[i], img.Cr[i] = byte(i/999), byte(i/777)
	}
	var out bytes.Buffer
	err := jpeg.Encode(&out, img, &jpeg.Options{Quality: 85})
	return out.Bytes(), err
}
