//go:build tools

// Package tools names the programs of MongoDB's that are built from this module: its go.sum pins them with all they need.
package tools

import (
	_ "github.com/mongodb/mongo-tools/bsondump/main"
	_ "github.com/mongodb/mongo-tools/mongodump/main"
	_ "github.com/mongodb/mongo-tools/mongorestore/main"
)
