package tour

import "testing"

func TestATableIsCutToItsColumns(t *testing.T) {
	table := "┌───┬─────┬───┐\n│ A │ B C │ D │\n├───┼─────┼───┤\n│ 1 │ 한글  │ 3 │\n└───┴─────┴───┘"
	want := "┌───┬───┐\n│ A │ D │\n├───┼───┤\n│ 1 │ 3 │\n└───┴───┘"
	if got := columns(table, "A", "D"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := columns("no table", "A"); got != "no table" {
		t.Errorf("got %q, want the text as it is", got)
	}
}
