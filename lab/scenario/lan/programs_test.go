package lan

import (
	"context"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"globalnet/agent/control"
	"globalnet/internal/chromium"
	"globalnet/lab"
	"globalnet/lab/labtest"
)

const cheesePage = `<!doctype html><title>Cheese</title><body style="background:#00a040;color:#000;font:80px sans-serif"><h1>Fresh cheese</h1>`

// What phones and laptops have: wget, ssh, a browser. They open a hidden service three
// routers away, and a site of the internet.
func TestProgramsOfAPhone(t *testing.T) {
	program, wget := labtest.RequireProgram(t, "chromium"), labtest.RequireProgram(t, "wget")
	labtest.RequireProgram(t, "ssh")
	l := start(t, street+"set a lan.mode all\n", false)
	phone := l.Node("phone")
	name := offer(t, l.Node("d"))
	await(t, "the service", func() bool { return strings.Contains(curl(t, phone, "http://"+name+"/"), "Fresh cheese") })
	await(t, "the internet", func() bool { return curl(t, phone, "http://www.example/ip") == "198.51.100.2" })
	if got := run(t, phone, wget, "-q", "-O", "-", "http://"+name+"/"); !strings.Contains(got, "Fresh cheese") {
		t.Error("wget: " + got)
	}
	got := run(t, phone, "sh", "-c", "yes | head -50000 | ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR x@"+
		name+" cat | wc -c")
	if got != "100000" {
		t.Errorf("ssh: of 100000 bytes came back %s", got)
	}

	browse := func(args ...string) string {
		dir := t.TempDir()
		return run(t, phone, "env", slices.Concat(chromium.Environment(dir), []string{"timeout", "50", program, "--headless=new", "--no-sandbox", "--disable-gpu",
			"--disable-dev-shm-usage", "--no-first-run", "--user-data-dir=" + dir, "--timeout=20000"}, args)...)
	}
	if got := browse("--dump-dom", "http://"+name+"/"); !strings.Contains(got, "<title>Cheese</title>") || !strings.Contains(got, "Fresh cheese") {
		t.Errorf("the service: %s", got)
	}
	if got := browse("--dump-dom", "http://www.example/"); !strings.Contains(got, "<title>The lab's internet</title>") || !strings.Contains(got, "Hello from the internet") {
		t.Errorf("the internet: %s", got)
	}
	picture := filepath.Join(l.Dir, "page.png")
	out := browse("--screenshot="+picture, "--window-size=640,480", "http://"+name+"/")
	ground, ink := look(t, picture)
	if ground < 0.5 || ink < 0.01 {
		t.Errorf("%.0f %% of the picture are the page's ground, %.1f %% its text: %s", 100*ground, 100*ink, out)
	}
	if keep := os.Getenv("PICTURE"); keep != "" {
		b, err := os.ReadFile(picture)
		must(t, err)
		must(t, os.WriteFile(keep, b, 0o644))
	}
}

// look returns how much of a picture has the colour of the page's ground, and how much
// is black.
func look(t *testing.T, path string) (ground, ink float64) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	picture, err := png.Decode(f)
	must(t, err)
	size := picture.Bounds()
	for y := size.Min.Y; y < size.Max.Y; y++ {
		for x := size.Min.X; x < size.Max.X; x++ {
			switch r, g, b, _ := picture.At(x, y).RGBA(); [3]uint32{r >> 8, g >> 8, b >> 8} {
			case [3]uint32{0, 0xa0, 0x40}:
				ground++
			case [3]uint32{}:
				ink++
			}
		}
	}
	all := float64(size.Dx() * size.Dy())
	return ground / all, ink / all
}

// offer has a router offer a page and a shell as a hidden service.
func offer(t *testing.T, n *lab.Node) (name string) {
	t.Helper()
	folder := t.TempDir()
	must(t, os.WriteFile(filepath.Join(folder, "index.html"), []byte(cheesePage), 0o644))
	labtest.SSHServer(t, n.Namespace(), "127.0.0.1:2222")
	added, err := control.NewClient(n.Socket()).AddService(context.WithoutCancel(t.Context()), control.ServiceRequest{Name: "cheese",
		Ports: []control.ServicePort{{Port: 80, Target: folder}, {Port: 22, Target: "127.0.0.1:2222"}}})
	must(t, err)
	return added.Address
}
