//go:build tools

// Names the programs that are built, so that go.mod keeps their modules.
package tools

import (
	_ "istio.io/istio/pkg/test/echo/cmd/client"
	_ "istio.io/istio/pkg/test/echo/cmd/server"
)
