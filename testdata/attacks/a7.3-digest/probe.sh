set -eu
. "$ATTACKS/claim.sh"
awk 'BEGIN {
	printf "{\"events\":[{\"seq\":1,\"kind\":\"built\",\"at\":\"2026-01-01T00:00:00Z\",\"digest\":\"<b onmouseover=alert(1)>"
	for (i = 0; i < 20000; i++) printf "0123456789"
	printf "</b>\"}]}"
}' >events.json
reply=$(post "/runner/v1/builds/$build/events" "$token" --data-binary @events.json)
echo "$reply" | head -c 300
case $reply in
*'"seq":1'*) echo "$CANARY" ;;
esac
echo "probed"
