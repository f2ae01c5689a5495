package out

import "os"

// Palette paints text for a terminal. The zero value leaves it as it is.
type Palette struct{ on bool }

// Colours is a Palette that paints.
func Colours() Palette { return Palette{on: true} }

// palette is a terminal's: with colours unless its user does not want them (https://no-color.org).
func palette() Palette { return Palette{on: !dumb() && os.Getenv("NO_COLOR") == ""} }

// Colour is how text is painted. The colours are the terminal's own: what the reader chose to be legible.
type Colour string

const (
	Plain  Colour = ""
	Bold   Colour = "1"
	Faint  Colour = "2"
	Red    Colour = "31"
	Green  Colour = "32"
	Orange Colour = "33"
	Blue   Colour = "36"
)

// Paint paints a text that is within one line.
func (p Palette) Paint(text string, how Colour) string {
	if !p.on || how == Plain || text == "" {
		return text
	}
	return "\033[" + string(how) + "m" + text + "\033[0m"
}
