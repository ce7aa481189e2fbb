//go:build tools

// Names the programs that are built, so that go.mod keeps their modules.
package tools

import (
	_ "sigs.k8s.io/gateway-api/conformance/echo-basic"
)
