package tour

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
)

func TestEachLessonHasATextAndProgramsThatExist(t *testing.T) {
	ids := make(map[string]bool)
	for _, l := range append(Lessons(), Shop()) {
		if l.ID == "" || ids[l.ID] || l.Title == "" || l.Shows == "" || l.walk == nil {
			t.Errorf("%+v: want an ID of its own, a title, a text and something to do", l)
		}
		ids[l.ID] = true
		for _, p := range l.Programs {
			if _, err := os.Stat(filepath.Join("..", "..", "..", "..", "examples", p)); err != nil {
				t.Errorf("%s: %v", l.ID, err)
			}
		}
	}
}

// A page in a browser gets events as JSON.
func TestAnEventSaysInJSONWhichLessonItBelongsTo(t *testing.T) {
	b, err := json.Marshal(Event{Kind: Checked, Lesson: Lessons()[1], Text: "all 3 are healthy", OK: true})
	const want = `{"kind":"checked","lesson":{"id":"health","title":"cluster: health","shows":"Each member commits a proposal of its own."},"text":"all 3 are healthy","ok":true}`
	if err != nil || string(b) != want {
		t.Errorf("got %s, %v, want %s", b, err, want)
	}
}

func TestALineIsLabelledFromWhenTwoProgramsRun(t *testing.T) {
	var got []string
	s := newStage(&Options{Place: &place.Place{Endpoints: []string{"h:1"}}}, &Lesson{}, func(e Event) {
		if e.Kind == Line {
			got = append(got, e.Program+"|"+e.Text)
		}
	})
	first, err := s.launch("cat", "cat", exec.Command("sh", "-c", "echo one; exec sleep 60"))
	if err != nil {
		t.Fatal(err)
	}
	defer first.kill()
	if _, err := first.waitFor(t.Context(), 0, "one"); err != nil {
		t.Fatal(err)
	}
	second, err := s.launch("echo", "echo", exec.Command("echo", "two"))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := second.wait(t.Context()); err != nil || out != "two" {
		t.Errorf("got %q, %v, want the line as it was printed", out, err)
	}
	if want := []string{"|one", "echo|two"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
