set -eu
# ask PATH prints a page for the person with the cookie.
ask() { curl -sS --max-time 20 -H "Cookie: $COOKIE" "$GATEWAY$1"; }
for path in /automated-builds /builds "/builds/$BUILD" "/builds/$BUILD/log" "/builds/$BUILD/log/stream" "/builds/$BUILD/pipeline" \
	/deliveries "/automated-builds/$AUTOMATED_BUILD" /settings/registries /settings/providers; do
	ask "$path"
done
for delivery in $(ask /deliveries | grep -o 'href="/deliveries/[^"?]*"' | sed 's/^href="//; s/"$//' | sort -u); do
	ask "$delivery"
done
echo "probed"
