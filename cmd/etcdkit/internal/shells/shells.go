// Package shells has what bash, zsh and fish need to complete a command line: their scripts, the words of what is
// typed, and names quoted as a shell reads them. Nothing that is typed is ever run: a script hands it over as it is,
// and the words are read here.
package shells

import _ "embed"

var (
	//go:embed complete.bash
	bash string
	//go:embed complete.zsh
	zsh string
	//go:embed complete.fish
	fish string
)

// Script is what a shell sources; "" if it is none of those that are known.
func Script(shell string) string {
	return map[string]string{"bash": bash, "zsh": zsh, "fish": fish}[shell]
}

// Names are the shells that have a script.
func Names() []string { return []string{"bash", "zsh", "fish"} }
