# Joins and claims a build by hand, as a step of the repository's own pipeline does. Probes source this
# file. It sets build, token (of the attempt) and claim (the reply), and defines post.

# post PATH TOKEN [CURL-ARGUMENT...] sends a request of the runner protocol and prints the reply.
post() {
	path=$1 bearer=$2
	shift 2
	curl -sS --max-time 60 -X POST -H "Authorization: Bearer $bearer" -H 'Content-Type: application/json' "$@" "$GATEWAY$path"
}

# field NAME prints the first string with that name in the JSON on standard input.
field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" | head -n 1; }

build='' tries=0
while [ -z "$build" ]; do
	tries=$((tries + 1))
	[ "$tries" -le 30 ] || { echo "no build to join: $reply" >&2; exit 1; }
	[ "$tries" = 1 ] || sleep 1
	reply=$(post "/runner/v1/automated/$AUTOMATED_BUILD/join" "$PIPELINE_TOKEN" \
		-d "{\"ref\":\"refs/heads/main\",\"commit\":\"$COMMIT\",\"pipeline\":\"by hand\"}")
	build=$(printf '%s' "$reply" | field id)
	token=$(printf '%s' "$reply" | field token)
done
echo "joined"
claim=$(post "/runner/v1/builds/$build/claim" "$token" -d '{"runner_id":"by-hand","version":"1"}')
case $claim in
*'"build_id"'* | *'"tags"'*) echo "claimed" ;;
*) echo "the claim was refused: $claim" >&2; exit 1 ;;
esac

# All passwords in the claim: of the account, of registries, and of fields in later versions.
passwords=$(printf '%s' "$claim" | grep -o '"password":"[^"]*"' | sed 's/^"password":"//; s/"$//' | sort -u)
