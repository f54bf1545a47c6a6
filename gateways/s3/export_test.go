package s3

import "holdfast/access"

// RouteInfo shows a row of the table to the tests outside of the package.
type RouteInfo struct {
	Name, Method, Level string
	Action              access.Action
	Need                []string
	Body, Copy          bool
}

// Routes returns the table.
func Routes() []RouteInfo {
	out := make([]RouteInfo, len(routes))
	for i, rt := range routes {
		out[i] = RouteInfo{Name: rt.name, Method: rt.method, Level: rt.level.String(), Action: rt.action, Need: rt.need, Body: rt.body, Copy: rt.copy}
	}
	return out
}
