//go:build tools

// Names the programs that are built, so that go.mod keeps their modules.
package main

import (
	_ "go.etcd.io/etcd/server/v3"
)
