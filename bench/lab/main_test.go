package lab_test

import (
	"os"
	"testing"

	"github.com/etcdkit/etcdkit/etcdtest"
)

func TestMain(m *testing.M) { os.Exit(etcdtest.Main(m).Run()) }
