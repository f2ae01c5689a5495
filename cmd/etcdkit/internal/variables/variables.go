// Package variables turns keys below a prefix into variables of an environment.
//
//	vars, err := variables.From([]variables.Layer{{Prefix: "app/", Entries: snapshot.All()}}, nil)
//	cmd.Env = append(os.Environ(), variables.Environ(vars)...)
//
// The name is what follows the prefix, with _ for each slash: app/db/host below app/ is db_host, and DB_HOST with
// Upcase. What is not a name that every shell takes is refused, or with Sanitize made one. Two keys of one prefix that
// make the same name are refused, as it would depend on chance which one counts. Of several prefixes the last
// one that has a name counts. A key that ends in a slash and has no value stands for a folder: it is left out.
package variables

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/etcdkit/etcdkit/internal/quote"
	"github.com/etcdkit/etcdkit/mirror"
)

// Options of From. nil is the zero value.
type Options struct {
	Upcase   bool // names in capital letters
	Sanitize bool // _ for each character that a name cannot have
}

// Layer is a prefix and its entries.
type Layer struct {
	Prefix  string
	Entries iter.Seq[mirror.KeyValue]
}

// Variable is one that a key makes.
type Variable struct{ Name, Value, Key string }

// most is how many keys an error names.
const most = 5

// From makes the variables, in the order of their names. Its error names every key that cannot be one, up to five.
func From(layers []Layer, opts *Options) ([]Variable, error) {
	if opts == nil {
		opts = &Options{}
	}
	all := make(map[string]Variable)
	var bad []error
	for _, l := range layers {
		own, errs := l.variables(opts)
		bad = append(bad, errs...)
		maps.Copy(all, own)
	}
	badNames := slices.ContainsFunc(bad, func(err error) bool { return errors.Is(err, errName) })
	if len(bad) > most {
		bad = append(bad[:most], fmt.Errorf("and %d more", len(bad)-most))
	}
	if badNames {
		bad = append(bad, errors.New("a name has letters, digits and _, and no digit first: rename the keys, or use --sanitize"))
	}
	if len(bad) > 0 {
		return nil, errors.Join(bad...)
	}
	vars := make([]Variable, 0, len(all))
	for _, v := range all {
		vars = append(vars, v)
	}
	slices.SortFunc(vars, func(a, b Variable) int { return strings.Compare(a.Name, b.Name) })
	return vars, nil
}

// errName: a key makes no name.
var errName = errors.New("is not the name of a variable")

func (l Layer) variables(opts *Options) (map[string]Variable, []error) {
	own := make(map[string]Variable)
	var bad []error
	for kv := range l.Entries {
		below := strings.TrimPrefix(kv.Key, l.Prefix)
		if kv.Value == "" && (below == "" || strings.HasSuffix(below, "/")) {
			continue
		}
		name := opts.name(below)
		first, taken := own[name]
		switch {
		case !isName(name):
			bad = append(bad, fmt.Errorf("key %s: %s %w", quote.Text(kv.Key), quote.Text(name), errName))
		case taken:
			bad = append(bad, fmt.Errorf("keys %s and %s are both %s: rename one", quote.Text(first.Key), quote.Text(kv.Key), name))
		case strings.ContainsRune(kv.Value, 0):
			bad = append(bad, fmt.Errorf("the value of key %s has a NUL byte, which no variable can have: move the key out of the prefix", quote.Text(kv.Key)))
		default:
			own[name] = Variable{name, kv.Value, kv.Key}
		}
	}
	return own, bad
}

// name is the name that a key's rest makes. It need not be one.
func (o *Options) name(below string) string {
	name := strings.ReplaceAll(below, "/", "_")
	if o.Upcase {
		name = strings.ToUpper(name)
	}
	if !o.Sanitize {
		return name
	}
	name = strings.Map(func(r rune) rune {
		if !ofName(r) {
			return '_'
		}
		return r
	}, name)
	if name == "" || isDigit(rune(name[0])) {
		name = "_" + name
	}
	return name
}

func isName(s string) bool {
	return s != "" && !isDigit(rune(s[0])) && !strings.ContainsFunc(s, func(r rune) bool { return !ofName(r) })
}

func ofName(r rune) bool {
	return r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || isDigit(r)
}
func isDigit(r rune) bool { return '0' <= r && r <= '9' }

// Environ are the variables as os.Environ has them.
func Environ(vars []Variable) []string {
	env := make([]string, len(vars))
	for i, v := range vars {
		env[i] = v.Name + "=" + v.Value
	}
	return env
}

// Export is a line that sets and exports a variable in every POSIX shell, whatever the value contains.
func Export(v Variable) string {
	return "export " + v.Name + "='" + strings.ReplaceAll(v.Value, "'", `'\''`) + "'"
}
