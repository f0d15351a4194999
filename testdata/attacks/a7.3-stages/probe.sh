set -eu
. "$ATTACKS/claim.sh"
for part in 0 1 2 3; do
	awk -v from="$((part * 12000))" 'BEGIN {
		printf "{\"events\":["
		for (i = from + 1; i <= from + 12000; i++)
			printf "%s{\"seq\":%d,\"kind\":\"stage_started\",\"stage\":\"s\",\"at\":\"2026-01-01T00:00:00Z\"}", (i > from + 1 ? "," : ""), i
		printf "]}"
	}' >events.json
	reply=$(post "/runner/v1/builds/$build/events" "$token" --data-binary @events.json)
	echo "$reply" | head -c 300
done
case $reply in
*'"seq":48000'*) echo "$CANARY" ;;
esac
echo "probed"
