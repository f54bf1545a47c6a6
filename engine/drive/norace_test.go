//go:build !race

package drive_test

// pointsStep of 1 strikes every point.
const pointsStep = 1
