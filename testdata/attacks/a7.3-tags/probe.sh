set -eu
. "$ATTACKS/claim.sh"
digest=sha256:$(printf '%064d' 0)
post "/runner/v1/builds/$build/permit" "$token" -d "{\"digest\":\"$digest\",\"tags\":[\"1.0\",\"stable\"]}"
echo "probed"
