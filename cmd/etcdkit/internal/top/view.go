package top

import "github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"

// section is what a view shows.
type section int

const (
	overview section = iota
	locks
	elections
	services
	leases
	sections // how many there are
)

// View is what the user chose to see.
type View struct {
	section section
	offset  int  // rows that are scrolled away
	urgent  bool // what is most urgent first, instead of by name
	Paused  bool
}

// page is how many rows a page key moves.
const page = 10

// Typed changes the view. more is false when the user wants to quit; pause is true when the user wants to stop the
// asking, or to let it go on.
func (v *View) Typed(key out.Key) (more, pause bool) {
	switch key {
	case "q", "Q", out.CtrlC, out.Escape:
		return false, false
	case "p", " ":
		return true, true
	case out.Tab, out.Right, "n":
		v.show((v.section + 1) % sections)
	case out.BackTab, out.Left:
		v.show((v.section + sections - 1) % sections)
	case "1", "2", "3", "4", "5":
		v.show(section(key[0] - '1'))
	case "s":
		v.urgent = !v.urgent
		v.offset = 0
	case out.Down, "j":
		v.offset++
	case out.Up, "k":
		v.offset = max(0, v.offset-1)
	case out.PageDown:
		v.offset += page
	case out.PageUp:
		v.offset = max(0, v.offset-page)
	case out.Home:
		v.offset = 0
	}
	return true, false
}

func (v *View) show(s section) { v.section, v.offset = s, 0 }
