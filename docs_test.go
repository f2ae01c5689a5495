package etcdkit_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

func TestLinksOfTheDocsLeadSomewhere(t *testing.T) {
	pages := docPages(t)
	anchors := map[string]map[string]bool{}
	for _, p := range pages {
		anchors[p.name] = p.anchors
	}
	for _, p := range pages {
		for _, l := range p.links {
			if strings.Contains(l.to, "://") || strings.HasPrefix(l.to, "mailto:") {
				continue
			}
			file, anchor, _ := strings.Cut(l.to, "#")
			target := p.name
			if file != "" {
				target = path.Join(path.Dir(p.name), file)
			}
			if _, err := os.Stat(filepath.FromSlash(target)); err != nil {
				t.Errorf("%s:%d: no file for the link to %s", p.name, l.line, l.to)
			} else if anchor != "" && !anchors[target][anchor] {
				t.Errorf("%s:%d: %s has no heading for #%s; it has %v", p.name, l.line, target, anchor, slices.Sorted(maps.Keys(anchors[target])))
			}
		}
	}
}

func TestEachPageOfTheDocsIsInTheirIndex(t *testing.T) {
	listed := map[string]bool{}
	pages := docPages(t)
	for _, p := range pages {
		if p.name == "docs/README.md" {
			for _, l := range p.links {
				listed[path.Join("docs", l.to)] = true
			}
		}
	}
	for _, p := range pages {
		if !listed[p.name] && p.name != "docs/README.md" {
			t.Errorf("docs/README.md has no link to %s", p.name)
		}
	}
}

// TestKoreanPagesHaveTheSnippetsOfTheEnglish compares all fences, of code and of output, without
// their comments.
func TestKoreanPagesHaveTheSnippetsOfTheEnglish(t *testing.T) {
	pages := map[string]*docPage{}
	for _, p := range docPages(t) {
		pages[p.name] = p
	}
	compared := 0
	for name, korean := range pages {
		of := strings.Replace(strings.Replace(name, ".ko.md", ".md", 1), "docs/ko/", "docs/", 1)
		if of == name {
			continue
		}
		english := pages[of]
		if english == nil {
			t.Errorf("%s translates %s, which is not there", name, of)
			continue
		}
		compared++
		for i := range max(len(korean.fences), len(english.fences)) {
			if i >= len(korean.fences) || i >= len(english.fences) {
				t.Errorf("%s has %d fences, %s has %d", name, len(korean.fences), of, len(english.fences))
				break
			}
			k, e := korean.fences[i], english.fences[i]
			if k.info != e.info {
				t.Errorf("%s:%d is a fence of %q, %s:%d one of %q", name, k.line, k.info, of, e.line, e.info)
				break
			}
			for n := range max(len(k.text), len(e.text)) {
				if n >= len(k.text) || n >= len(e.text) || withoutComment(k.info, k.text[n]) != withoutComment(e.info, e.text[n]) {
					t.Errorf("%s:%d differs from %s:%d, by more than a comment", name, k.line+1+n, of, e.line+1+n)
					break
				}
			}
		}
	}
	if compared == 0 {
		t.Error("no Korean page was found")
	}
}

var comments = map[string]*regexp.Regexp{
	"go": regexp.MustCompile(`(^|\s+)//( .*|)$`),
	"":   regexp.MustCompile(`(^|\s+)# .*$`),
}

func withoutComment(info, line string) string {
	word, _, _ := strings.Cut(info, " ")
	r := comments[word]
	if r == nil {
		r = comments[""]
	}
	return strings.TrimRight(r.ReplaceAllString(line, ""), " \t")
}

// docPage is a page of Markdown, as far as these tests read it.
type docPage struct {
	name    string
	fences  []docFence
	links   []docLink
	anchors map[string]bool // of its headings, as GitHub makes them
}

type docFence struct {
	line int    // of the opening ```
	info string // what follows it
	text []string
}

type docLink struct {
	line int
	to   string
}

var (
	docLinks    = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	docCode     = regexp.MustCompile("`[^`]*`")
	docHeadings = regexp.MustCompile(`^#{1,6} +(.*?) *$`)
	docLinkText = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

func docPages(t *testing.T) []*docPage {
	t.Helper()
	names := []string{"README.md", "README.ko.md", "ARCHITECTURE.md", "CONTRIBUTING.md"}
	err := fs.WalkDir(os.DirFS("."), "docs", func(name string, _ fs.DirEntry, err error) error {
		if path.Ext(name) == ".md" {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var pages []*docPage
	for _, name := range names {
		b, err := os.ReadFile(filepath.FromSlash(name))
		if err != nil {
			t.Fatal(err)
		}
		p, err := parsePage(name, string(b))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, p)
	}
	return pages
}

func parsePage(name, text string) (*docPage, error) {
	p := &docPage{name: name, anchors: map[string]bool{}}
	open := -1
	for i, line := range strings.Split(text, "\n") {
		if rest, ok := strings.CutPrefix(line, "```"); ok {
			if open < 0 {
				open = len(p.fences)
				p.fences = append(p.fences, docFence{line: i + 1, info: rest})
			} else {
				open = -1
			}
			continue
		}
		if open >= 0 {
			p.fences[open].text = append(p.fences[open].text, line)
			continue
		}
		if h := docHeadings.FindStringSubmatch(line); h != nil {
			p.addAnchor(h[1])
		}
		for _, l := range docLinks.FindAllStringSubmatch(docCode.ReplaceAllString(line, "`code`"), -1) {
			p.links = append(p.links, docLink{line: i + 1, to: l[1]})
		}
	}
	if open >= 0 {
		return nil, fmt.Errorf("%s:%d: a fence without an end", name, p.fences[open].line)
	}
	return p, nil
}

// addAnchor makes a heading's anchor by GitHub's rule: small letters, no punctuation, hyphens
// for spaces, and a number behind one that is there already.
func (p *docPage) addAnchor(heading string) {
	heading = docLinkText.ReplaceAllString(heading, "$1")
	a := strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
	unique := a
	for n := 1; p.anchors[unique]; n++ {
		unique = fmt.Sprintf("%s-%d", a, n)
	}
	p.anchors[unique] = true
}
