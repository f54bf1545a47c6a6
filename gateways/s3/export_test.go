package s3

import (
	"slices"

	"holdfast/access"
)

// RouteInfo shows a row of the table to the tests outside of the package.
type RouteInfo struct {
	Name, Method, Level string
	Action              access.Action
	Need, May, Headers  []string
	Body, Copy, Absent  bool
}

// Routes returns the table.
func Routes() []RouteInfo {
	out := make([]RouteInfo, len(routes))
	for i, rt := range routes {
		out[i] = RouteInfo{Name: rt.name, Method: rt.method, Level: rt.level.String(), Action: rt.action, Need: rt.need, May: rt.may, Headers: rt.headers,
			Body: rt.body, Copy: rt.copy, Absent: slices.ContainsFunc(absent, func(a route) bool { return a.name == rt.name })}
	}
	return out
}
