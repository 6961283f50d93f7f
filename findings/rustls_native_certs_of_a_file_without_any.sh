#!/usr/bin/env bash
# rustls-native-certs, and SSL_CERT_FILE with a file that has no certificate: one in DER, a key, an empty one. A client of
# a server whose authority is one's own is pointed to such a file by mistake.
#
# A good guess: as for a file that is not there, the list of errors says that nothing could be read of what was named.
# What happens: there are no certificates and no errors. A client that takes "no errors" for an answer trusts nobody,
# and fails at each server with an unknown issuer, as if the server's certificate were wrong.
# Seen with rustls-native-certs 0.8.5.
set -euo pipefail
command -v cargo >/dev/null || { echo "needed: cargo" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/src"
cat >"$work/Cargo.toml" <<'TOML'
[package]
name = "native-certs"
version = "0.0.0"
edition = "2021"

[workspace]

[dependencies]
rustls-native-certs = "=0.8.5"
TOML
cat >"$work/src/main.rs" <<'RUST'
fn main() {
    let found = rustls_native_certs::load_native_certs();
    println!("{} certificates, {} errors", found.certs.len(), found.errors.len());
}
RUST
cd "$work"
timeout 300 cargo build --quiet
: >empty.pem
printf 'this file is a note\n' >note.pem
head -c 300 /dev/zero >certificate.der

seen=
for file in missing.pem empty.pem note.pem certificate.der; do
    found=$(env -u SSL_CERT_DIR SSL_CERT_FILE=$work/$file timeout 10 target/debug/native-certs)
    echo "$file: $found"
    seen+="$found;"
done
expected="0 certificates, 1 errors;0 certificates, 0 errors;0 certificates, 0 errors;0 certificates, 0 errors;"
if [ "$seen" != "$expected" ]; then
    echo "this is not what was seen" >&2
    exit 1
fi
