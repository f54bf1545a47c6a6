//go:build race

package drive_test

// pointsStep thins out the enumeration under the race detector, which is an order of magnitude slower.
const pointsStep = 16
