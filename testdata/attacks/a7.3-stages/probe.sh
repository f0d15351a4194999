set -eu
. "$ATTACKS/claim.sh"

# report FROM COUNT reports the stages with the numbers FROM+1 to FROM+COUNT and prints the reply.
report() {
	awk -v from="$1" -v count="$2" 'BEGIN {
		printf "{\"events\":["
		for (i = from + 1; i <= from + count; i++)
			printf "%s{\"seq\":%d,\"kind\":\"stage_started\",\"stage\":\"build\",\"at\":\"2026-01-01T00:00:00Z\"}", (i > from + 1 ? "," : ""), i
		printf "]}"
	}' >events.json
	post "/runner/v1/builds/$build/events" "$token" --data-binary @events.json | head -c 300
	echo
}

for part in 0 1 2 3; do
	reply=$(report $((part * 12000)) 12000)
	echo "$reply"
done
case $reply in
*'"seq":48000'*) echo "$CANARY" ;;
esac

# A gateway that bounds requests could still take many small ones.
from=0
while [ "$from" -lt 400 ]; do
	reply=$(report "$from" 20)
	echo "$reply"
	from=$((from + 20))
done
case $reply in
*'"seq":400}'*) echo "$CANARY in small parts" ;;
esac
echo "probed"
