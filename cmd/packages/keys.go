package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"globalnet/openwrt/pack"
	"globalnet/openwrt/usign"
)

// keys sign the output: the first packages and indexes of apk, the second indexes
// of opkg and the checksums. Both are files named by the environment, and optional.
type keys struct {
	apk   *pack.SigningKey
	usign *usign.Key
}

const (
	apkVariable   = "APK_SIGN_KEY"
	usignVariable = "USIGN_KEY"
)

func loadKeys(env func(string) string) (k keys, err error) {
	if path := env(apkVariable); path != "" {
		text, err := os.ReadFile(path)
		if err == nil {
			k.apk, err = pack.ParseSigningKey(text)
		}
		if err != nil {
			return k, fmt.Errorf("%s: %w", apkVariable, err)
		}
	}
	if path := env(usignVariable); path != "" {
		text, err := os.ReadFile(path)
		if err == nil {
			k.usign, err = usign.ParseKey(text)
		}
		if err != nil {
			return k, fmt.Errorf("%s: %w", usignVariable, err)
		}
	}
	return k, nil
}

// newKeys makes both, and never writes over one.
func newKeys(dir string, stdout io.Writer) error {
	a, err := pack.NewSigningKey()
	if err != nil {
		return err
	}
	secret, err := a.Private()
	if err != nil {
		return err
	}
	u, err := usign.NewKey()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, f := range []struct {
		variable, name string
		text           []byte
	}{{apkVariable, "apk.pem", secret}, {usignVariable, "usign.sec", u.Secret()}} {
		path := filepath.Join(dir, f.name)
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("making keys: %w", err)
		}
		_, err = file.Write(f.text)
		if err := errors.Join(err, file.Close()); err != nil {
			return fmt.Errorf("making keys: %w", err)
		}
		fmt.Fprintf(stdout, "export %s=%s\n", f.variable, path)
	}
	return nil
}

// publish writes the public keys, under the names that routers want.
func (k keys) publish(out string) error {
	files := make(map[string][]byte)
	if k.apk != nil {
		text, err := k.apk.Public()
		if err != nil {
			return err
		}
		files[project+".pem"] = text
	}
	if k.usign != nil {
		files[k.usign.ID()] = k.usign.Public()
	}
	dir := filepath.Join(out, "keys")
	if err := os.RemoveAll(dir); err != nil || len(files) == 0 {
		return err
	}
	return writeAll(dir, files)
}

func (k keys) report(stdout io.Writer) error {
	var text string
	if k.apk == nil {
		text += "The .apk files are not signed: apk installs them only with --allow-untrusted. " + apkVariable + " names a key; -keygen makes one.\n"
	}
	if k.usign == nil {
		text += "The opkg index and the checksums are not signed: " + usignVariable + " names a key.\n"
	}
	_, err := io.WriteString(stdout, text)
	return err
}
