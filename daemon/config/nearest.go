package config

import (
	"fmt"
	"slices"
	"strings"
)

// Nearest returns the known word that a mistyped one may stand for, or "" if none is near.
func Nearest(word string, known []string) (nearest string) {
	least := max(len(word)/3, 2) + 1
	for _, k := range known {
		d := distance(word, k)
		if word != "" && strings.HasPrefix(k, word) {
			d = 1 // it was typed in part
		}
		if d < least {
			least, nearest = d, k
		}
	}
	return nearest
}

// distance is the number of letters to be put in, left out, replaced or swapped with the next to make b of a.
func distance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := range len(a) {
		before, last, row := rows[0], rows[1], rows[2]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		rows[0], rows[1], rows[2] = last, row, before
	}
	return rows[1][len(b)]
}

// othersVariables begin the names of variables that our tests read, beside a daemon or around one.
var othersVariables = []string{"HOLDFAST_TEST_", "HOLDFAST_LOSS_", "HOLDFAST_JOURNAL_", "HOLDFAST_SIM_", "HOLDFAST_CRASH_"}

// CheckEnvironment refuses a variable HOLDFAST_… that is no option. The environment is in the form of os.Environ.
func CheckEnvironment(environment []string) error {
	var known []string
	for _, f := range Fields() {
		known = append(known, f.Environment)
	}
	for _, pair := range environment {
		name, _, _ := strings.Cut(pair, "=")
		others := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
		if !strings.HasPrefix(name, "HOLDFAST_") || slices.Contains(known, name) || slices.ContainsFunc(othersVariables, others) {
			continue
		}
		if nearest := Nearest(name, known); nearest != "" {
			return fmt.Errorf("the environment variable %s is no option; the nearest is %s", name, nearest)
		}
		return fmt.Errorf("the environment variable %s is no option; docs/configuration.md and holdfast server --help list them", name)
	}
	return nil
}
