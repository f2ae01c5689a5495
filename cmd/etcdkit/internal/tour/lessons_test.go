package tour

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
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
