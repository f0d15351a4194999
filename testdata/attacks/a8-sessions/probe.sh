set -eu
answer=$(curl -sS --max-time 20 -o /dev/null -D - -H "Cookie: $COOKIE" "$GATEWAY/automated-builds" | tr -d '\r')
case $answer in
*'ocation: /signin'*) echo "the cookie opens the sign-in page only" ;;
*) printf '%s\n%s\n' "$CANARY" "$answer" ;;
esac
echo "probed"
