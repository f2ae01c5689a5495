package metrics_test

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestNamesAndHelpFollowPrometheussConventions(t *testing.T) {
	problems, err := testutil.CollectAndLint(everything(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestWhatIsDescribedIsCollectedAndOnTheDashboard(t *testing.T) {
	m := everything(t)
	described := make(map[string]bool)
	descs := make(chan *prometheus.Desc, 1000)
	m.Describe(descs)
	close(descs)
	for d := range descs {
		said := regexp.MustCompile(`fqName: "([^"]+)", help: "(.*?)", `).FindStringSubmatch(d.String())
		if len(said) == 0 || len(said[2]) < 10 {
			t.Fatalf("%s: want a name and help for people", d)
		}
		described[said[1]] = true
	}
	collected := make(map[string]bool)
	for name := range scrape(t, m) {
		collected[name] = true
	}
	if !maps.Equal(described, collected) {
		t.Errorf("described %v, collected %v", described, collected)
	}
	if shown := dashboard(t); !maps.Equal(described, shown) {
		t.Errorf("described %v, in docs/grafana.json %v", described, shown)
	}
}

// dashboard are the metrics that docs/grafana.json asks for.
func dashboard(t *testing.T) map[string]bool {
	t.Helper()
	b, err := os.ReadFile("../docs/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	type source struct{ Type, UID string }
	var board struct {
		UID, Title    string
		SchemaVersion int
		Templating    struct {
			List []struct {
				Name, Type string
				Query      any
			}
		}
		Panels []struct {
			ID         int
			Type       string
			Title      string
			GridPos    struct{ H, W, X, Y int }
			Datasource *source
			Targets    []struct {
				Expr, RefID string
				Datasource  *source
			}
		}
	}
	if err := json.Unmarshal(b, &board); err != nil {
		t.Fatal(err)
	}
	if board.UID == "" || board.Title == "" || board.SchemaVersion == 0 {
		t.Errorf("uid %q, title %q, schema %d: Grafana wants all three", board.UID, board.Title, board.SchemaVersion)
	}
	if l := board.Templating.List; len(l) == 0 || l[0].Name != "datasource" || l[0].Type != "datasource" || l[0].Query != "prometheus" {
		t.Errorf("variables %+v, want datasource first", l)
	}
	shown, ids := make(map[string]bool), make(map[int]bool)
	for _, p := range board.Panels {
		if ids[p.ID] || p.GridPos.W == 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %d %q: id taken, or position %+v out of Grafana's 24 columns", p.ID, p.Title, p.GridPos)
		}
		ids[p.ID] = true
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 || p.Datasource == nil || p.Datasource.UID != "${datasource}" {
			t.Errorf("panel %q: %d queries of %+v, want some of the variable", p.Title, len(p.Targets), p.Datasource)
		}
		for _, target := range p.Targets {
			for _, name := range regexp.MustCompile(`etcdkit_\w+`).FindAllString(target.Expr, -1) {
				shown[strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")] = true
			}
		}
	}
	return shown
}
