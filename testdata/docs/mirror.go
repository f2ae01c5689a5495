package docs

import "github.com/etcdkit/etcdkit/mirror"

var m *mirror.Mirror
