package docs

import "context"

func nightly(context.Context) error { return nil }
