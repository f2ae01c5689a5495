package place

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/etcdkit/etcdkit/internal/wholefile"
)

// Context is a name for a cluster and for how it is reached. It has no secret: a password is in a file of its
// own, or in the environment.
type Context struct {
	Endpoints    []string `json:"endpoints"`
	CACert       string   `json:"cacert,omitempty"`
	Cert         string   `json:"cert,omitempty"`
	Key          string   `json:"key,omitempty"`
	User         string   `json:"user,omitempty"`
	PasswordFile string   `json:"password_file,omitempty"`
	Dev          bool     `json:"dev,omitempty"` // written by etcdkit dev, which removes it
}

// getenv is the environment as package client sees it: the context's settings and no others of a cluster,
// since none of these is right for another one; but a secret that the context does not have can come from there.
func (c *Context) getenv(variable string) string {
	switch variable {
	case "ETCDKIT_CACERT":
		return c.CACert
	case "ETCDKIT_CERT":
		return c.Cert
	case "ETCDKIT_KEY":
		return c.Key
	case "ETCDKIT_USER":
		if c.User != "" {
			return c.User
		}
	}
	name := strings.TrimPrefix(strings.TrimPrefix(variable, "ETCDKIT_"), "ETCDCTL_")
	if isConnection(variable) && name != "PASSWORD" && name != "INSECURE_PLAINTEXT_PASSWORD" && (name != "USER" || c.User != "") {
		return ""
	}
	return os.Getenv(variable)
}

// alone is getenv without secrets of the environment: they are another cluster's.
func (c *Context) alone(variable string) string {
	if isConnection(variable) && strings.HasPrefix(variable, "ETCDKIT_") && !strings.HasSuffix(variable, "PASSWORD") && (variable != "ETCDKIT_USER" || c.User != "") {
		return c.getenv(variable)
	}
	return ""
}

// Contexts are the contexts of this user: a directory with one file for each, and one with the name of the one in use.
type Contexts struct{ dir string }

// OpenContexts finds the directory: $XDG_CONFIG_HOME/etcdkit, or the system's place for it.
func OpenContexts() (*Contexts, error) {
	dir := os.Getenv("XDG_CONFIG_HOME")
	if dir == "" || !filepath.IsAbs(dir) {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, fmt.Errorf("contexts: no XDG_CONFIG_HOME, and %w", err)
		}
		dir = filepath.Join(home, ".config")
	}
	return &Contexts{filepath.Join(dir, "etcdkit", "contexts")}, nil
}

const (
	contextExt = ".json"
	inUse      = "current" // the file with the name of the context in use
)

func (s *Contexts) file(name string) string { return filepath.Join(s.dir, name+contextExt) }

// Names are the names of all contexts, in order.
func (s *Contexts) Names() ([]string, error) {
	files, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("contexts: %w", err)
	}
	var names []string
	for _, f := range files {
		if name, ok := strings.CutSuffix(f.Name(), contextExt); ok && f.Type().IsRegular() {
			names = append(names, name)
		}
	}
	return names, nil
}

var (
	// ErrNoContext: there is no context of this name.
	ErrNoContext = errors.New("there is none of this name")
	// ErrContextName: the name is not fit for a file.
	ErrContextName = errors.New("the name of a context has letters, digits, '-', '_', '.' and '@', and begins with a letter or digit")
)

// Get reads a context.
func (s *Contexts) Get(name string) (*Context, error) {
	if err := checkContextName(name); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(s.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoContext
	}
	if err != nil {
		return nil, err
	}
	c := new(Context)
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields() // a misspelt one would be ignored
	if err := d.Decode(c); err != nil {
		return nil, fmt.Errorf("%s: %w", s.file(name), err)
	}
	if len(c.Endpoints) == 0 {
		return nil, fmt.Errorf("%s: no endpoints", s.file(name))
	}
	return c, nil
}

// Put writes a context, and replaces one of the same name.
func (s *Contexts) Put(name string, c *Context) error {
	if err := checkContextName(name); err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("contexts: %w", err)
	}
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return wholefile.Write(s.file(name), append(b, '\n'))
}

// Remove removes a context. If it was in use, none is afterwards.
func (s *Contexts) Remove(name string) error {
	if err := checkContextName(name); err != nil {
		return err
	}
	if err := os.Remove(s.file(name)); errors.Is(err, fs.ErrNotExist) {
		return ErrNoContext
	} else if err != nil {
		return err
	}
	if current, err := s.Current(); err != nil || current != name {
		return err
	}
	return s.Use("")
}

// removeEmpty removes the directories that Put made, if nothing is in them.
func (s *Contexts) removeEmpty() {
	if os.Remove(s.dir) == nil {
		_ = os.Remove(filepath.Dir(s.dir))
	}
}

// Current is the name of the context in use, or "".
func (s *Contexts) Current() (string, error) {
	b, err := os.ReadFile(filepath.Join(s.dir, inUse))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(b)), err
}

// Use says which context is in use; "" is none.
func (s *Contexts) Use(name string) error {
	current := filepath.Join(s.dir, inUse)
	if name == "" {
		if err := os.Remove(current); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	if _, err := s.Get(name); err != nil {
		return err
	}
	return wholefile.Write(current, []byte(name+"\n"))
}

// checkContextName refuses what is not good for a file's name.
func checkContextName(name string) error {
	bad := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !slices.Contains([]rune("-_.@"), r)
	}
	if name == "" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "-") || strings.ContainsFunc(name, bad) || len(name) > 100 {
		return fmt.Errorf("%w: got %q", ErrContextName, name)
	}
	return nil
}
