//go:build !unix

package wholefile

import (
	"io/fs"
	"os"
)

func keepOwner(*os.File, fs.FileInfo) error { return nil }
func busy(_ string, err error) error        { return err }
