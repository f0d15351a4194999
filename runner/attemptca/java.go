package attemptca

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // the format's checksum; no security rests on it
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"unicode/utf16"
)

// The format of a Java keystore, which every version of Java reads as its cacerts.
// Source: sun/security/provider/JavaKeyStore.java of https://github.com/openjdk/jdk/tree/jdk-17-ga
const (
	keystoreMagic   = 0xfeedfeed
	keystoreVersion = 2
	keystoreTrusted = 2 // the entry is a trusted certificate
	// keystorePassword is the one that Java's own cacerts has. It guards the checksum only.
	keystorePassword = "changeit"
	keystoreSalt     = "Mighty Aphrodite"
)

// javaKeystore returns the certificates of a PEM bundle as a Java keystore. Like Go's own pool it
// leaves out a certificate that cannot be parsed: Java refuses the whole store for one.
func javaKeystore(bundle []byte) []byte {
	var entries bytes.Buffer
	count := uint32(0)
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if _, err := x509.ParseCertificate(block.Bytes); err != nil || block.Type != "CERTIFICATE" {
			continue
		}
		writeEntry(&entries, fmt.Sprintf("c%d", count), block.Bytes)
		count++
	}
	var store bytes.Buffer
	writeNumber(&store, keystoreMagic)
	writeNumber(&store, keystoreVersion)
	writeNumber(&store, count)
	store.Write(entries.Bytes())
	sum := sha1.New() //nolint:gosec // the format's checksum; no security rests on it
	for _, unit := range utf16.Encode([]rune(keystorePassword)) {
		_ = binary.Write(sum, binary.BigEndian, unit) // a hash never fails
	}
	sum.Write([]byte(keystoreSalt))
	sum.Write(store.Bytes())
	return sum.Sum(store.Bytes())
}

func writeEntry(b *bytes.Buffer, alias string, der []byte) {
	writeNumber(b, keystoreTrusted)
	writeText(b, alias)
	b.Write(make([]byte, 8)) // its date: 1970
	writeText(b, "X.509")
	writeNumber(b, uint32(len(der))) //nolint:gosec // the bundle has at most 8 MiB
	b.Write(der)
}

func writeNumber(b *bytes.Buffer, n uint32) {
	b.Write(binary.BigEndian.AppendUint32(nil, n))
}

// writeText writes ASCII text with its length, which is the same in Java's UTF.
func writeText(b *bytes.Buffer, text string) {
	b.Write(binary.BigEndian.AppendUint16(nil, uint16(len(text)))) //nolint:gosec // a short constant
	b.WriteString(text)
}
