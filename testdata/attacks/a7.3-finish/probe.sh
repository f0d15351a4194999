set -eu
. "$ATTACKS/claim.sh"
awk 'BEGIN {
	printf "{\"state\":\"succeeded\",\"digest\":\"<b onmouseover=alert(1)>"
	for (i = 0; i < 20000; i++) printf "0123456789"
	printf "</b>\",\"size\":-1,\"tags\":[{\"tag\":\"stable\"}]}"
}' >result.json
status=$(post "/runner/v1/builds/$build/finish" "$token" --data-binary @result.json -o reply.json -w '%{http_code}')
echo "status $status: $(head -c 300 reply.json)"
[ "$status" != 204 ] || echo "$CANARY"
echo "probed"
