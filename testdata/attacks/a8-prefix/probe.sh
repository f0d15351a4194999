set -eu
for path in /builds/ /automated-builds/ /signin/ /settings/registries/ /builds //builds /; do
	for prefix in //evil.example /evil.example 'https://evil.example'; do
		curl -sS --max-time 20 -o /dev/null -D - -H "X-Forwarded-Prefix: $prefix" -H 'X-Forwarded-Host: evil.example' --path-as-is "$GATEWAY$path" |
			tr -d '\r' | grep -i '^location:' || true
	done
done
echo "probed"
